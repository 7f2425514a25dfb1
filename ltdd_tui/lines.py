"""What a chart draws: curves, and levels to compare them with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ltdd_tui.decimate import Floats, ascending


@dataclass(frozen=True, eq=False)
class Line:
    """A curve: its name, its points by ascending x (NaN breaks it), and its color; see `line`."""

    name: str
    x: Floats
    y: Floats
    color: str

    def same_as(self, other: Line) -> bool:
        """Whether both look the same; cheap where they share their arrays."""
        return (self.name, self.color, len(self.x)) == (other.name, other.color, len(other.x)) and all(
            _shared(mine, its) or np.array_equal(mine, its, equal_nan=True)
            for mine, its in ((self.x, other.x), (self.y, other.y))
        )

    def value_at(self, x: float) -> float:
        """The value of the point nearest to `x`, NaN where the curve does not reach."""
        if not len(self.x) or not self.x[0] <= x <= self.x[-1]:
            return float("nan")
        after = int(np.searchsorted(self.x, x))
        nearer = after - 1 if after and x - self.x[after - 1] < self.x[after] - x else after
        return float(self.y[nearer])


@dataclass(frozen=True)
class Level:
    """A value to compare curves with, drawn as a dashed line."""

    name: str
    y: float
    color: str


def line(name: str, x: Floats, y: Floats, color: str) -> Line:
    """A curve of any points: they are sorted, and what is not finite becomes a gap."""
    return Line(name, *ascending(x, y), color)


def _shared(one: Floats, other: Floats) -> bool:
    """Whether two arrays of one length are views of the same memory."""
    return bool(one.__array_interface__["data"][0] == other.__array_interface__["data"][0])
