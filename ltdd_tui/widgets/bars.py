"""Numbers as bars: across, in parts of a cell, and upright as columns, one row of cells or several high."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise

from textual.content import Content

from ltdd_tui.widgets.lines import TRACK

BLOCKS, THIN = " ▏▎▍▌▋▊▉█", " ╸━"
"""The parts of a cell that a bar is made of, from none to all of it: in eighths, or as a thin line in halves."""
TRACK_SIGN = "─"


def bar(value: float, largest: float, width: int, parts: str = BLOCKS) -> str:
    """A bar of at most `width` cells for a value of at most `largest`; what is not 0 is seen."""
    if value <= 0 or largest <= 0 or width < 1:
        return ""
    per_cell = len(parts) - 1
    filled = max(1, round(min(value / largest, 1.0) * width * per_cell))
    full, rest = divmod(filled, per_cell)
    return parts[-1] * full + (parts[rest] if rest else "")


def gauge(
    value: float, largest: float, width: int, style: str, marks: Mapping[int, tuple[str, str]] | None = None
) -> Content:
    """A thin bar on a track of exactly `width` cells; `marks` are drawn over it: of a cell the sign and its style."""
    filled = bar(value, largest, width, THIN)
    cells = [(sign, style) for sign in filled] + [(TRACK_SIGN, TRACK)] * (width - len(filled))
    for cell, mark in (marks or {}).items():
        cells[cell] = mark
    runs = groupby(cells, key=lambda cell: cell[1])
    return Content.assemble(*(("".join(sign for sign, _ in run), style) for style, run in runs))


# ------------------------------------------------------------------------------------------------------------------
# Columns
# ------------------------------------------------------------------------------------------------------------------

COLUMN_BLOCKS = " ▁▂▃▄▅▆▇█"
FULL, UNKNOWN = COLUMN_BLOCKS[-1], "·"


def resampled(values: Sequence[float | None], width: int) -> list[float | None]:
    """At most `width` values: neighbors that share a cell are averaged."""
    count = len(values)
    if count <= width:
        return list(values)
    bounds = [round(cell * count / width) for cell in range(width + 1)]
    return [_mean(values[begin:end]) for begin, end in pairwise(bounds)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    mean = sum(known) / len(known) if known else math.nan
    # The numbers of a foreign file may be so large that their sum is not finite.
    return mean if math.isfinite(mean) else None


def cells(values: Sequence[float | None], top: float, height: int, least: int = 1) -> list[str]:
    """Rows of text, the upper first: each value is a column of eighths of a cell, `top` the whole height.

    What is not 0 is seen; a 0 is `least` eighths high.
    """

    def level(value: float) -> int:
        share = value / top if top else 0.0
        return max(1 if share else least, round(min(1.0, max(0.0, share)) * height * 8))

    levels = [None if value is None else level(value) for value in values]

    def cell(level: int | None, row: int) -> str:
        if level is None:
            return UNKNOWN if row == 0 else " "
        return COLUMN_BLOCKS[max(0, min(8, level - 8 * row))]

    return ["".join(cell(level, row) for level in levels) for row in range(height - 1, -1, -1)]


def silhouette(counts: Sequence[int], width: int, height: int) -> list[str]:
    """The sizes of classes as one shape in exactly `width` cells; a class that is empty is not seen."""
    if not counts or width < 1:
        return []
    means = resampled(counts, width)
    plateaus = [means[cell * len(means) // width] for cell in range(width)]
    return cells(plateaus, max(counts), height, least=0)
