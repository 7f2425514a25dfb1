"""The long tail as bars, head to tail; many classes also as a silhouette above their bars."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Static

from ltdd_tui.drawing.columns import silhouette
from ltdd_tui.drawing.lines import clean, fit
from ltdd_tui.tail import Tail, bar

LONGEST_NAME, SHORT_MARK = 18, "!"
PROFILE_ROWS = 5


class TailRows(ScrollView, can_focus=True):
    """Name, images and bar of each class, on every line or every second one. Only the lines that are seen are drawn."""

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
        self._pitch, self._longest = 1, 0

    def show(self, tail: Tail | None, pitch: int) -> None:
        """Draws this tail, a class every `pitch` lines."""
        self._tail, self._pitch = tail, pitch
        self._longest = max((cell_len(clean(name)) for name in tail.names), default=0) if tail else 0
        self.virtual_size = Size(0, len(tail.counts) * pitch if tail else 0)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """The class that is `y` lines below the top of what is seen."""
        place, between = divmod(y + self.scroll_offset.y, self._pitch)
        if self._tail is None or between or not 0 <= place < len(self._tail.counts):
            return Strip.blank(self.size.width, self.rich_style)
        return self._row(self._tail, place, self.scrollable_content_region.width)

    def _row(self, tail: Tail, place: int, width: int) -> Strip:
        name, count, short = tail.names[place], tail.counts[place], tail.counts[place] < tail.ipc
        name_width = min(self._longest, LONGEST_NAME, max(width // 3, 4))
        count_width = len(f"{tail.counts[0]:,}")
        room = width - name_width - count_width - 3
        style = {
            key: self.get_component_rich_style(f"tail-rows--{'short' if short else key}")
            for key in ("name", "count", "bar")
        }
        return Strip(
            [
                Segment(f"{fit(name, name_width)} ", style["name"]),
                Segment(f"{count:>{count_width},}{SHORT_MARK if short else ' '} ", style["count"]),
                Segment(bar(count, tail.counts[0], room), style["bar"]),
            ]
        ).adjust_cell_length(width, self.rich_style)


class TailChart(Vertical):
    """The bars, and where not all classes fit the silhouette of all of them."""

    DEFAULT_CSS = """
    TailChart { height: 3; }
    TailChart #profile { color: $primary; height: auto; display: none; margin-bottom: 1; }
    TailChart.-many #profile { display: block; }
    """

    def __init__(self) -> None:
        super().__init__(id="tail")
        self._drawn: object = None
        self._profile, self._rows = Static(id="profile"), TailRows()

    def compose(self) -> ComposeResult:
        """Silhouette and bars."""
        yield self._profile
        yield self._rows

    def show(self, tail: Tail | None, width: int, lines: int) -> None:
        """Draws a tail, or nothing, on at most so many lines."""
        if (tail, width, lines) == self._drawn:
            return
        self._drawn = tail, width, lines
        classes = len(tail.counts) if tail else 0
        pitch = 2 if 2 * classes <= lines else 1
        many = classes > lines > PROFILE_ROWS + 4
        self.styles.height = min(classes * pitch, lines) if not many else lines
        self._rows.show(tail, pitch)
        self.set_class(many, "-many")
        if tail is not None and many:
            shape = "\n".join(silhouette(tail.counts, width, PROFILE_ROWS))
            ends = fit(tail.names[0], width // 2) + fit(tail.names[-1], width - width // 2, right=True)
            self._profile.update(Content.assemble(shape, "\n", (ends, "$foreground 60%")))
