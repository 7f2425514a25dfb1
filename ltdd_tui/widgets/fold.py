"""A part of a form that is folded away until somebody opens it."""

from __future__ import annotations

from textual.widgets import Collapsible
from textual.widgets.collapsible import CollapsibleTitle


class Fold(Collapsible, inherit_css=False):
    """A Collapsible without its look inside and out of focus.

    A style that asks whether the focus is within has all that is below styled anew at each step of the focus, which
    with many fields is too slow to type through.
    """

    DEFAULT_CSS = """
    Fold {
        width: 1fr; height: auto;
        &.-collapsed > Contents { display: none; }
        & > CollapsibleTitle { padding: 0 1; width: 1fr; }
        & > CollapsibleTitle.-fault { color: $text-error; }
    }
    """

    def mark(self, faulty: bool) -> None:
        """Shows in the title that something is wrong below; a class of its own would have all of it styled anew."""
        for title in self.query_children(CollapsibleTitle):
            title.set_class(faulty, "-fault")
