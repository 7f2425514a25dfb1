"""Accuracy by class: does the tail live?"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.cells import cell_len
from textual.app import ComposeResult

from engine.run.events import Evaluated
from ltdd_tui.formatting import clean, mean_and_std, percent
from ltdd_tui.runs.figures import ClassAccuracies, ClassAccuracy, class_accuracies
from ltdd_tui.runs.state import RunView
from ltdd_tui.screens.run.panel import RowsPanel
from ltdd_tui.widgets.lines import EMPTY, Lazy, Line, Rows, Span, fit, wrapped

# A class's accuracy as a bar of cells, with marks for what it is measured against.


FULL, HALF, TRACK = "━", "╸", "─"
RANDOM, START, BOUND = "r", "i", "│"
VALUE_CELLS, CHANGE_CELLS = 6, 7
NAME_CELLS, SHORTEST_BAR = 18, 8
STEP = 10.0


def scale_end(found: ClassAccuracies) -> float:
    """Where the bars' axis ends, in percent: the ten above all that is drawn; 100 while there is nothing."""
    return math.ceil(min(100.0, found.highest) / STEP) * STEP or 100.0


class BarColumns:
    """How wide each column of the table of bars is, given the width of all."""

    def __init__(self, found: ClassAccuracies, width: int) -> None:
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


def bar_line(one: ClassAccuracy, columns: BarColumns) -> Line:
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


def bar(one: ClassAccuracy, width: int, top: float) -> Line:
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


def groups_line(found: ClassAccuracies) -> Line:
    """The accuracy of many, medium and few, in their colors, and of all."""
    spans: list[Span] = []
    for group, value in found.groups.items():
        spans += [Span(f"{group} ", group), Span(f"{percent(value)}   ", "strong")]
    return tuple(spans)


# The table of bars by class: all that fits between the borders of its panel.


WAITING = "the classes are known once the data is loaded"
UNCHECKED = "no check yet; the marks are baselines"
MOST_WITH_SCALE = 20
"""Of more classes the scale stays in sight below the bars, since these scroll."""


def class_lines(found: ClassAccuracies, width: int, height: int) -> Sequence[Line]:
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


def foot_lines(found: ClassAccuracies, width: int) -> list[Line]:
    """The groups, below the scale where that does not follow the bars."""
    if not found.classes:
        return []
    groups = groups_line(found) if found.last else (Span(UNCHECKED, "muted"),)
    return [axis_line(BarColumns(found, width)), groups] if len(found.classes) > MOST_WITH_SCALE else [groups]


class AccuracyPanel(RowsPanel):
    """Every class as a bar, the head at the top, the tail at the bottom."""

    NAME = "accuracy"
    NUMBER = "1"
    TITLE = "Accuracy by class"
    HELP = """\
Test accuracy of a fresh network that saw the synthetic images alone, class by class, from the class with most
training images (head) to the one with fewest (tail).

- the **bar** is the last check; its color is the class's group: many, medium or few images
- the number behind it is the accuracy in percent, then its change since the check before
- `r` is what as many **random** real images reach, `i` the set that distillation **started** from
- `│` is the bound: what the experts reach, which saw **all** long-tailed images

A tail that lives has bars far right of their `r` and `i`. Where two marks meet, the later of r, i, │ is shown.
"""
    DEFAULT_CSS = """
    AccuracyPanel .foot { height: 1; }
    AccuracyPanel .foot.-with-scale { height: 2; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._foot = Rows(classes="foot")

    def compose(self) -> ComposeResult:
        """The bars, and below them the groups."""
        yield self.rows
        yield self._foot

    def show(self, view: RunView) -> None:
        """Draws the standings."""
        state = view.state
        if not self.changed(state.data, state.evaluations, state.experts_done):
            return
        found = class_accuracies(state)
        self.border_title = _title(found)
        self.border_subtitle = _legend(found)
        self._foot.set_class(len(found.classes) > MOST_WITH_SCALE, "-with-scale")
        self.rows.draw(lambda width: class_lines(found, width, self.rows.size.height))
        self._foot.draw(lambda width: foot_lines(found, width))


def _title(found: ClassAccuracies) -> str:
    title = f"{AccuracyPanel.NUMBER} {AccuracyPanel.TITLE}"
    if found.last:
        title += f" ── last {_figure(found.last)}"
    if found.best:
        title += f"  best {_figure(found.best)}" + (f" @ {found.best.iteration}" if found.best.iteration else "")
    return title


def _figure(event: Evaluated) -> str:
    return mean_and_std(event.accuracy_mean, event.accuracy_std, event.repeats)


def _legend(found: ClassAccuracies) -> str:
    return f"r random  i start  │ {found.bound_of or 'bound'}"
