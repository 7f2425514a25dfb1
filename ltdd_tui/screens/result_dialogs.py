"""The dialogs of what can be done with a run: evaluate its set on further networks, export it, rename it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Input, RadioSet, Static
from textual.widgets.selection_list import Selection
from textual_fspicker import SelectDirectory

from engine.run.errors import InputError
from engine.run.folder import RunFolder, expanded
from engine.run.settings import LabelRegime, NetworkName
from ltdd_tui.formatting import clean, short_path
from ltdd_tui.runs import manage
from ltdd_tui.runs.notes import Notes, parse_tags
from ltdd_tui.runs.results import FinalFigures
from ltdd_tui.screens.dialogs import FormDialog, names_of
from ltdd_tui.widgets.field import RadioChoice, TickList


def heading(what: str, folders: Sequence[RunFolder]) -> str:
    """The title of a dialog for one run or several."""
    return f"{what} {folders[0].name}" if len(folders) == 1 else f"{what} {len(folders)} runs"


# ---- Evaluate. ----

MOST_REPEATS = 1000


@dataclass(frozen=True)
class EvaluationPlan:
    """Networks to train on the set, `repeats` fresh ones of each.

    `labels`: the label regimes, in which random images and the start are evaluated as well; empty: the final set alone,
    in the run's first regime.
    """

    archs: tuple[str, ...]
    labels: tuple[str, ...]
    repeats: int
    device: str

    def arguments(self, folder: RunFolder) -> list[str]:
        """The arguments of the worker process."""
        # So that a device that begins with a dash is refused as one, and not taken for an option.
        asked = ["--arch", ",".join(self.archs), "--repeats", str(self.repeats), f"--device={self.device}"]
        regimes = ["--labels", ",".join(self.labels)] if self.labels else []
        return ["evaluate", str(folder.root), *asked, *regimes]


class Evaluate(FormDialog[EvaluationPlan | None]):
    """Gives a plan, or None. `known` is what there is of the first run."""

    DEFAULT_CSS = """
    Evaluate {
        SelectionList { height: auto; background: transparent; }
        .pair { height: auto; }
        .pair > Vertical { height: auto; width: 1fr; }
        .pair > Vertical:first-of-type { margin-right: 2; }
    }
    """

    def __init__(self, folders: Sequence[RunFolder], known: FinalFigures, device: str) -> None:
        super().__init__(heading("Evaluate", folders), "Evaluate")
        self._folders, self._known, self._device = folders, known, device

    def compose_fields(self) -> ComposeResult:
        if len(self._folders) > 1:
            yield Static(f"{names_of(self._folders)}, one after the other", classes="hint", markup=False)
        yield Static("Fresh networks are trained on the distilled set and tested on real images.", classes="hint")
        labels = "Labels: the class (hard), a soft label an image (stored), a teacher's for each batch (online)."
        yield Static(labels, classes="hint")
        networks, regimes = get_args(NetworkName), get_args(LabelRegime)
        first_new = next((name for name in networks if name not in self._known.by_network), "")
        with Horizontal(classes="pair"):
            with Vertical():
                yield Static("Networks (space ticks)", classes="label")
                yield TickList(*self._choices(networks, self._known.by_network, first_new), compact=True, id="networks")
            with Vertical():
                yield Static("Label regimes", classes="label")
                ticked = self._known.first_regime
                yield TickList(*self._choices(regimes, self._known.by_regime, ticked), compact=True, id="labels")
        with Horizontal(classes="pair"):
            with Vertical():
                yield Static("Networks of each", classes="label")
                yield Input(str(self._known.repeats), type="integer", id="repeats", compact=True)
            with Vertical():
                yield Static("Device", classes="label")
                yield Input(self._device, id="device", placeholder="auto", compact=True)
        yield Static(classes="fault", markup=False)

    def _choices(self, names: Sequence[str], known: Mapping[str, str], ticked: str) -> list[Selection[str]]:
        width = max(map(len, names)) + 2
        return [
            Selection(
                name.ljust(width) + ("" if len(self._folders) > 1 else known.get(name, "not yet")),
                name,
                initial_state=name == ticked,
            )
            for name in names
        ]

    def on_mount(self) -> None:
        self.query_one("#networks").focus()

    def give(self) -> None:
        """Closes with the plan where it can be carried out."""
        archs, labels = (self.query_one(f"#{name}", TickList).selected for name in ("networks", "labels"))
        repeats = self.query_one("#repeats", Input).value
        if not archs:
            self.show_fault("tick a network or more")
        elif not labels:
            self.show_fault("tick a label regime or more")
        elif not repeats.isdecimal() or not 1 <= int(repeats) <= MOST_REPEATS:
            self.show_fault(f"networks of each: a whole number from 1 to {MOST_REPEATS}")
        else:
            in_order = tuple(name for name in get_args(NetworkName) if name in archs)
            regimes = tuple(name for name in get_args(LabelRegime) if name in labels)
            device = self.query_one("#device", Input).value.strip() or "auto"
            of_run = regimes == (self._known.first_regime,)
            self.dismiss(EvaluationPlan(in_order, () if of_run else regimes, int(repeats), device))


# ---- Export. ----

FORMS = {
    "images": ("image folder", "PNGs, one folder a class"),
    "pt": ("tensors", "images.pt, labels.pt, lr.pt, for evaluators"),
    "tensorboard": ("TensorBoard", "losses, checks, previews; also of a run at work"),
}


@dataclass(frozen=True)
class ExportPlan:
    """A form of FORMS, and the folder to write it into; `below` it, each run has a folder of its own."""

    form: str
    target: Path
    below: bool = False

    def target_of(self, folder: RunFolder) -> Path:
        """Where this run is written."""
        return self.target / f"{folder.name}-{self.form}" if self.below else self.target

    def arguments(self, folder: RunFolder) -> list[str]:
        """The arguments of the worker process."""
        return ["export", str(folder.root), "--device", "cpu", f"--{self.form}", str(self.target_of(folder))]


class Export(FormDialog[ExportPlan | None]):
    """Gives a plan, or None. Of an unfinished run only the TensorBoard log can be written."""

    DEFAULT_CSS = """
    Export {
        RadioSet { width: 100%; border: none; padding: 0; background: transparent; }
        RadioSet:focus { border: none; }
        .target { height: auto; }
        .target > Input { width: 1fr; }
        .target > Button { margin-left: 1; }
    }
    """

    def __init__(self, folders: Sequence[RunFolder], finished: bool) -> None:
        super().__init__(heading("Export", folders), "Export")
        self._folders, self._finished = folders, finished
        self._typed, self._below = False, Path.cwd()

    def compose_fields(self) -> ComposeResult:
        several = len(self._folders) > 1
        if several:
            yield Static(names_of(self._folders), classes="hint", markup=False)
        yield Static("As", classes="label")
        with RadioSet():
            for form, (name, means) in FORMS.items():
                fits = self._finished or form == "tensorboard"
                lacking = "not all of them have a result" if several else "the run has no result yet"
                label = f"{name:<14}[dim]{means if fits else lacking}[/]"
                yield RadioChoice(label, id=form, disabled=not fits, value=form == self._first_form())
        yield Static("Each into a folder of its own, below" if several else "Into the folder", classes="label")
        with Horizontal(classes="target"):
            yield Input(self._proposed(self._first_form()), id="target", select_on_focus=False, compact=True)
            yield Button("Browse", id="browse", compact=True)
        yield Static(classes="fault", markup=False)

    def _first_form(self) -> str:
        return "images" if self._finished else "tensorboard"

    def _proposed(self, form: str) -> str:
        return short_path(self._below if len(self._folders) > 1 else self._below / f"{self._folders[0].name}-{form}")

    def on_mount(self) -> None:
        self.query_one(RadioSet).focus()

    @property
    def _form(self) -> str:
        pressed = self.query_one(RadioSet).pressed_button
        return pressed.id if pressed and pressed.id else self._first_form()

    def on_radio_set_changed(self) -> None:
        # The proposed folder follows the form, until one types another.
        if not self._typed:
            self._propose(self._proposed(self._form))

    def on_input_changed(self, event: Input.Changed) -> None:
        # A proposal that was put into the field does not count as typed.
        self._typed = event.value != self._proposed(self._form)

    def _propose(self, path: str) -> None:
        target = self.query_one("#target", Input)
        with target.prevent(Input.Changed):
            target.value = path
        # The end is what one wants to see.
        target.cursor_position = len(path)

    @on(Button.Pressed, "#browse")
    @work
    async def _browse(self) -> None:
        picker = SelectDirectory(str(self._nearest()), "A folder to export into")
        chosen = await self.app.push_screen_wait(picker)
        if chosen is not None:
            self._typed, self._below = False, chosen
            self._propose(self._proposed(self._form))

    def _nearest(self) -> Path:
        """The longest part of the typed path that is a folder."""
        typed = expanded(self.query_one("#target", Input).value).absolute()
        return next((path for path in (typed, *typed.parents) if os.path.isdir(path)), Path.cwd())

    def give(self) -> None:
        """Closes with the plan where its folder can be one."""
        typed = self.query_one("#target", Input).value.strip()
        target = expanded(typed).absolute()
        if not typed:
            self.show_fault("name a folder")
        # Not by Path: a folder that may not be looked into, or a name that is too long, raises there.
        elif os.path.exists(target) and not os.path.isdir(target):
            self.show_fault(f"{target} is a file")
        else:
            self.dismiss(ExportPlan(self._form, target, below=len(self._folders) > 1))


# ---- Rename. ----


class Rename(FormDialog[str | None]):
    """Gives a name that can be one and is not taken, or None."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__("Rename", "Rename (enter)")
        self._folder = folder

    def compose_fields(self) -> ComposeResult:
        yield Static("New name of the run", classes="label")
        yield Input(self._folder.name, id="name", select_on_focus=True, compact=True)
        yield Static(classes="fault", markup=False)

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    def fault(self) -> str:
        """Why the name cannot be taken, empty where it can."""
        name = self.query_one(Input).value.strip()
        if name == self._folder.name:
            return ""
        try:
            manage.check_name(name)
        except InputError as error:
            return error.faults[0].what
        return f"there is a run named {name!r} already" if os.path.exists(self._folder.root.with_name(name)) else ""

    def on_input_changed(self) -> None:
        self.show_fault(self.fault())

    def give(self) -> None:
        """Closes with a name that can be taken."""
        name = self.query_one(Input).value.strip()
        if not self.fault():
            self.dismiss(name if name != self._folder.name else None)


# ---- Tags and a note. ----


class EditNotes(FormDialog[Notes | None]):
    """Gives the tags and the note of a run as they are to be, or what several get besides their own; or None."""

    def __init__(self, folders: Sequence[RunFolder], notes: Notes) -> None:
        super().__init__(heading("Tags and note of", folders), "Keep (enter)")
        self._notes = notes

    def compose_fields(self) -> ComposeResult:
        yield Static("Tags, with spaces between them: tag:paper in the list finds them", classes="label")
        yield Input(" ".join(self._notes.tags), placeholder="paper seed-study", id="tags", compact=True)
        yield Static("Note", classes="label")
        yield Input(clean(self._notes.note), id="note", compact=True)
        yield Static(classes="fault", markup=False)

    def on_mount(self) -> None:
        self.query_one("#tags", Input).focus()

    def give(self) -> None:
        """Closes with tags that can be some."""
        try:
            tags = parse_tags([self.query_one("#tags", Input).value])
        except InputError as error:
            self.show_fault(f"{error.faults[0].what}: {error.faults[0].hint}")
        else:
            self.dismiss(Notes(tags, self.query_one("#note", Input).value.strip()))
