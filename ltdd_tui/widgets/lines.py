"""A line as panels draw it: pieces of text, each with a role that the theme gives a color. Pure, no Textual in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, overload

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from ltdd_tui.formatting import clean
from ltdd_tui.preferences import GROUP_PLACES, series_color

MORE = "…"
COLORS = ("many", "medium", "few")
FILL = "-fill"
"""Behind the name of a color: it fills the cells, which no character does without seams."""
ROLES = (
    *("muted", "strong", "accent", "good", "bad", "warning", "error", "track", "mark"),
    *COLORS,
    *(color + FILL for color in COLORS),
)


class Span(NamedTuple):
    """A piece of a line; `role` is one of ROLES, or empty for plain text."""

    text: str
    role: str = ""


Line = tuple[Span, ...]
EMPTY: Line = ()


class Lazy(Sequence[Line]):
    """`count` lines that are made when they are looked at: of a thousand classes, thirty are on the screen."""

    def __init__(self, count: int, make: Callable[[int], Line]) -> None:
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Line: ...
    @overload
    def __getitem__(self, index: slice) -> list[Line]: ...
    def __getitem__(self, index: int | slice) -> Line | list[Line]:
        places = range(self._count)
        return [self._make(place) for place in places[index]] if isinstance(index, slice) else self._make(places[index])


def width_of(line: Line) -> int:
    """Cells that a line takes."""
    return sum(cell_len(span.text) for span in line)


def fit(text: str, width: int, right: bool = False) -> str:
    """The text in exactly `width` cells: filled with spaces, or cut with a mark that says so."""
    text = clean(text)
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + MORE if width > 0 else ""
    filling = " " * (width - length)
    return filling + text if right else text + filling


def cut(line: Line, width: int) -> Line:
    """The line in at most `width` cells; what is left out is marked."""
    if width_of(line) <= width:
        return line
    kept: list[Span] = []
    room = width
    for span in line:
        length = cell_len(span.text)
        if length >= room:
            # Even where it would just fit, something follows it.
            kept.append(Span(fit(span.text + " " * (room + 1 - length), room), span.role))
            break
        kept.append(span)
        room -= length
    return tuple(kept)


def spread(left: Line, right: Line, width: int) -> Line:
    """Both ends of a line, the right one flush right; where they do not both fit, the left end wins."""
    gap = width - width_of(left) - width_of(right)
    return (*left, Span(" " * gap), *right) if gap >= 1 else cut((*left, Span(" "), *right), width)


def joined(parts: Iterable[Line], between: str) -> Line:
    """The parts that are not empty, with muted text between them."""
    found: list[Span] = []
    for part in parts:
        if part:
            found += [Span(between, "muted"), *part] if found else part
    return tuple(found)


def wrapped(text: str, width: int, role: str = "", first: Line = EMPTY) -> list[Line]:
    """The text in lines of at most `width` cells, broken at spaces; later ones begin below the end of `first`."""
    indent = width_of(first)
    room = max(1, width - indent)
    pieces = [piece for paragraph in text.split("\n") for piece in _broken(clean(paragraph), room)]
    heads = [first, *[(Span(" " * indent),) if indent else EMPTY] * (len(pieces) - 1)]
    return [(*head, Span(piece, role)) for head, piece in zip(heads, pieces, strict=True)]


def _broken(text: str, width: int) -> Iterator[str]:
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if cell_len(longer) <= width:
            line = longer
            continue
        if line:
            yield line
        while cell_len(word) > width:
            count = _signs_within(word, width)
            yield word[:count]
            word = word[count:]
        line = word
    yield line


def _signs_within(text: str, width: int) -> int:
    """How many characters fit in `width` cells, at least one."""
    room = width
    for count, sign in enumerate(text):
        room -= cell_len(sign)
        if room < 0:
            return max(1, count)
    return len(text)


# Lines of text that scroll: only those on the screen are made, and they take their colors from the theme.


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
