"""Asks in which form a run is to be written once more, and where."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Input, RadioButton, RadioSet, Static
from textual_fspicker import SelectDirectory

from engine.run.folder import RunFolder, expanded
from ltdd_tui.dialogs.dialog import FormDialog
from ltdd_tui.drawing.lines import clean
from ltdd_tui.wording import short_path

FORMS = {
    "images": ("image folder", "PNGs, one folder a class"),
    "pt": ("tensors", "images.pt, labels.pt, lr.pt, for evaluators"),
    "tensorboard": ("TensorBoard", "losses, checks, previews; also of a run at work"),
}


@dataclass(frozen=True)
class ExportPlan:
    """A form of FORMS, and the folder to write it into."""

    form: str
    target: Path

    def arguments(self, folder: RunFolder) -> list[str]:
        """What to tell the worker."""
        return ["export", str(folder.root), "--device", "cpu", f"--{self.form}", str(self.target)]


class Export(FormDialog[ExportPlan | None]):
    """Gives a plan, or None. Of an unfinished run only its course can be written."""

    DEFAULT_CSS = """
    Export {
        RadioSet { width: 100%; border: none; padding: 0; background: transparent; }
        RadioSet:focus { border: none; }
        .target { height: auto; }
        .target > Input { width: 1fr; }
        .target > Button { margin-left: 1; }
    }
    """

    def __init__(self, folder: RunFolder, finished: bool) -> None:
        super().__init__()
        self._folder, self._finished = folder, finished
        self._typed, self._below = False, Path.cwd()

    def compose(self) -> ComposeResult:
        """The form, then the folder."""
        with VerticalScroll(classes="dialog", can_focus=False) as box:
            box.border_title = Content(clean(f"Export {self._folder.name}"))
            yield Static("As", classes="label")
            with RadioSet():
                for form, (name, means) in FORMS.items():
                    fits = self._finished or form == "tensorboard"
                    label = f"{name:<14}[dim]{means if fits else 'the run has no result yet'}[/]"
                    yield RadioButton(label, id=form, disabled=not fits, value=form == self._first_form())
            yield Static("Into the folder", classes="label")
            with Horizontal(classes="target"):
                yield Input(self._proposed(self._first_form()), id="target", select_on_focus=False, compact=True)
                yield Button("Browse", id="browse", compact=True)
            yield Static(classes="fault", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Cancel (esc)", id="no", compact=True)
                yield Button("Export", id="yes", variant="primary", compact=True)

    def _first_form(self) -> str:
        return "images" if self._finished else "tensorboard"

    def _proposed(self, form: str) -> str:
        return short_path(self._below / f"{self._folder.name}-{form}")

    def on_mount(self) -> None:
        """The form comes first."""
        self.query_one(RadioSet).focus()

    @property
    def _form(self) -> str:
        pressed = self.query_one(RadioSet).pressed_button
        return pressed.id if pressed and pressed.id else self._first_form()

    def on_radio_set_changed(self) -> None:
        """The folder proposed follows the form, until one types another."""
        if not self._typed:
            self._propose(self._proposed(self._form))

    def on_input_changed(self, event: Input.Changed) -> None:
        """What is typed stays; what was proposed and put there does not count as typed."""
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
        """The part of the typed path that is there."""
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
            self.dismiss(ExportPlan(self._form, target))
