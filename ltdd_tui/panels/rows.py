"""Lines of text that scroll: only those on the screen are made, and they take their colors from the theme."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from ltdd_tui.drawing.lines import EMPTY, ROLES, Line, clean, cut
from ltdd_tui.themes import GROUP_PLACES, series_color

Drawing = Callable[[int], Sequence[Line]]
GROUP_CSS = "".join(
    f".rows--{group} {{ color: {series_color(place, dark=True)}; }}"
    f"&:light .rows--{group} {{ color: {series_color(place, dark=False)}; }}"
    f".rows--{group}-fill {{ background: {series_color(place, dark=True)}; }}"
    f"&:light .rows--{group}-fill {{ background: {series_color(place, dark=False)}; }}"
    for group, place in GROUP_PLACES.items()
)


class Rows(ScrollView, can_focus=False):
    """Draws the lines that a function gives for its width; `follows` keeps the last one in sight."""

    COMPONENT_CLASSES = {f"rows--{role}" for role in ROLES}
    DEFAULT_CSS = f"""
    Rows {{
        overflow-x: hidden; background: transparent;
        scrollbar-size-vertical: 1; scrollbar-color: $foreground 25%; scrollbar-background: $background;
        .rows--muted {{ color: $text-muted; }}
        .rows--strong {{ text-style: bold; }}
        .rows--accent {{ color: $text-primary; text-style: bold; }}
        .rows--good {{ color: $text-success; }}
        .rows--bad, .rows--error {{ color: $text-error; }}
        .rows--warning {{ color: $text-warning; }}
        {GROUP_CSS}
        .rows--track {{ color: $foreground 20%; }}
        .rows--mark {{ color: $foreground; text-style: bold; }}
    }}
    Rows.-fixed {{ overflow-y: hidden; }}
    """

    def __init__(self, *, follows: bool = False, classes: str | None = None) -> None:
        super().__init__(classes=classes)
        self._drawing: Drawing = lambda width: ()
        self._follows = self._pinned = follows
        self._lines: Sequence[Line] = ()
        self._width = 0
        self._strips: dict[int, Strip] = {}

    def draw(self, drawing: Drawing) -> None:
        """Shows other lines from now on."""
        self._drawing = drawing
        self._make()

    def on_resize(self) -> None:
        """Makes the lines anew for the new width."""
        self._make()

    def notify_style_update(self) -> None:
        """Forgets what was drawn in the colors of before."""
        super().notify_style_update()
        self._strips.clear()

    def _make(self) -> None:
        if not self.size.width:
            return
        self._width = self.size.width
        self._lines = self._drawing(self._width)
        if len(self._lines) > self.size.height and self.styles.overflow_y == "auto":
            self._width -= self.styles.scrollbar_size_vertical
            self._lines = self._drawing(self._width)
        self._strips.clear()
        self.virtual_size = Size(self._width, len(self._lines))
        self.refresh()
        if self._pinned:
            self.scroll_to(y=self.max_scroll_y, animate=False, force=True)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Who scrolls up wants to read: the last line is kept in sight again once it is."""
        super().watch_scroll_y(old_value, new_value)
        self._pinned = self._follows and round(new_value) >= self.max_scroll_y

    def render_line(self, y: int) -> Strip:
        """One line of what is in sight."""
        # All that is below the last line looks the same.
        place = min(self.scroll_offset.y + y, len(self._lines))
        if place not in self._strips:
            self._strips[place] = self._strip(self._lines[place] if place < len(self._lines) else EMPTY)
        return self._strips[place]

    def _strip(self, line: Line) -> Strip:
        segments = [Segment(clean(span.text), self._style(span.role)) for span in cut(line, self._width)]
        return Strip(segments).adjust_cell_length(self._width, self.rich_style)

    def _style(self, role: str) -> Style:
        if role.startswith("#"):
            return self.rich_style + Style(color=role)
        return self.get_component_rich_style(f"rows--{role}") if role in ROLES else self.rich_style
