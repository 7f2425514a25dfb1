"""Numbers as upright columns, a row of cells or several high."""

from __future__ import annotations

from collections.abc import Sequence

from ltdd_tui.runs.figures import mean

COLUMN_BLOCKS = " ▁▂▃▄▅▆▇█"
FULL, UNKNOWN = COLUMN_BLOCKS[-1], "·"


def resampled(values: Sequence[float | None], width: int) -> list[float | None]:
    """At most `width` values: neighbors that share a cell are averaged."""
    count = len(values)
    if count <= width:
        return list(values)
    bounds = [round(cell * count / width) for cell in range(width + 1)]
    return [mean(values[begin:end]) for begin, end in zip(bounds, bounds[1:], strict=False)]


def cells(values: Sequence[float | None], top: float, height: int, least: int = 1) -> list[str]:
    """Rows of text, the upper first: each value is a column of eighths of a cell, `top` the whole height.

    What is not 0 is seen; a 0 is `least` eighths high.
    """
    levels = [None if value is None else _level(value / top if top else 0.0, height, least) for value in values]
    return ["".join(_cell(level, row) for level in levels) for row in range(height - 1, -1, -1)]


def silhouette(counts: Sequence[int], width: int, height: int) -> list[str]:
    """The sizes of classes as one shape in exactly `width` cells; a class that is empty is not seen."""
    if not counts or width < 1:
        return []
    means = resampled(counts, width)
    plateaus = [means[cell * len(means) // width] for cell in range(width)]
    return cells(plateaus, max(counts), height, least=0)


def _level(share: float, height: int, least: int) -> int:
    return max(1 if share else least, round(min(1.0, max(0.0, share)) * height * 8))


def _cell(level: int | None, row: int) -> str:
    if level is None:
        return UNKNOWN if row == 0 else " "
    return COLUMN_BLOCKS[max(0, min(8, level - 8 * row))]


LEFT_BLOCKS = " ▏▎▍▌▋▊▉█"
EIGHTHS = 8


def bar(value: float, largest: float, width: int) -> str:
    """A bar of at most `width` cells, an eighth of a cell fine; what is not 0 is seen."""
    if value <= 0 or largest <= 0 or width < 1:
        return ""
    eighths = max(1, round(value / largest * width * EIGHTHS))
    full, rest = divmod(min(eighths, width * EIGHTHS), EIGHTHS)
    return LEFT_BLOCKS[-1] * full + (LEFT_BLOCKS[rest] if rest else "")
