"""What every dialog is: a titled box in the middle of the screen, closed by escape with nothing done."""

from __future__ import annotations

import os
from typing import ClassVar, Generic, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static
from textual.widgets.button import ButtonVariant

from engine.run.errors import InputError
from engine.run.folder import RunFolder
from ltdd_tui.formatting import clean
from ltdd_tui.runs import manage

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


# A question that is answered by yes or no.


class Confirm(Dialog[bool]):
    """Asks `question`; `details` say what yes will do. Escape is a no, and so is enter where the deed is `dangerous`.

    Use it as `if await self.app.push_screen_wait(Confirm(...))` in a worker, or with a callback.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes", id="dialog.yes"),
        Binding("n", "answer(False)", "No", id="dialog.no"),
        Binding("left,h", "app.focus_previous", "Left", show=False, id="dialog.left"),
        Binding("right,l", "app.focus_next", "Right", show=False, id="dialog.right"),
    ]

    def __init__(
        self,
        question: str,
        details: str = "",
        yes: str = "Yes",
        no: str = "Cancel",
        dangerous: bool = False,
    ) -> None:
        super().__init__()
        self._question, self._details = question, details
        self._yes, self._no = yes, no
        self._dangerous = dangerous

    def compose(self) -> ComposeResult:
        """The question, what it means, and the two answers."""
        with VerticalScroll(classes="dialog", can_focus=False) as box:
            box.border_title = "Please confirm"
            yield Static(clean(self._question), markup=False)
            if self._details:
                yield Static("\n".join(map(clean, self._details.split("\n"))), classes="hint", markup=False)
            with Horizontal(classes="buttons"):
                yield Button(f"{self._no} (n)", id="no", compact=True)
                variant: ButtonVariant = "error" if self._dangerous else "primary"
                yield Button(f"{self._yes} (y)", id="yes", variant=variant, compact=True)

    def on_mount(self) -> None:
        """Puts the focus on the answer that does no harm."""
        self.query_one("#no" if self._dangerous else "#yes").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Closes with the button's answer."""
        self.dismiss(event.button.id == "yes")

    def action_answer(self, answer: bool) -> None:
        """Closes with an answer given by key."""
        self.dismiss(answer)

    def action_cancel(self) -> None:
        """Escape is a no."""
        self.dismiss(False)


# Asks for a run's new name.


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
            manage.check_name(name)
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
