"""One line to find runs with: what one types, and how many it finds."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from ltdd_tui import run_filter


class FilterBar(Horizontal):
    """Shown while it is typed into or holds something; `wanted` is the filter that it holds."""

    DEFAULT_CSS = """
    FilterBar {
        height: 1; display: none; background: $panel;
        &.-shown { display: block; }
        & > Static { width: auto; padding: 0 1; color: $text-accent; }
        & > Static.-wrong { color: $text-error; }
        & > Input { width: 1fr; background: $panel; }
    }
    """

    class Changed(Message):
        """What is wanted has changed."""

    class Left(Message):
        """Enter: back to what was found."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted = run_filter.RunFilter()

    def compose(self) -> ComposeResult:
        """The field between its sign and the count."""
        yield Static("/")
        yield Input(
            placeholder="words, state:running, method:ltdd, if:100, acc>50", select_on_focus=False, compact=True
        )
        yield Static(classes="count", markup=False)

    def open(self) -> None:
        """Shows the field, ready to be typed into."""
        self.add_class("-shown")
        self.query_one(Input).focus()

    def close(self, clear: bool = False) -> None:
        """Hides the field where it is empty, or emptied."""
        field = self.query_one(Input)
        if clear:
            field.value = ""
        self.set_class(bool(field.value), "-shown")

    @property
    def in_use(self) -> bool:
        """Whether it holds something or is typed into."""
        field = self.query_one(Input)
        return bool(field.value) or field.has_focus

    def tell(self, shown: int, of: int) -> None:
        """Says how many runs are found, or what of the text cannot be read."""
        faults = self.wanted.faults
        count = self.query_one(".count", Static)
        count.update(faults[0] if faults else f"{shown} of {of}")
        count.set_class(bool(faults), "-wrong")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Finds as one types."""
        event.stop()
        self.wanted = run_filter.parse(event.value)
        self.post_message(self.Changed())

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter leaves the field."""
        event.stop()
        self.post_message(self.Left())
