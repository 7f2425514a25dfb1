"""The legend of a chart: names of curves in their colors, and their values where the cursor stands."""

from __future__ import annotations

from collections.abc import Sequence

from ltdd_tui.axis import reading
from ltdd_tui.lines import Level, Line

Row = list[tuple[str, str]]
"""Pieces of text, each with a color (`#rrggbb`) or one of the roles axis, grid, cursor and text."""

LINE, DASHES = "━━ ", "╍╍ "
GAP = "   "


def legend(
    lines: Sequence[Line], levels: Sequence[Level], cursor: float | None, width: int, most_rows: int
) -> list[Row]:
    """Rows of at most `width` cells; what does not fit into `most_rows` is counted at the end."""
    entries = [_entry(LINE, line, None if cursor is None else line.value_at(cursor)) for line in lines]
    entries += [_entry(DASHES, level, level.y) for level in levels]
    if cursor is not None:
        entries.insert(0, [(f"at {cursor:,.0f}", "cursor")])
    rows: list[Row] = []
    for place, entry in enumerate(entries):
        if rows and _cells(rows[-1]) + len(GAP) + _cells(entry) <= width:
            rows[-1] += [(GAP, "text"), *entry]
        elif len(rows) < most_rows:
            rows.append(_cut(entry, width))
        else:
            more = f" +{len(entries) - place}"
            return [*rows[:-1], [*_cut(rows[-1], width - len(more)), (more, "axis")]]
    return rows


def _entry(sign: str, of: Line | Level, value: float | None) -> Row:
    return [(sign, of.color), (of.name, "text"), *([] if value is None else [(f" {reading(value)}", "cursor")])]


def _cells(row: Row) -> int:
    return sum(len(text) for text, _ in row)


def _cut(row: Row, width: int) -> Row:
    """The row without what lies beyond `width`; an ellipsis says so."""
    if _cells(row) <= width:
        return list(row)
    kept: Row = []
    for text, role in row:
        room = width - _cells(kept)
        if len(text) >= room:
            return [*kept, (text[: max(room - 1, 0)] + "…", role)] if room > 0 else kept
        kept.append((text, role))
    return kept
