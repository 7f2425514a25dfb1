"""Asks for a run's new name."""

from __future__ import annotations

import os

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Button, Input, Static

from engine.run.errors import InputError
from engine.run.folder import RunFolder
from ltdd_tui import worker
from ltdd_tui.dialogs.dialog import FormDialog


class Rename(FormDialog[str | None]):
    """Gives a name that can be one and is not taken, or None."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self._folder = folder

    def compose(self) -> ComposeResult:
        """The name, and what is wrong with it as one types."""
        with VerticalScroll(classes="dialog", can_focus=False) as box:
            box.border_title = "Rename"
            yield Static("New name of the run", classes="label")
            yield Input(self._folder.name, id="name", select_on_focus=True, compact=True)
            yield Static(classes="fault", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Cancel (esc)", id="no", compact=True)
                yield Button("Rename (enter)", id="yes", variant="primary", compact=True)

    def on_mount(self) -> None:
        """The name can be typed over at once."""
        self.query_one(Input).focus()

    def fault(self) -> str:
        """Why the name cannot be taken, empty where it can."""
        name = self.query_one(Input).value.strip()
        if name == self._folder.name:
            return ""
        try:
            worker.check_name(name)
        except InputError as error:
            return error.faults[0].what
        return f"there is a run named {name!r} already" if os.path.exists(self._folder.root.with_name(name)) else ""

    def on_input_changed(self) -> None:
        """Says at once what is wrong."""
        self.show_fault(self.fault())

    def give(self) -> None:
        """Closes with a name that can be taken."""
        name = self.query_one(Input).value.strip()
        if not self.fault():
            self.dismiss(name if name != self._folder.name else None)
