"""Text in lines: the styles and helpers that panels build `Content` with, and the widget that scrolls it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import _lru_cache_wrapper, lru_cache, partial
from typing import Generic, Protocol, TypeVar

from rich.segment import Segment
from textual._styles_cache import StylesCache
from textual.color import Color
from textual.content import Content
from textual.filter import LineFilter
from textual.geometry import Size
from textual.markup import escape
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.style import Style
from textual.widget import Widget

from engine.run.errors import CONTROL_CHARACTER
from ltdd_tui.formatting import clean
from ltdd_tui.preferences import GROUP_PLACES, series_color

# Styles for the parts of a Content, by theme variables, so that text follows the theme that is chosen.
STRONG, ACCENT = "bold", "bold $text-primary"
GOOD, BAD, WARNING, ERROR = "$text-success", "$text-error", "$text-warning", "$text-error"
TRACK, MARK = "$foreground 20%", "bold $foreground"
# A component class, since the style `$text-muted` would lose its 60 percent on the way into a Content.
MUTED = ".lines--muted"
# The same for the Content of a Static, which knows no component class of LinesView.
FADED = "$foreground 60%"
EMPTY = Content("")


def group_style(group: str, fill: bool = False) -> str:
    """The style of a class group, many, medium or few; none for another word, which a foreign file may hold.

    fill: colors the cells instead of the text, as no character fills a cell without seams in every font.
    """
    # No theme variables: the colors of the groups are the same in all dark themes, and in all light ones.
    return f".lines--{group}{'-fill' if fill else ''}" if group in GROUP_PLACES else ""


class Lines(Protocol):
    """Lines of text, as many as `len` says; a list of Content is one."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Content: ...


Item = TypeVar("Item")


@dataclass(frozen=True)
class LazyLines(Generic[Item]):
    """A line for each entry, made when it is looked at: of a thousand classes, thirty are on the screen."""

    entries: Sequence[Content | Item]
    make: Callable[[Item], Content]

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int, /) -> Content:
        entry = self.entries[index]
        return entry if isinstance(entry, Content) else self.make(entry)


def unmarked(text: str) -> str:
    """As `clean`, for what Textual reads as markup, such as the command palette: brackets stay brackets."""
    return escape(clean(text))


def fit(text: str, width: int, right: bool = False) -> str:
    """The text in exactly `width` cells: filled with spaces, or cut with an ellipsis."""
    content = Content(clean(text)).truncate(max(width, 0), ellipsis=True)
    filling = " " * (width - content.cell_length)
    return filling + content.plain if right else content.plain + filling


def spread(left: Content, right: Content, width: int) -> Content:
    """Both ends of a line, the right one flush right; where they do not both fit, the left end wins."""
    gap = max(1, width - left.cell_length - right.cell_length)
    return Content.assemble(left, " " * gap, right).truncate(width, ellipsis=True)


def wrapped(text: str, width: int, style: str = "", first: Content = EMPTY) -> list[Content]:
    """The text in lines of at most `width` cells, broken at spaces; later ones begin below the end of `first`."""
    indent = first.cell_length
    # Paragraph by paragraph, since `clean` takes line ends away.
    content = Content.styled("\n".join(map(clean, text.split("\n"))), style)
    lines = content.wrap(max(1, width - indent))
    return [Content.assemble(" " * indent if place else first, line) for place, line in enumerate(lines)]


def labelled(lines: Iterable[tuple[str, str, bool]], width: int, label_width: int) -> Content:
    """Labels on the left, texts wrapped beside them; of label, text, and whether it warns."""
    rows = []
    for label, text, warns in lines:
        style = "$text-warning" if warns else "" if label else FADED
        for place, part in enumerate(textwrap.wrap(text, max(width - label_width, 8)) or [""]):
            rows.append(Content.assemble((f"{label if place == 0 else '':{label_width}}", FADED), (part, style)))
    return Content("\n").join(rows)


def strip_of(line: Content, widget: Widget) -> Strip:
    """The line as `widget` draws it; a style that begins with a dot names a component class of the widget."""

    def style_of(style: str | Style) -> Style:
        if isinstance(style, Style):
            return style
        # Textual's own lookup takes the component class alone, and so loses its background and whether it is bold.
        return widget.get_visual_style(style[1:]) if style.startswith(".") else Style.parse(style)

    # Not `Content.render_strips`: it wraps, and gives each piece of text a style of its own for the mouse to select by.
    pieces = line.render(widget.visual_style, end="", parse_style=style_of)
    return Strip([Segment(clean(text), style.rich_style) for text, style in pieces])


