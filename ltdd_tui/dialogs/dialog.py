"""What every dialog is: a titled box in the middle of the screen, closed by escape with nothing done."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Button, Static

Answer = TypeVar("Answer")


class Dialog(ModalScreen[Answer | None], Generic[Answer]):
    """A modal screen whose content lies in one container of the class `dialog`."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel", id="dialog.cancel")]
    DEFAULT_CSS = """
    Dialog {
        align: center middle;
        .dialog {
            width: 72; max-width: 96%; height: auto; max-height: 96%;
            padding: 1 2; background: $surface; border: round $primary; border-title-color: $text;
        }
        .dialog > .hint, .dialog > .buttons { margin-top: 1; }
        .hint { color: $text-muted; height: auto; }
        .fault { color: $text-error; height: auto; display: none; margin-top: 1; }
        .fault.-shown { display: block; }
        .buttons { height: auto; align-horizontal: right; }
        .buttons Button { margin-left: 2; padding: 0 2; }
        .label { color: $text-muted; margin-top: 1; height: auto; }
        .dialog > .label:first-child, .dialog > .hint:first-child { margin-top: 0; }
        Input { background: $panel; padding: 0 1; }
        Input:focus { background: $primary-muted; }
    }
    """

    def show_fault(self, text: str) -> None:
        """Says what is wrong with the answer so far, in the widget of the class `fault`; nothing where it is empty."""
        fault = self.query_one(".fault", Static)
        fault.update(text)
        fault.set_class(bool(text), "-shown")

    def action_cancel(self) -> None:
        """Closes the dialog; whoever asked gets None."""
        self.dismiss(None)


class FormDialog(Dialog[Answer], Generic[Answer]):
    """A dialog with fields: enter in one of them and the button `yes` give the answer, the button `no` gives None."""

    def give(self) -> None:
        """Closes with what the fields hold, or says what is wrong with it."""
        raise NotImplementedError

    def on_input_submitted(self) -> None:
        """Enter gives the answer."""
        self.give()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Gives the answer, or nothing."""
        if event.button.id == "yes":
            self.give()
        elif event.button.id == "no":
            self.action_cancel()
