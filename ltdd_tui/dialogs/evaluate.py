"""Asks on which networks a finished run's set is to be tried, how often, and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Input, SelectionList, Static
from textual.widgets.selection_list import Selection

from engine.run.folder import RunFolder
from engine.run.settings import NetworkName
from ltdd_tui.dialogs.dialog import FormDialog
from ltdd_tui.drawing.lines import clean

MOST_REPEATS = 1000


@dataclass(frozen=True)
class EvaluationPlan:
    """Networks to train on the set, `repeats` fresh ones of each."""

    archs: tuple[str, ...]
    repeats: int
    device: str

    def arguments(self, folder: RunFolder) -> list[str]:
        """What to tell the worker."""
        # So that a device that begins with a dash is refused as one, and not taken for an option.
        asked = ["--arch", ",".join(self.archs), "--repeats", str(self.repeats), f"--device={self.device}"]
        return ["evaluate", str(folder.root), *asked]


class Evaluate(FormDialog[EvaluationPlan | None]):
    """Gives a plan, or None. `known` holds what is already there, by network, as it is written."""

    DEFAULT_CSS = """
    Evaluate {
        SelectionList { height: auto; background: transparent; }
        .pair { height: auto; }
        .pair > Vertical { height: auto; width: 1fr; }
        .pair > Vertical:first-of-type { margin-right: 2; }
    }
    """

    def __init__(self, folder: RunFolder, known: Mapping[str, str], repeats: int, device: str) -> None:
        super().__init__()
        self._folder, self._known = folder, known
        self._repeats, self._device = repeats, device

    def compose(self) -> ComposeResult:
        """Networks to tick, then how many and where."""
        with VerticalScroll(classes="dialog", can_focus=False) as box:
            box.border_title = Content(clean(f"Evaluate {self._folder.name}"))
            yield Static("Fresh networks are trained on the distilled set and tested on real images.", classes="hint")
            yield Static("Networks (space ticks)", classes="label")
            yield SelectionList(*self._choices(), compact=True)
            with Horizontal(classes="pair"):
                with Vertical():
                    yield Static("Networks of each", classes="label")
                    yield Input(str(self._repeats), type="integer", id="repeats", compact=True)
                with Vertical():
                    yield Static("Device", classes="label")
                    yield Input(self._device, id="device", placeholder="auto", compact=True)
            yield Static(classes="fault", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Cancel (esc)", id="no", compact=True)
                yield Button("Evaluate", id="yes", variant="primary", compact=True)

    def _choices(self) -> list[Selection[str]]:
        names = get_args(NetworkName)
        width = max(map(len, names)) + 2
        first_new = next((name for name in names if name not in self._known), None)
        return [
            Selection(name.ljust(width) + self._known.get(name, "not yet"), name, initial_state=name == first_new)
            for name in names
        ]

    def on_mount(self) -> None:
        """The networks come first."""
        self.query_one(SelectionList).focus()

    def give(self) -> None:
        """Closes with the plan where it can be carried out."""
        archs = self.query_one(SelectionList).selected
        repeats = self.query_one("#repeats", Input).value
        if not archs:
            self.show_fault("tick a network or more")
        elif not repeats.isdecimal() or not 1 <= int(repeats) <= MOST_REPEATS:
            self.show_fault(f"networks of each: a whole number from 1 to {MOST_REPEATS}")
        else:
            in_order = tuple(name for name in get_args(NetworkName) if name in archs)
            device = self.query_one("#device", Input).value.strip() or "auto"
            self.dismiss(EvaluationPlan(in_order, int(repeats), device))
