"""The first line of a screen: where one is, what to know at once, and at the right end where it lies."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Static

from ltdd_tui.drawing.lines import clean


class TitleBar(Horizontal):
    """One line: a title, a text beside it, and one at the right end."""

    DEFAULT_CSS = """
    TitleBar {
        height: 1; background: $panel; padding: 0 1;
        & > Static { width: auto; height: 1; }
        & > .title { text-style: bold; color: $text-primary; margin-right: 2; }
        & > .told { width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
        & > .place { color: $text-muted; max-width: 50%; text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = Static(title, classes="title", markup=False)
        self._told = Static(classes="told", markup=False)
        self._place = Static(classes="place", markup=False)

    def compose(self) -> ComposeResult:
        """The three texts."""
        yield from (self._title, self._told, self._place)

    def tell(self, told: str, place: str = "") -> None:
        """Changes the two texts beside the title."""
        self._told.update(clean(told))
        self._place.update(clean(place))
