"""A question that is answered by yes or no."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Button, Static
from textual.widgets.button import ButtonVariant

from ltdd_tui.dialogs.dialog import Dialog
from ltdd_tui.drawing.lines import clean


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
