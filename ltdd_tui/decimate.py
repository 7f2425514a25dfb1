"""A curve of any length as one vertical span a column of dots, which costs the same to draw however long it is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Place = Callable[[Floats], Floats]
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
    x: Floats, y: Floats, left: float, right: float, columns: int, place: Place = np.asarray
) -> tuple[Floats, Floats]:
    """The lowest and the highest place of the curve in each of `columns` equal parts of [left, right].

    `x` ascends; a NaN in `y` breaks the curve; `place` is where a value stands on the axis, and never falls.
    Neighboring columns share the place at their border, so that the spans join into a line also where points are rare.
    NaN where a column holds no part of the curve: a gap as wide as a column is seen, a narrower one is not.
    """
    edges = np.linspace(left, right, columns + 1)
    low, high = _at_borders(x, y, edges, place)
    first, last = np.searchsorted(x, left, "left"), np.searchsorted(x, right, "right")
    x, y = x[first:last], y[first:last]
    starts, first_column = np.unique(np.searchsorted(x, edges[:-1], "left"), return_index=True)
    # Several columns may start at one point: it belongs to the last of them, the others hold none.
    column = np.append(first_column[1:], columns) - 1
    filled = starts < len(x)
    starts, column = starts[filled], column[filled]
    if len(starts):
        low[column] = np.fmin(low[column], place(np.fmin.reduceat(y, starts)))
        high[column] = np.fmax(high[column], place(np.fmax.reduceat(y, starts)))
    return low, high


def _at_borders(x: Floats, y: Floats, edges: Floats, place: Place) -> tuple[Floats, Floats]:
    """The spans between the places that the curve has at the borders of each column."""
    at = np.full(len(edges), np.nan)
    after = np.searchsorted(x, edges, "right")
    between = (after > 0) & (after < len(x))
    after = after[between]
    x_before, y_before, y_after = x[after - 1], place(y[after - 1]), place(y[after])
    share = (edges[between] - x_before) / (x[after] - x_before)
    at[between] = y_before + share * (y_after - y_before)
    return np.fmin(at[:-1], at[1:]), np.fmax(at[:-1], at[1:])