class _NoControlCharacters(LineFilter):
    """Takes control characters out of whatever any widget draws; `clean` shows them escaped, where names are laid out.

    What is drawn has its width by now. Sequences of the program itself, such as pictures, are marked as controls.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        if all(segment.control or segment.text.isprintable() for segment in segments):
            return segments
        return [
            segment if segment.control else segment._replace(text=CONTROL_CHARACTER.sub("", segment.text))
            for segment in segments
        ]


NO_CONTROL_CHARACTERS = _NoControlCharacters()


def free_lines_of_removed_widgets() -> None:
    """Has Textual free the drawn lines of widgets that are gone; does nothing in a version that is made otherwise.

    Textual 8 caches the colors around a widget by its StylesCache as well, and so keeps the lines of up to 1,024
    widgets (Textualize/textual#6665): 250,000 objects, and 0.2 s of every full garbage collection.
    """
    cached = vars(StylesCache).get("get_inner_outer")
    if isinstance(cached, _lru_cache_wrapper):  # a method that caches by `self`, which it does not look at
        by_colors = lru_cache(maxsize=1024)(partial(cached.__wrapped__, None))
        StylesCache.get_inner_outer = staticmethod(by_colors)  # type: ignore[method-assign, assignment]


Drawing = Callable[[int], Lines]
GROUP_CSS = "".join(
    f".lines--{group} {{ color: {series_color(place, dark=True)}; }}"
    f"&:light .lines--{group} {{ color: {series_color(place, dark=False)}; }}"
    f".lines--{group}-fill {{ background: {series_color(place, dark=True)}; }}"
    f"&:light .lines--{group}-fill {{ background: {series_color(place, dark=False)}; }}"
    for group, place in GROUP_PLACES.items()
)


class LinesView(ScrollView, can_focus=False):
    """Draws the lines that a function gives for its width; `follows` keeps the last one in sight.

    Unlike a Static, it makes only the lines that are on the screen, and keeps what it drew until the lines change.
    """

    COMPONENT_CLASSES = {"lines--muted", *(f"lines--{group}{fill}" for group in GROUP_PLACES for fill in ("", "-fill"))}
    DEFAULT_CSS = f"""
    LinesView {{
        overflow-x: hidden; background: transparent;
        scrollbar-size-vertical: 1; scrollbar-color: $foreground 25%; scrollbar-background: $background;
        .lines--muted {{ color: $text-muted; }}
        {GROUP_CSS}
    }}
    LinesView.-fixed {{ overflow-y: hidden; }}
    """

    def __init__(self, *, follows: bool = False, classes: str | None = None) -> None:
        super().__init__(classes=classes)
        self._drawing: Drawing = lambda width: []
        self._follows = self._pinned = follows
        self._lines: Lines = []
        self._width = 0
        self._strips: dict[int, Strip] = {}

    def draw(self, drawing: Drawing) -> None:
        """Shows other lines from now on."""
        self._drawing = drawing
        self._make()

    def on_resize(self) -> None:
        self._make()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        # They have the colors of the theme before.
        self._strips.clear()

    def _make(self) -> None:
        if not self.size.width:
            return
        self._width = self.size.width
        self._lines = self._drawing(self._width)
        if len(self._lines) > self.size.height and self.styles.overflow_y == "auto":
            # The scrollbar, which is not there yet, will take its place from the lines.
            self._width -= self.styles.scrollbar_size_vertical
            self._lines = self._drawing(self._width)
        self._strips.clear()
        self.virtual_size = Size(self._width, len(self._lines))
        self.refresh()
        if self._pinned:
            self.scroll_to(y=self.max_scroll_y, animate=False, force=True)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        # Who scrolls up wants to read: the last line is kept in sight again once it is.
        self._pinned = self._follows and round(new_value) >= self.max_scroll_y

    def render_line(self, y: int) -> Strip:
        # All that is below the last line looks the same.
        place = min(self.scroll_offset.y + y, len(self._lines))
        if place not in self._strips:
            line = self._lines[place] if place < len(self._lines) else EMPTY
            strip = strip_of(line.truncate(self._width, ellipsis=True), self)
            self._strips[place] = strip.adjust_cell_length(self._width, self.rich_style)
        return self._strips[place]
