"""Lines of text that scroll: only those on the screen are made, and they take their colors from the theme."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from ltdd_tui.drawing.lines import ROLES, Line, clean, cut
from ltdd_tui.themes import GROUP_COLORS

Drawing = Callable[[int], Sequence[Line]]


class Rows(ScrollView, can_focus=False):
    """Draws the lines that a function gives for its width; `follows` keeps the last one in sight."""

    COMPONENT_CLASSES = {f"rows--{role}" for role in ROLES}
    DEFAULT_CSS = f"""
    Rows {{
        overflow-x: hidden; scrollbar-size-vertical: 1; background: transparent;
        .rows--muted {{ color: $text-muted; }}
        .rows--strong {{ text-style: bold; }}
        .rows--accent {{ color: $text-primary; text-style: bold; }}
        .rows--good {{ color: $text-success; }}
        .rows--bad, .rows--error {{ color: $text-error; }}
        .rows--warning {{ color: $text-warning; }}
        .rows--many {{ color: {GROUP_COLORS["many"]}; }}
        .rows--medium {{ color: {GROUP_COLORS["medium"]}; }}
        .rows--few {{ color: {GROUP_COLORS["few"]}; }}
        .rows--track {{ color: $foreground 20%; }}
        .rows--mark {{ color: $foreground; text-style: bold; }}
    }}
    Rows.-fixed {{ overflow-y: hidden; height: auto; }}
    """

    def __init__(self, *, follows: bool = False, classes: str | None = None) -> None:
        super().__init__(classes=classes)
        self._drawing: Drawing = lambda width: ()
        self._follows = follows
        self._lines: Sequence[Line] = ()
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
        at_end = self.scroll_offset.y >= self.max_scroll_y
        self._lines = self._drawing(self.size.width)
        self._strips.clear()
        self.virtual_size = Size(self.size.width, len(self._lines))
        self.refresh()
        if self._follows and at_end:
            self.scroll_end(animate=False)

    def render_line(self, y: int) -> Strip:
        """One line of what is in sight."""
        place = self.scroll_offset.y + y
        if place >= len(self._lines):
            return Strip.blank(self.size.width, self.rich_style)
        if place not in self._strips:
            self._strips[place] = self._strip(self._lines[place])
        return self._strips[place]

    def _strip(self, line: Line) -> Strip:
        width = self.size.width
        segments = [Segment(clean(span.text), self._style(span.role)) for span in cut(line, width)]
        return Strip(segments).adjust_cell_length(width, self.rich_style)

    def _style(self, role: str) -> Style:
        if role.startswith("#"):
            return self.rich_style + Style(color=role)
        return self.get_component_rich_style(f"rows--{role}") if role in ROLES else self.rich_style
