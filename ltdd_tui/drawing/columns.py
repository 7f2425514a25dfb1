"""Numbers as upright columns, a row of cells or several high."""

from __future__ import annotations

from collections.abc import Sequence

from ltdd_tui.sound import mean

EIGHTHS = " ▁▂▃▄▅▆▇█"
UNKNOWN = "·"


def resampled(values: Sequence[float | None], width: int) -> list[float | None]:
    """One value a cell: each repeated where there is room, else the mean of those that share the cell."""
    count = len(values)
    if not count or width <= 0:
        return []
    if count <= width:
        # Equal columns, so that no class looks more than another; what is left over stays empty.
        return [value for value in values for _ in range(width // count)]
    bounds = [round(cell * count / width) for cell in range(width + 1)]
    return [mean(values[begin:end]) for begin, end in zip(bounds, bounds[1:], strict=False)]


def columns(values: Sequence[float | None], top: float, height: int) -> list[str]:
    """Rows of text, the upper first: each value is a column of eighths of a cell, `top` the whole height."""
    levels = [
        None if value is None else max(1, round(max(0.0, min(value, top)) / top * height * 8)) for value in values
    ]
    return ["".join(_cell(level, row) for level in levels) for row in range(height - 1, -1, -1)]


def _cell(level: int | None, row: int) -> str:
    if level is None:
        return UNKNOWN if row == 0 else " "
    return EIGHTHS[max(0, min(8, level - 8 * row))]
