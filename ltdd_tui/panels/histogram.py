"""The long tail as bars, head to tail; many classes also as a silhouette above their bars."""

from __future__ import annotations

from rich.segment import Segment
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.events import Resize
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Static

from ltdd_tui.tail import Tail, bar, profile

LONGEST_NAME, SHORT_MARK = 18, "!"
PROFILE_ROWS = 5


class TailRows(ScrollView, can_focus=True):
    """A line for each class: name, images, bar. Only the lines that are seen are drawn."""

    COMPONENT_CLASSES = {"tail-rows--bar", "tail-rows--short", "tail-rows--name", "tail-rows--count"}
    DEFAULT_CSS = """
    TailRows { height: 1fr; background: transparent; scrollbar-size-vertical: 1; overflow-x: hidden; }
    TailRows:focus { background: $surface; }
    TailRows > .tail-rows--bar { color: $primary; }
    TailRows > .tail-rows--short { color: $warning; }
    TailRows > .tail-rows--name { color: $foreground; }
    TailRows > .tail-rows--count { color: $text-muted; }
    """

    def __init__(self) -> None:
        super().__init__(id="tail-rows")
        self._tail: Tail | None = None

    def show(self, tail: Tail | None) -> None:
        """Draws this tail."""
        self._tail = tail
        self.virtual_size = Size(0, len(tail.counts) if tail else 0)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """The class that is `y` lines below the top of what is seen."""
        tail, place, width = self._tail, y + self.scroll_offset.y, self.scrollable_content_region.width
        if tail is None or not 0 <= place < len(tail.counts):
            return Strip.blank(self.size.width, self.rich_style)
        count = tail.counts[place]
        name_width = min(max(map(len, tail.names)), LONGEST_NAME, max(width // 3, 4))
        count_width = len(f"{tail.counts[0]:,}")
        name = tail.names[place]
        name = name if len(name) <= name_width else f"{name[: name_width - 1]}…"
        short = count < tail.ipc
        styles = {key: self.get_component_rich_style(f"tail-rows--{key}") for key in ("bar", "short", "name", "count")}
        room = width - name_width - count_width - 3
        return Strip(
            [
                Segment(f"{name:{name_width}} ", styles["short" if short else "name"]),
                Segment(
                    f"{count:>{count_width},}{SHORT_MARK if short else ' '} ", styles["short" if short else "count"]
                ),
                Segment(bar(count, tail.counts[0], room), styles["short" if short else "bar"]),
            ]
        ).adjust_cell_length(width, self.rich_style)


class TailChart(Vertical):
    """The bars, and where not all classes fit the silhouette of all of them."""

    DEFAULT_CSS = """
    TailChart { height: 1fr; min-height: 3; }
    TailChart #profile { color: $primary; height: auto; display: none; margin-bottom: 1; }
    TailChart.-many #profile { display: block; }
    """

    def __init__(self) -> None:
        super().__init__(id="tail")
        self._tail: Tail | None = None

    def compose(self) -> ComposeResult:
        """Silhouette and bars."""
        yield Static(id="profile")
        yield TailRows()

    def show(self, tail: Tail | None) -> None:
        """Draws a tail, or nothing."""
        if tail != self._tail:
            self._tail = tail
            self.query_one(TailRows).show(tail)
            self._draw_profile()

    @on(Resize)
    def _draw_profile(self) -> None:
        tail, width, height = self._tail, self.size.width, self.size.height
        many = tail is not None and len(tail.counts) > height > PROFILE_ROWS + 4
        self.set_class(many, "-many")
        if tail is not None and many:
            lines = profile(tail.counts, width, PROFILE_ROWS)
            ends = f"{tail.names[0]}{tail.names[-1].rjust(width - len(tail.names[0]))}"[:width]
            self.query_one("#profile", Static).update(Content.assemble("\n".join(lines), "\n", (ends, "$text-muted")))
