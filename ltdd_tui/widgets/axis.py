"""Axes of a curve: which part is seen, where the marks stand and how they are written."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SMALLEST_SHARE = 1e-4
SMALL_SPAN = 3.2
ENOUGH = 0.85


@dataclass(frozen=True)
class Window:
    """The part of an x axis that is seen, from `left` to `right`."""

    left: float
    right: float

    @property
    def width(self) -> float:
        """Its extent in units of the axis."""
        return self.right - self.left

    def zoomed(self, factor: float, about: float, whole: Window) -> Window:
        """`factor` times as wide, with `about` at the same place of the screen; never more than `whole`."""
        width = max(self.width * factor, whole.width * SMALLEST_SHARE)
        share = (about - self.left) / self.width
        return Window(about - share * width, about + (1 - share) * width).within(whole)

    def panned(self, share: float, whole: Window) -> Window:
        """Moved to the right by a share of its width, as far as `whole` reaches."""
        return Window(self.left + share * self.width, self.right + share * self.width).within(whole)

    def within(self, whole: Window) -> Window:
        """Moved, and made narrower where it must be, to lie in `whole`."""
        width = min(self.width, whole.width)
        left = min(max(self.left, whole.left), whole.right - width)
        return Window(left, left + width)


def linear_marks(low: float, high: float, count: int, smallest_step: float = 0.0) -> list[float]:
    """About `count` round numbers (1, 2 or 5 times a power of ten apart) between `low` and `high`."""
    step = max((high - low) / max(count, 1), smallest_step)
    if not 0 < step < math.inf:
        return [low]
    power = 10.0 ** math.floor(math.log10(step))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * ENOUGH)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [place * step for place in range(first, last + 1)]


def log_marks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers between two positive ones: 1, 2, 5, 10, ... or only some powers of ten."""
    if high / low < SMALL_SPAN:
        return [mark for mark in linear_marks(low, high, count) if mark > 0]
    decades = math.log10(high / low)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    has_room = decades * 3 <= count * 1.5
    factors, every = ((1, 2, 5), 1) if has_room else ((1,), max(1, math.ceil(decades / max(count, 1))))
    marks = [factor * 10.0**power for power in powers if power % every == 0 for factor in factors]
    return [mark for mark in marks if low * (1 - 1e-9) <= mark <= high * (1 + 1e-9)]


def value_labels(marks: list[float], log: bool = False) -> list[str]:
    """Marks with the decimals that they need: all the same, or each its own where a logarithmic axis spans much."""
    sizes = [abs(mark) for mark in marks if mark]
    if sizes and (max(sizes) >= 1e5 or min(sizes) < 1e-3):
        return [f"{mark:.3g}" for mark in marks]
    places = [_decimals(mark) for mark in marks]
    if log and sizes and max(sizes) / min(sizes) >= SMALL_SPAN:
        least = 1 if min(sizes) < 1 else 0
        return [f"{mark:.{max(own, least if mark < 10 else 0)}f}" for mark, own in zip(marks, places, strict=True)]
    return [f"{mark:.{max(places)}f}" for mark in marks]


def _decimals(value: float) -> int:
    return next((places for places in range(6) if math.isclose(round(value, places), value, rel_tol=1e-6)), 6)


def count_label(value: float) -> str:
    """A whole number in few letters: `800`, `2k`, `1.5k`, `3M`."""
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:.4g}{letter}"
    return f"{value:.4g}"


def reading(value: float) -> str:
    """A value in three digits: `0.812`, `52.9`; a dash for one that is not known."""
    return f"{value:#.3g}".rstrip(".") if math.isfinite(value) else "-"


# ------------------------------------------------------------------------------------------------------------------
# A curve of any length as one vertical span a column of dots: it costs the same to draw however long it is
# ------------------------------------------------------------------------------------------------------------------

Floats = NDArray[np.float64]
Scale = Callable[[Floats], Floats]
LARGEST = 1e100


def ascending(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """The points by ascending finite x, with NaN for every y that is not finite; the same arrays where they are so.

    What is larger than any axis can show counts as not finite.
    """
    if not (known := np.abs(x) < LARGEST).all():
        x, y = x[known], y[known]
    if (x[1:] < x[:-1]).any():
        order = np.argsort(x, kind="stable")
        x, y = x[order], y[order]
    endless = np.abs(y) >= LARGEST
    return x, np.where(endless, np.nan, y) if endless.any() else y


def spans(
    x: Floats, y: Floats, left: float, right: float, columns: int, scale: Scale = np.asarray
) -> tuple[Floats, Floats]:
    """The lowest and the highest place of the curve in each of `columns` equal parts of [left, right].

    `x` ascends; a NaN in `y` breaks the curve; `scale` gives where a value stands on the axis, and never falls.
    Neighboring columns share the place at their border, so that the spans join into a line also where points are rare.
    NaN where a column holds no part of the curve: a gap as wide as a column is seen, a narrower one is not.
    """
    edges = np.linspace(left, right, columns + 1)
    low, high = _at_borders(x, y, edges, scale)
    first, last = np.searchsorted(x, left, "left"), np.searchsorted(x, right, "right")
    x, y = x[first:last], y[first:last]
    starts, first_column = np.unique(np.searchsorted(x, edges[:-1], "left"), return_index=True)
    # Several columns may start at one point: it belongs to the last of them, the others hold none.
    column = np.append(first_column[1:], columns) - 1
    filled = starts < len(x)
    starts, column = starts[filled], column[filled]
    if len(starts):
        low[column] = np.fmin(low[column], scale(np.fmin.reduceat(y, starts)))
        high[column] = np.fmax(high[column], scale(np.fmax.reduceat(y, starts)))
    return low, high


def _at_borders(x: Floats, y: Floats, edges: Floats, scale: Scale) -> tuple[Floats, Floats]:
    """The spans between the places that the curve has at the borders of each column."""
    at = np.full(len(edges), np.nan)
    after = np.searchsorted(x, edges, "right")
    between = (after > 0) & (after < len(x))
    after = after[between]
    x_before, y_before, y_after = x[after - 1], scale(y[after - 1]), scale(y[after])
    share = (edges[between] - x_before) / (x[after] - x_before)
    at[between] = y_before + share * (y_after - y_before)
    return np.fmin(at[:-1], at[1:]), np.fmax(at[:-1], at[1:])
