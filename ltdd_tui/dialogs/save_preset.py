"""Asks for the name of a preset of one's own, and says why a name does not do."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Button, Input, Static

from engine.run.errors import LtddError
from engine.run.presets import extending, preset_files, save_preset, user_folder
from engine.run.settings import RunSettings
from ltdd_tui.dialogs.dialog import Dialog
from ltdd_tui.wording import short_path


class SavePreset(Dialog[str]):
    """Saves settings as what they differ in from `base`; gives the name. One's own of the same name asks twice."""

    def __init__(self, settings: RunSettings, base: str, name: str) -> None:
        super().__init__()
        self._settings, self._base, self._suggested = settings, base, name
        self._overwrites = False

    def compose(self) -> ComposeResult:
        """The name, what will be written, and the answers."""
        with VerticalScroll(classes="dialog", can_focus=False) as box:
            box.border_title = "Save as preset"
            yield Static("name", classes="label")
            yield Input(self._suggested, id="name")
            yield Static("", classes="fault", markup=False)
            yield Static(f"it goes to {short_path(user_folder())}, as:", classes="hint", markup=False)
            yield Static(self._text(self._suggested), classes="hint", id="text", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Cancel", id="no", compact=True)
                yield Button("Save", id="yes", variant="primary", compact=True)

    def on_mount(self) -> None:
        """Begins in the name."""
        self.query_one(Input).focus()

    @on(Input.Changed)
    def _look(self, event: Input.Changed) -> None:
        """Says at once when a name is one's own preset already."""
        self._overwrites = event.value in preset_files() and preset_files()[event.value][1] == "yours"
        button = self.query_one("#yes", Button)
        button.label, button.variant = ("Overwrite", "warning") if self._overwrites else ("Save", "primary")
        self.show_fault("a preset of yours has this name: Overwrite replaces it" if self._overwrites else "")
        self.query_one("#text", Static).update(self._text(event.value))

    @on(Input.Submitted)
    def _enter(self) -> None:
        """Enter saves, but goes to the button first where something would be replaced."""
        if self._overwrites:
            self.query_one("#yes").focus()
        else:
            self._save()

    @on(Button.Pressed)
    def _answer(self, event: Button.Pressed) -> None:
        if event.button.id == "no":
            self.dismiss(None)
        else:
            self._save()

    def _save(self) -> None:
        name = self.query_one(Input).value.strip()
        try:
            save_preset(name, extending(self._settings, self._base, name), self._overwrites)
        except LtddError as error:
            fault = error.faults[0]
            self.show_fault(f"{fault.what}\n{fault.hint.removesuffix(', or --overwrite your own')}")
        except OSError as error:
            self.show_fault(f"it cannot be written: {error.strerror}")
        else:
            self.dismiss(name)

    def _text(self, name: str) -> str:
        try:
            return extending(self._settings, self._base, name)
        except LtddError as error:
            return str(error)
