"""A chart of curves as lines of text, in the colors of the curves and the component styles of the Curve widget."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from textual.content import Content, Span

from ltdd_tui.formatting import clean
from ltdd_tui.widgets.axis import (
    LARGEST,
    Floats,
    Scale,
    Window,
    ascending,
    count_label,
    linear_marks,
    log_marks,
    reading,
    spans,
    value_labels,
)

# ------------------------------------------------------------------------------------------------------------------
# The cells of a chart, on which curves and lines are drawn one over the other
# ------------------------------------------------------------------------------------------------------------------

# Curves are dots of braille characters, whose code points from BLANK on have one bit for each dot of a cell.
BLANK = 0x2800
DOTS_ACROSS, DOTS_DOWN = 2, 4
DOT_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.uint32)
FAINT = " 40%"
"""Appended to a color, in which Textual then draws so much of it over the ground."""
CELLS_A_LETTER = 14
AXIS_STYLE, GRID_STYLE, CURSOR_STYLE = ".curve--axis", ".curve--grid", ".curve--cursor"
EMPTY, RULE, CURSOR = ord(" "), ord("┈"), ord("│")


class Canvas:
    """The cells of a chart: characters, and for each the number of its style."""

    def __init__(self, across: int, down: int, bottom: float, top: float, scale: Scale) -> None:
        self._codes: NDArray[np.uint32] = np.full((down, across), EMPTY, dtype=np.uint32)
        self._style = np.zeros((down, across), dtype=np.intp)
        # Cells whose dots are hidden by the next curve, instead of joined to it.
        self._faint = np.zeros((down, across), dtype=np.bool_)
        self._styles = {"": 0}
        self._bottom, self._top, self._scale = bottom, top, scale

    def rule(self, at: Iterable[int]) -> None:
        """Thin lines across, behind everything."""
        for row in at:
            self._codes[row], self._style[row] = RULE, self._style_of(GRID_STYLE)

    def trace(self, x: Floats, y: Floats, window: Window, color: str, faint: bool = False) -> tuple[Floats, Floats]:
        """A curve; returns its lowest and highest place in each column of dots."""
        columns = self._codes.shape[1] * DOTS_ACROSS
        low, high = spans(x, y, window.left, window.right, columns, self._scale)
        self._spans(low, high, color + FAINT if faint else color, faint)
        return low, high

    def dash(self, y: float, color: str) -> None:
        """A dashed line across."""
        every = np.arange(self._codes.shape[1] * DOTS_ACROSS) % 4 < 2
        at = np.where(every, self._scale(np.array(y)), np.nan)
        self._spans(at, at, color)

    def letter(self, letter: str, places: Floats, cells: Iterable[int], color: str) -> None:
        """Writes a letter on a line, whose place in each column of dots is given: without colors, lines look alike."""
        down, across = self._codes.shape
        for cell in cells:
            place = places[cell * DOTS_ACROSS] if 0 <= cell < across else np.nan
            if not np.isnan(place):
                row = round((self._top - place) * (down * DOTS_DOWN - 1) / (self._top - self._bottom)) // DOTS_DOWN
                if 0 <= row < down:
                    self._codes[row, cell], self._style[row, cell] = ord(letter), self._style_of(color)

    def point_at(self, x: float, window: Window) -> None:
        """A thin line down, behind the curves."""
        column = round((x - window.left) / window.width * (self._codes.shape[1] - 1))
        if 0 <= column < self._codes.shape[1]:
            free = self._codes[:, column] < BLANK
            self._codes[free, column], self._style[free, column] = CURSOR, self._style_of(CURSOR_STYLE)

    def rows(self) -> Iterator[Content]:
        """The rows, in spans of one style each."""
        names = [*self._styles]
        for codes, style in zip(self._codes, self._style, strict=True):
            text = codes.astype("<u4").tobytes().decode("utf-32-le")
            ends = [*(np.flatnonzero(style[1:] != style[:-1]) + 1).tolist(), len(text)]
            pieces = zip([0, *ends[:-1]], ends, strict=True)
            spans = [Span(begin, end, names[style[begin]]) for begin, end in pieces if style[begin]]
            yield Content(text, spans, len(text), strip_control_codes=False)

    def _spans(self, low: Floats, high: Floats, style: str, faint: bool = False) -> None:
        """Sets in each column of dots those between `low` and `high`; NaN sets none."""
        down, across = self._codes.shape
        row = np.arange(down * DOTS_DOWN)[:, None]
        scale = (down * DOTS_DOWN - 1) / (self._top - self._bottom)
        with np.errstate(invalid="ignore"):
            dots = (row >= np.round((self._top - high) * scale)) & (row <= np.round((self._top - low) * scale))
        dots_by_cell = dots.reshape(down, DOTS_DOWN, across, DOTS_ACROSS).astype(np.uint32)
        cells = np.einsum("idjc,dc->ij", dots_by_cell, DOT_BITS) + np.uint32(BLANK)
        drawn = cells > BLANK
        under = np.where((self._codes >= BLANK) & (faint | ~self._faint), self._codes, BLANK)
        self._codes[drawn] = (cells | under)[drawn]
        self._style[drawn], self._faint[drawn] = self._style_of(style), faint

    def _style_of(self, name: str) -> int:
        return self._styles.setdefault(name, len(self._styles))


# ------------------------------------------------------------------------------------------------------------------
# What a chart draws: curves, and levels to compare them with
# ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Line:
    """A curve: its name, its points by ascending x (NaN breaks it), and its color; see `line`.

    A faint one is drawn behind another of the same name, which is its average.
    """

    name: str
    x: Floats
    y: Floats
    color: str
    faint: bool = False

    def same_as(self, other: Line) -> bool:
        """Whether both look the same."""
        return (
            (self.name, self.color, self.faint) == (other.name, other.color, other.faint)
            and np.array_equal(self.x, other.x)
            and np.array_equal(self.y, other.y, equal_nan=True)
        )

    def value_at(self, x: float) -> float:
        """The value of the point nearest to `x`, NaN where the curve does not reach."""
        if not len(self.x) or not self.x[0] <= x <= self.x[-1]:
            return float("nan")
        return float(self.y[np.abs(self.x - x).argmin()])


@dataclass(frozen=True)
class Level:
    """A value to compare curves with, drawn as a dashed line."""

    name: str
    y: float
    color: str


def line(name: str, x: Floats, y: Floats, color: str) -> Line:
    """A curve of any points: they are sorted, and what is not finite becomes a gap."""
    return Line(name, *ascending(x, y), color)


# ------------------------------------------------------------------------------------------------------------------
# The legend: names of curves in their colors, and their values where the cursor stands
# ------------------------------------------------------------------------------------------------------------------

SOLID, DASHED, GAP = "━", "╍", "   "


def legend(
    lines: Sequence[Line], levels: Sequence[Level], cursor: float | None, width: int, most_rows: int
) -> list[Content]:
    """Rows of at most `width` cells; what does not fit into `most_rows` is counted at the end."""
    named = [line for line in lines if not line.faint]
    has_letters = len(named) + len(levels) > 1
    entries = [_entry(SOLID, line, None if cursor is None else line.value_at(cursor), has_letters) for line in named]
    entries += [_entry(DASHED, level, level.y, has_letters) for level in levels]
    if cursor is not None:
        entries.insert(0, Content.styled(f"at {cursor:,.0f}", CURSOR_STYLE))
    rows: list[Content] = []
    for place, entry in enumerate(entries):
        if rows and rows[-1].cell_length + len(GAP) + entry.cell_length <= width:
            rows[-1] = Content.assemble(rows[-1], GAP, entry)
        elif len(rows) < most_rows:
            rows.append(entry.truncate(width, ellipsis=True))
        else:
            more = Content.styled(f" +{len(entries) - place}", AXIS_STYLE)
            shorter = rows[-1].truncate(max(width - more.cell_length, 0), ellipsis=True)
            return [*rows[:-1], Content.assemble(shorter, more).truncate(width, ellipsis=True)]
    return rows


def _entry(sign: str, of: Line | Level, value: float | None, has_letter: bool) -> Content:
    read = "" if value is None else f" {reading(value)}"
    drawn = f"{sign}{letter_of(of)}{sign}" if has_letter else 2 * sign
    name = "" if has_letter and of.name == letter_of(of) else " " + clean(of.name)
    return Content.assemble((drawn, of.color), name, (read, CURSOR_STYLE))


def letter_of(line: Line | Level) -> str:
    """The letter that stands on a line, where there are several: the first of its name."""
    first = clean(line.name)[:1]
    return first if cell_len(first) == 1 else "*"


# ------------------------------------------------------------------------------------------------------------------
# The chart: legend, curves, and axes with their labels
# ------------------------------------------------------------------------------------------------------------------

ROWS_A_MARK = 3
COLUMNS_A_MARK = 12
MARGIN = 0.04
LABEL_CELLS = 3
"""At the least, so that charts one above the other begin in one column."""
SMALLEST = 1 / LARGEST
LEGEND_FROM_HEIGHT, LABELS_FROM_HEIGHT, LABELS_FROM_WIDTH = 6, 3, 16


@dataclass(frozen=True)
class ChartView:
    """How a chart is looked at: the part of the x axis, a logarithmic y axis or not, the x that is read off."""

    window: Window
    log: bool = False
    cursor: float | None = None


@dataclass(frozen=True)
class Chart:
    """A drawn chart; `across` columns from `left` on hold the curves."""

    rows: list[Content]
    left: int
    across: int


def whole(lines: Iterable[Line]) -> Window | None:
    """The extent of all curves along x, or None where none of them has a value."""
    ends = [(line.x[0], line.x[-1]) for line in lines if not np.isnan(line.y).all()]
    if not ends:
        return None
    left, right = float(min(first for first, _ in ends)), float(max(last for _, last in ends))
    # Where numbers are large, half of one is lost in rounding.
    half = max(0.5, abs(left) * 1e-9)
    return Window(left, right) if right > left else Window(left - half, right + half)


def draw(lines: Sequence[Line], levels: Sequence[Level], view: ChartView, width: int, height: int) -> Chart:
    """The chart in `width` x `height` cells; a very small one goes without legend, then without labels."""
    head = legend(lines, levels, view.cursor, width, height // 4) if height >= LEGEND_FROM_HEIGHT else []
    labeled = height >= LABELS_FROM_HEIGHT and width >= LABELS_FROM_WIDTH
    down = height - len(head) - labeled
    curves = [_seen(line, view) for line in lines]
    scale = np.log10 if view.log else np.asarray
    ends = [float(end(y)) for _, y in curves if len(y) for end in (np.fmin.reduce, np.fmax.reduce)]
    shown = [level for level in levels if abs(level.y) < LARGEST and (level.y >= SMALLEST or not view.log)]
    bottom, top = _extent([*ends, *(level.y for level in shown)], scale)
    marks = _marks(bottom, top, view.log, down)
    left = 1 + max([LABEL_CELLS, *map(len, marks.values())]) if labeled else 0
    canvas = Canvas(width - left, down, bottom, top, scale)
    canvas.rule(marks)
    for level in shown:
        canvas.dash(level.y, level.color)
    traced = [canvas.trace(x, y, view.window, one.color, one.faint) for one, (x, y) in zip(lines, curves, strict=True)]
    _write_letters(canvas, lines, shown, traced, width - left, scale)
    if view.cursor is not None:
        canvas.point_at(view.cursor, view.window)
    rows: list[Content] = list(canvas.rows())
    if labeled:
        labels = [(marks.get(at, "").rjust(left - 1) + " ", AXIS_STYLE) for at in range(down)]
        rows = [Content.assemble(label, row) for label, row in zip(labels, rows, strict=True)]
        rows.append(_feet(view.window, left, width))
    return Chart([*head, *rows], left, width - left)


def _write_letters(
    canvas: Canvas,
    lines: Sequence[Line],
    levels: Sequence[Level],
    traced: Sequence[tuple[Floats, Floats]],
    across: int,
    scale: Scale,
) -> None:
    """Writes the letter of each of several lines on it, every now and then, and that of a level at its end."""
    named = [(one, (low + high) / 2) for one, (low, high) in zip(lines, traced, strict=True) if not one.faint]
    count = len(named) + len(levels)
    if count < 2:
        return
    for place, (one, middle) in enumerate(named):
        # Where several lines lie on each other, their letters do not.
        first = CELLS_A_LETTER * (2 * place + 1) // (2 * len(named))
        canvas.letter(letter_of(one), middle, range(first, across, CELLS_A_LETTER), one.color)
    for place, level in enumerate(levels):
        ends = np.full(across * DOTS_ACROSS, scale(np.array(level.y)))
        canvas.letter(letter_of(level), ends, [across - 1 - 2 * place], level.color)


def _seen(line: Line, view: ChartView) -> tuple[Floats, Floats]:
    """The points in sight and one on either side; what has no place on a logarithmic axis is a gap."""
    first = max(int(np.searchsorted(line.x, view.window.left, "left")) - 1, 0)
    last = int(np.searchsorted(line.x, view.window.right, "right")) + 1
    x, y = line.x[first:last], line.y[first:last]
    if view.log and (y < SMALLEST).any():
        y = np.where(y < SMALLEST, np.nan, y)
    return x, y


def _extent(values: Iterable[float], scale: Scale) -> tuple[float, float]:
    """The lowest and highest place with a margin; a range around it where there is one only."""
    known = [at for at in scale(np.array(list(values))).tolist() if not math.isnan(at)]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    margin = (high - low) * MARGIN or max(abs(low) * MARGIN, MARGIN)
    return low - margin, high + margin


def _marks(bottom: float, top: float, log: bool, rows: int) -> dict[int, str]:
    """The labels of the y axis by row."""
    count = max(rows // ROWS_A_MARK, 1)
    values = log_marks(10**bottom, 10**top, count) if log else linear_marks(bottom, top, count)
    places = [math.log10(value) for value in values] if log else values
    at = [round((top - place) / (top - bottom) * (rows - 1)) for place in places]
    return dict(zip(at, value_labels(values, log), strict=True))


def _feet(window: Window, left: int, width: int) -> Content:
    """The labels of the x axis, each under its place, as many as fit."""
    across, text = width - left, " " * left
    # An axis from 1 to 10,000 is marked with its 0 too.
    near = window.width / across / 2
    for mark in linear_marks(window.left - near, window.right + near, across // COLUMNS_A_MARK, smallest_step=1.0):
        label = count_label(mark)
        at = left + round((mark - window.left) / window.width * (across - 1)) - len(label) // 2
        at = min(max(at, left), width - len(label))
        if at > len(text) or len(text) == left:
            text = text.ljust(at) + label
    return Content.styled(text.ljust(width), AXIS_STYLE)
