"""The cells of a chart, on which curves and lines are drawn one over the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from ltdd_tui.decimate import Floats, Place, spans
from ltdd_tui.drawing.axis import Window
from ltdd_tui.drawing.braille import BLANK, DOTS_ACROSS, DOTS_DOWN, cells_of_dots, dots_of_spans
from ltdd_tui.drawing.lines import Line as Row
from ltdd_tui.drawing.lines import Span

EMPTY, RULE, CURSOR = ord(" "), ord("┈"), ord("│")


class Canvas:
    """The cells of a chart: characters, and for each the place of its color in `roles`."""

    def __init__(self, across: int, down: int, bottom: float, top: float, place: Place) -> None:
        self._codes: NDArray[np.uint32] = np.full((down, across), EMPTY, dtype=np.uint32)
        self._role = np.zeros((down, across), dtype=np.intp)
        self._roles = [""]
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

    def rows(self) -> Iterator[Row]:
        """The rows in pieces of one role each."""
        for codes, role in zip(self._codes, self._role, strict=True):
            text = codes.astype("<u4").tobytes().decode("utf-32-le")
            ends = [*(np.flatnonzero(role[1:] != role[:-1]) + 1).tolist(), len(text)]
            pieces = zip([0, *ends[:-1]], ends, strict=True)
            yield tuple(Span(text[begin:end], self._roles[role[begin]]) for begin, end in pieces)

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
