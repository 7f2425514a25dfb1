"""Axes of a curve: which part is seen, where the marks stand and how they are written."""

from __future__ import annotations

import math
from dataclasses import dataclass

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
    decades = math.log10(high / low)
    if high / low < SMALL_SPAN:
        return [mark for mark in linear_marks(low, high, count) if mark > 0]
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors: tuple[int, ...] = (1, 2, 5) if decades * 3 <= count * 1.5 else (1,)
    every = max(1, math.ceil(decades / max(count, 1))) if factors == (1,) else 1
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
