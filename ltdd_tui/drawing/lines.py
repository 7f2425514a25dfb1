"""A line as panels draw it: pieces of text, each with a role that the theme gives a color. Pure, no Textual in it."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, overload

from rich.cells import cell_len, set_cell_size

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


def clean(text: str) -> str:
    """The text without what would move a terminal's cursor or change its colors."""
    if text.isprintable():
        return text
    return "".join(" " if sign in "\t\n" else "" if unicodedata.category(sign)[0] == "C" else sign for sign in text)


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
