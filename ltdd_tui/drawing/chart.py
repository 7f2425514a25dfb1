"""A chart of curves as lines of text; the role of a piece is its color (`#rrggbb`), or axis, grid, cursor or none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ltdd_tui.decimate import LARGEST, Floats, Place
from ltdd_tui.drawing.axis import Window, count_label, linear_marks, log_marks, value_labels
from ltdd_tui.drawing.canvas import Canvas
from ltdd_tui.drawing.legend import legend
from ltdd_tui.drawing.lines import Line as Row
from ltdd_tui.drawing.lines import Span
from ltdd_tui.lines import Level, Line

ROWS_A_MARK = 3
COLUMNS_A_MARK = 12
MARGIN = 0.04
SMALLEST = 1 / LARGEST
SMALLEST_HEIGHT = {"labels": 3, "legend": 6}
SMALLEST_WIDTH = 16


@dataclass(frozen=True)
class Sight:
    """How a chart is looked at: the part of the x axis, a logarithmic y axis or not, the x that is read off."""

    window: Window
    log: bool = False
    cursor: float | None = None


@dataclass(frozen=True)
class Chart:
    """A drawn chart; `across` columns from `left` on hold the curves."""

    rows: list[Row]
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


def draw(lines: Sequence[Line], levels: Sequence[Level], sight: Sight, width: int, height: int) -> Chart:
    """The chart in `width` x `height` cells; a very small one goes without legend, then without labels."""
    head = legend(lines, levels, sight.cursor, width, height // 4) if height >= SMALLEST_HEIGHT["legend"] else []
    labeled = height >= SMALLEST_HEIGHT["labels"] and width >= SMALLEST_WIDTH
    down = height - len(head) - labeled
    curves = [_seen(line, sight) for line in lines]
    place = np.log10 if sight.log else np.asarray
    ends = [float(end(y)) for _, y in curves if len(y) for end in (np.fmin.reduce, np.fmax.reduce)]
    shown = [level for level in levels if abs(level.y) < LARGEST and (level.y >= SMALLEST or not sight.log)]
    bottom, top = _extent([*ends, *(level.y for level in shown)], place)
    marks = _marks(bottom, top, sight.log, down)
    left = 1 + max(map(len, marks.values()), default=0) if labeled else 0
    canvas = Canvas(width - left, down, bottom, top, place)
    canvas.rule(marks)
    for level in shown:
        canvas.dash(level.y, level.color)
    for line, (x, y) in zip(lines, curves, strict=True):
        canvas.trace(x, y, sight.window, line.color)
    if sight.cursor is not None:
        canvas.point_at(sight.cursor, sight.window)
    rows: list[Row] = list(canvas.rows())
    if labeled:
        rows = [(Span(marks.get(at, "").rjust(left - 1) + " ", "axis"), *row) for at, row in enumerate(rows)]
        rows.append(_feet(sight.window, left, width))
    return Chart([*head, *rows], left, width - left)


def _seen(line: Line, sight: Sight) -> tuple[Floats, Floats]:
    """The points in sight and one on either side; what has no place on a logarithmic axis is a gap."""
    first = max(int(np.searchsorted(line.x, sight.window.left, "left")) - 1, 0)
    last = int(np.searchsorted(line.x, sight.window.right, "right")) + 1
    x, y = line.x[first:last], line.y[first:last]
    if sight.log and (y < SMALLEST).any():
        y = np.where(y < SMALLEST, np.nan, y)
    return x, y


def _extent(values: Iterable[float], place: Place) -> tuple[float, float]:
    """The lowest and highest place with a margin; a range around it where there is one only."""
    known = [at for at in place(np.array(list(values))).tolist() if not math.isnan(at)]
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


def _feet(window: Window, left: int, width: int) -> Row:
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
    return (Span(text.ljust(width), "axis"),)
