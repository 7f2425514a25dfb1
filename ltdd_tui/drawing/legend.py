"""The legend of a chart: names of curves in their colors, and their values where the cursor stands."""

from __future__ import annotations

from collections.abc import Sequence

from ltdd_tui.drawing.axis import reading
from ltdd_tui.drawing.lines import Line as Row
from ltdd_tui.drawing.lines import Span, clean, cut, width_of
from ltdd_tui.lines import Level, Line

LINE, DASHES, GAP = "━━ ", "╍╍ ", Span("   ")


def legend(
    lines: Sequence[Line], levels: Sequence[Level], cursor: float | None, width: int, most_rows: int
) -> list[Row]:
    """Rows of at most `width` cells; what does not fit into `most_rows` is counted at the end."""
    entries = [_entry(LINE, line, None if cursor is None else line.value_at(cursor)) for line in lines]
    entries += [_entry(DASHES, level, level.y) for level in levels]
    if cursor is not None:
        entries.insert(0, (Span(f"at {cursor:,.0f}", "cursor"),))
    rows: list[Row] = []
    for place, entry in enumerate(entries):
        if rows and width_of((*rows[-1], GAP, *entry)) <= width:
            rows[-1] = (*rows[-1], GAP, *entry)
        elif len(rows) < most_rows:
            rows.append(cut(entry, width))
        else:
            more = Span(f" +{len(entries) - place}", "axis")
            return [*rows[:-1], cut((*cut(rows[-1], max(width - len(more.text), 0)), more), width)]
    return rows


def _entry(sign: str, of: Line | Level, value: float | None) -> Row:
    name = (Span(sign, of.color), Span(clean(of.name)))
    return name if value is None else (*name, Span(f" {reading(value)}", "cursor"))
