"""What all dialogs share: a titled box in the middle of the screen, closed by escape; and two questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Generic, Literal, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static
from textual.widgets.button import ButtonVariant

from engine.run.folder import RunFolder
from ltdd_tui.formatting import clean, first_few

Answer = TypeVar("Answer")


MOST_NAMED = 8


def names_of(folders: Sequence[RunFolder]) -> str:
    """The runs that a dialog is for: `one`, or `3 runs: one, other, third`, or with `, and 4 more` at the end."""
    names = [clean(folder.name) for folder in folders]
    if len(names) == 1:
        return names[0]
    return f"{len(names)} runs: {', '.join(first_few(names, MOST_NAMED))}"


class Dialog(ModalScreen[Answer | None], Generic[Answer]):
    """A modal screen whose content lies in one container of the class `dialog`; `sub_title` is shown in its border."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel", id="dialog.cancel")]
    DEFAULT_CSS = """
    Dialog {
        align: center middle;
        .dialog {
            width: 72; max-width: 96%; height: auto; max-height: 96%;
            padding: 1 2; background: $surface; border: round $primary; border-title-color: $text;
            border-subtitle-color: $text-warning;
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

    def on_mount(self) -> None:
        self.query_one(".dialog").border_subtitle = Content(self.sub_title or "")

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

    def __init__(self, heading: str, yes: str) -> None:
        super().__init__()
        self._heading, self._yes = heading, yes

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog", can_focus=False) as box:
            box.border_title = Content(clean(self._heading))
            yield from self.compose_fields()
            with Horizontal(classes="buttons"):
                yield Button("Cancel (esc)", id="no", compact=True)
                yield Button(self._yes, id="yes", variant="primary", compact=True)

    def compose_fields(self) -> ComposeResult:
        """The fields, and a Static of the class `fault`."""
        raise NotImplementedError

    def give(self) -> None:
        """Closes with what the fields hold, or says what is wrong with it."""
        raise NotImplementedError

    def on_input_submitted(self) -> None:
        self.give()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "yes":
            self.give()
        elif event.button.id == "no":
            self.action_cancel()


class Confirm(Dialog[bool]):
    """Asks `question`; `details` say what yes will do. Escape is a no, and so is enter where yes is `dangerous`.

    Use it as `if await self.app.push_screen_wait(Confirm(...))` in a worker, or with a callback.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes", id="dialog.yes"),
        Binding("n", "answer(False)", "No", id="dialog.no"),
        Binding("left,h", "app.focus_previous", "Left", show=False, id="dialog.left"),
        Binding("right,l", "app.focus_next", "Right", show=False, id="dialog.right"),
    ]

    def __init__(
        self, question: str, details: str = "", yes: str = "Yes", no: str = "Cancel", dangerous: bool = False
    ) -> None:
        super().__init__()
        self._question, self._details = question, details
        self._yes, self._no, self._dangerous = yes, no, dangerous

    def compose(self) -> ComposeResult:
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
        # The answer that does no harm.
        self.query_one("#no" if self._dangerous else "#yes").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, answer: bool) -> None:
        """Closes with an answer given by key."""
        self.dismiss(answer)

    def action_cancel(self) -> None:
        self.dismiss(False)


Beside = Literal["queue", "beside"]
TOGETHER = """\
Runs at once share the processor and the memory of this machine, so that each takes longer. In the queue a run begins \
once those before it are over, finished or stopped or failed, and also when this program is closed."""


class StartBeside(Dialog[Beside]):
    """Asks whether a run waits for the runs at work or starts beside them; `starting` are several that are to start."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("b", "answer('beside')", "Start beside", id="dialog.beside"),
        Binding("u", "answer('queue')", "Queue", id="dialog.queue"),
        Binding("left,h", "app.focus_previous", "Left", show=False, id="dialog.left"),
        Binding("right,l", "app.focus_next", "Right", show=False, id="dialog.right"),
    ]

    def __init__(self, working: Sequence[RunFolder], starting: Sequence[RunFolder] = ()) -> None:
        super().__init__()
        self._working, self._starting = working, starting

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog", can_focus=False) as box:
            box.border_title = "More than one run at once"
            if self._working:
                yield Static(f"At work: {names_of(self._working)}", markup=False)
            if self._starting:
                yield Static(f"To start: {names_of(self._starting)}", markup=False)
            yield Static(TOGETHER, classes="hint")
            with Horizontal(classes="buttons"):
                yield Button("Cancel (esc)", id="no", compact=True)
                yield Button("All at once (b)", id="beside", compact=True)
                yield Button("Queue (u)", id="queue", variant="primary", compact=True)

    def on_mount(self) -> None:
        self.query_one("#queue").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        chosen: dict[str | None, Beside] = {"queue": "queue", "beside": "beside"}
        self.dismiss(chosen.get(event.button.id))

    def action_answer(self, answer: Beside) -> None:
        """Closes with an answer given by key."""
        self.dismiss(answer)
