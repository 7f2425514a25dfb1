"""One line to find runs with: what one types, and how many it finds."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from ltdd_tui import run_filter

PLACEHOLDER = "words, state:running, method:ltdd, if:100, acc>50"


class FilterBar(Horizontal):
    """Shown while it is typed into or holds something; `wanted` is the filter that it holds."""

    DEFAULT_CSS = """
    FilterBar {
        height: 1; background: $panel;
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
        self._field = Input(placeholder=PLACEHOLDER, select_on_focus=False, compact=True)
        self._count = Static(classes="count", markup=False)
        self.display = False

    def compose(self) -> ComposeResult:
        """The field between its sign and the count."""
        yield Static("/")
        yield self._field
        yield self._count

    def open(self) -> None:
        """Shows the field, ready to be typed into."""
        self.display = True
        # At once and not in a moment: the next letter belongs to the field already.
        self.screen.set_focus(self._field)

    def close(self, clear: bool = False) -> None:
        """Hides the field where it is empty, or emptied."""
        if clear:
            self._field.value = ""
        self.display = bool(self._field.value)

    @property
    def in_use(self) -> bool:
        """Whether it holds something or is typed into."""
        return bool(self._field.value) or self._field.has_focus

    def tell(self, shown: int, of: int) -> None:
        """Says how many runs are found, or what of the text cannot be read."""
        faults = self.wanted.faults
        self._count.update(faults[0] if faults else f"{shown} of {of}")
        self._count.set_class(bool(faults), "-wrong")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Finds as one types."""
        event.stop()
        self.wanted = run_filter.parse(event.value)
        self.post_message(self.Changed())

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter leaves the field."""
        event.stop()
        self.post_message(self.Left())
