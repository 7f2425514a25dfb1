"""The table of bars by class: all that fits between the borders of its panel."""

from __future__ import annotations

from collections.abc import Sequence

from ltdd_tui.drawing.bars import BarColumns, axis_line, bar_line, groups_line
from ltdd_tui.drawing.lines import EMPTY, Lazy, Line, Span, wrapped
from ltdd_tui.standings import Standings

WAITING = "the classes are known once the data is loaded"
UNCHECKED = "no check yet; the marks are baselines"
MOST_WITH_SCALE = 20
"""Of more classes the scale stays in sight below the bars, since these scroll."""


def class_lines(found: Standings, width: int, height: int) -> Sequence[Line]:
    """A line a class, with an empty one between where there is room; then the scale, where the bars do not scroll."""
    if not found.classes:
        return wrapped(WAITING, width, "muted")
    columns = BarColumns(found, width)
    notes: list[Line] = [(Span(misfit, "warning"),) for misfit in found.misfits]
    count = len(found.classes)
    # A scale alone is not worth scrolling for.
    just_fits = len(notes) + count == height
    scale: list[Line] = [] if count > MOST_WITH_SCALE or just_fits else [axis_line(columns)]
    stride = 2 if len(notes) + 2 * count + len(scale) - 1 <= height else 1

    bars = count * stride - (stride - 1)

    def make(place: int) -> Line:
        if place < len(notes):
            return notes[place]
        row, between = divmod(place - len(notes), stride)
        if place - len(notes) >= bars:
            return scale[0]
        return EMPTY if between else bar_line(found.classes[row], columns)

    return Lazy(len(notes) + bars + len(scale), make)


def foot_lines(found: Standings, width: int) -> list[Line]:
    """The groups, below the scale where that does not follow the bars."""
    if not found.classes:
        return []
    groups = groups_line(found) if found.last else (Span(UNCHECKED, "muted"),)
    return [axis_line(BarColumns(found, width)), groups] if len(found.classes) > MOST_WITH_SCALE else [groups]
