"""A class's accuracy as a bar of cells, with marks for what it is measured against."""

from __future__ import annotations

import math

from rich.cells import cell_len

from ltdd_tui.drawing.lines import Line, Span, clean, fit
from ltdd_tui.standings import ClassStanding, Standings
from ltdd_tui.wording import percent

FULL, HALF, TRACK = "━", "╸", "─"
RANDOM, START, BOUND = "r", "i", "│"
VALUE_CELLS, CHANGE_CELLS = 6, 7
NAME_CELLS, SHORTEST_BAR = 18, 8
STEP = 10.0


def scale_end(found: Standings) -> float:
    """Where the bars' axis ends, in percent: the ten above all that is drawn; 100 while there is nothing."""
    return math.ceil(min(100.0, found.highest) / STEP) * STEP or 100.0


class BarColumns:
    """How wide each column of the table of bars is, given the width of all."""

    def __init__(self, found: Standings, width: int) -> None:
        self.top = scale_end(found)
        longest = max((cell_len(clean(one.name)) for one in found.classes), default=0)
        self.count = max((len(str(one.count or "")) for one in found.classes), default=0)
        rest = width - self.count - VALUE_CELLS - 2
        self.change = CHANGE_CELLS if rest - min(longest, 8) - CHANGE_CELLS >= SHORTEST_BAR else 0
        rest -= self.change
        self.name = max(1, min(longest, NAME_CELLS, rest - SHORTEST_BAR))
        self.bar = max(0, rest - self.name)

    def before_bar(self) -> int:
        """Cells left of the bar."""
        return self.name + 1 + self.count + 1


def bar_line(one: ClassStanding, columns: BarColumns) -> Line:
    """One class: name, images, bar, accuracy, and its change since the check before."""
    change = Span("")
    if columns.change and one.change is not None and abs(one.change) >= 0.05:
        change = Span(fit(f"{one.change:+.1f}", columns.change, right=True), "good" if one.change > 0 else "bad")
    return (
        Span(fit(one.name, columns.name)),
        Span(" " + fit("" if one.count is None else str(one.count), columns.count, right=True) + " ", "muted"),
        *bar(one, columns.bar, columns.top),
        Span(fit(percent(one.value), VALUE_CELLS, right=True), "strong"),
        change,
    )


def bar(one: ClassStanding, width: int, top: float) -> Line:
    """The bar up to the value, with `r`, `i` and the bound where they lie; of marks in one cell the later wins."""
    halves = 0 if one.value is None else round(min(one.value, top) / top * width * 2)
    cells = [(FULL, one.group)] * (halves // 2) + [(HALF, one.group)] * (halves % 2)
    cells += [(TRACK, "track")] * (width - len(cells))
    for value, sign in ((one.random, RANDOM), (one.start, START), (one.bound, BOUND)):
        if value is not None and width:
            cells[min(width - 1, int(max(0.0, value) / top * width))] = (sign, "mark")
    spans: list[Span] = []
    for sign, role in cells:
        if spans and spans[-1].role == role:
            spans[-1] = Span(spans[-1].text + sign, role)
        else:
            spans.append(Span(sign, role))
    return tuple(spans)


def axis_line(columns: BarColumns) -> Line:
    """The percent scale below the bars."""
    width, row = columns.bar, [" "] * columns.bar
    # Into as many parts as give round numbers, four by preference.
    steps = next(parts for parts in (4, 5, 3, 2, 1) if columns.top % (5 * parts) == 0 and (parts < 3 or width >= 32))
    for step in range(steps + 1):
        text = f"{columns.top * step / steps:g}" + ("%" if step == steps else "")
        begin = min(max(0, round(width * step / steps) - len(text) // 2), width - len(text))
        row[max(0, begin) : begin + len(text)] = text
    return (Span(" " * columns.before_bar() + "".join(row), "muted"),)


def groups_line(found: Standings) -> Line:
    """The accuracy of many, medium and few, in their colors, and of all."""
    spans: list[Span] = []
    for group, value in found.groups.items():
        spans += [Span(f"{group} ", group), Span(f"{percent(value)}   ", "strong")]
    return tuple(spans)
