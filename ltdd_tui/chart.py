"""A chart of curves as rows of text, each piece with its role: pure, so that a widget only colors it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ltdd_tui.axis import Window, count_label, linear_marks, log_marks, value_labels
from ltdd_tui.braille import BLANK, DOTS_ACROSS, DOTS_DOWN, cells_of_dots, dots_of_spans
from ltdd_tui.decimate import Floats, Place, spans
from ltdd_tui.legend import Row, legend
from ltdd_tui.lines import Level, Line

ROWS_A_MARK = 3
COLUMNS_A_MARK = 12
MARGIN = 0.04
SMALLEST_HEIGHT = {"labels": 3, "legend": 6}
SMALLEST_WIDTH = 16
EMPTY, RULE, CURSOR = ord(" "), ord("┈"), ord("│")


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
    return Window(left, right) if right > left else Window(left - 0.5, right + 0.5)


def draw(lines: Sequence[Line], levels: Sequence[Level], sight: Sight, width: int, height: int) -> Chart:
    """The chart in `width` x `height` cells; a very small one goes without legend, then without labels."""
    head = legend(lines, levels, sight.cursor, width, height // 4) if height >= SMALLEST_HEIGHT["legend"] else []
    labeled = height >= SMALLEST_HEIGHT["labels"] and width >= SMALLEST_WIDTH
    down = height - len(head) - labeled
    curves = [_seen(line, sight) for line in lines]
    place = np.log10 if sight.log else np.asarray
    ends = [float(end(y)) for _, y in curves if len(y) for end in (np.fmin.reduce, np.fmax.reduce)]
    shown = [level for level in levels if level.y > 0 or not sight.log]
    bottom, top = _extent([*ends, *(level.y for level in shown)], place)
    marks = _marks(bottom, top, sight.log, down)
    left = 1 + max(map(len, marks.values()), default=0) if labeled else 0
    canvas = _Canvas(width - left, down, bottom, top, place)
    canvas.rule(marks)
    for level in shown:
        canvas.dash(level.y, level.color)
    for line, (x, y) in zip(lines, curves, strict=True):
        canvas.trace(x, y, sight.window, line.color)
    if sight.cursor is not None:
        canvas.point_at(sight.cursor, sight.window)
    rows = [[(marks.get(at, "").rjust(left - 1) + " ", "axis"), *row] if left else row for at, row in canvas.rows()]
    return Chart([*head, *rows, *([_feet(sight.window, left, width)] if labeled else [])], left, width - left)


def _seen(line: Line, sight: Sight) -> tuple[Floats, Floats]:
    """The points in sight and one on either side; on a logarithmic axis, what is not positive is a gap."""
    first = max(int(np.searchsorted(line.x, sight.window.left, "left")) - 1, 0)
    last = int(np.searchsorted(line.x, sight.window.right, "right")) + 1
    x, y = line.x[first:last], line.y[first:last]
    if sight.log and (y <= 0).any():
        y = np.where(y > 0, y, np.nan)
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
    return [(text.ljust(width), "axis")]


class _Canvas:
    """The cells of a chart: characters, and for each the place of its color in `roles`."""

    def __init__(self, across: int, down: int, bottom: float, top: float, place: Place) -> None:
        self._codes: NDArray[np.uint32] = np.full((down, across), EMPTY, dtype=np.uint32)
        self._role = np.zeros((down, across), dtype=np.intp)
        self._roles = ["text"]
        self._bottom, self._top, self._place = bottom, top, place

    def rule(self, at: Iterable[int]) -> None:
        """Thin lines across, behind everything."""
        for row in at:
            self._codes[row], self._role[row] = RULE, self._role_of("grid")

    def trace(self, x: Floats, y: Floats, window: Window, color: str) -> None:
        """A curve."""
        columns = self._codes.shape[1] * DOTS_ACROSS
        self._spans(*spans(x, y, window.left, window.right, columns, self._place), color)

    def dash(self, y: float, color: str) -> None:
        """A dashed line across."""
        every = np.arange(self._codes.shape[1] * DOTS_ACROSS) % 4 < 2
        at = np.where(every, self._place(np.array(y)), np.nan)
        self._spans(at, at, color)

    def point_at(self, x: float, window: Window) -> None:
        """A thin line down, behind the curves."""
        column = round((x - window.left) / window.width * (self._codes.shape[1] - 1))
        if 0 <= column < self._codes.shape[1]:
            free = self._codes[:, column] < BLANK
            self._codes[free, column], self._role[free, column] = CURSOR, self._role_of("cursor")

    def rows(self) -> Iterable[tuple[int, Row]]:
        """The rows in pieces of one role each."""
        for at, (codes, role) in enumerate(zip(self._codes, self._role, strict=True)):
            text = codes.astype("<u4").tobytes().decode("utf-32-le")
            ends = [*(np.flatnonzero(role[1:] != role[:-1]) + 1).tolist(), len(text)]
            yield (
                at,
                [
                    (text[begin:end], self._roles[role[begin]])
                    for begin, end in zip([0, *ends[:-1]], ends, strict=True)
                    if end > begin
                ],
            )

    def _spans(self, low: Floats, high: Floats, color: str) -> None:
        dots = dots_of_spans(low, high, self._bottom, self._top, len(self._codes) * DOTS_DOWN)
        cells = cells_of_dots(dots)
        drawn = cells > BLANK
        under = np.where(self._codes >= BLANK, self._codes, BLANK)
        self._codes[drawn] = (cells | under)[drawn]
        self._role[drawn] = self._role_of(color)

    def _role_of(self, name: str) -> int:
        if name not in self._roles:
            self._roles.append(name)
        return self._roles.index(name)
