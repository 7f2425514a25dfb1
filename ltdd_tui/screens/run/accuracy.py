"""Accuracy panel: a bar for every class, from head to tail, and below them the accuracy of the class groups."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.content import Content

from engine.run.events import Evaluated
from engine.run.metrics import diverged_text, interval_text
from ltdd_tui.formatting import clean, mean_and_std, percent
from ltdd_tui.runs.figures import ClassAccuracies, ClassAccuracy, class_accuracies
from ltdd_tui.runs.rows import BY_TEACHER, Row, by_label, has_regimes, rows_from_state
from ltdd_tui.runs.state import VALIDATION, RunView
from ltdd_tui.screens.panel import LinesPanel
from ltdd_tui.widgets.bars import gauge
from ltdd_tui.widgets.lines import (
    ACCENT,
    BAD,
    EMPTY,
    GOOD,
    MARK,
    MUTED,
    STRONG,
    WARNING,
    LazyLines,
    Lines,
    LinesView,
    fit,
    group_style,
    spread,
    wrapped,
)

RANDOM, START, BOUND, STANDS_IN = "r", "i", "│", "*"
VALUE_CELLS, INTERVAL_CELLS, CHANGE_CELLS = 6, 8, 7
NAME_CELLS, SHORTEST_BAR, LABELS_CELLS = 18, 8, 7
STEP = 10.0
WAITING = "the classes are known once the data is loaded"
UNCHECKED = "no check yet; the marks are baselines"
MOST_WITH_SCALE = 20
"""Of more classes the scale stays in sight below the bars, since these scroll."""


# ------------------------------------------------------------------------------------------------------------------
# A class's accuracy as a bar of cells, with marks for what it is measured against
# ------------------------------------------------------------------------------------------------------------------


class BarColumns:
    """How wide each column of the table of bars is, given the width of all."""

    def __init__(self, accuracies: ClassAccuracies, width: int) -> None:
        # The axis ends at the ten above all that is drawn, and at 100 percent while there is nothing.
        self.top = math.ceil(min(100.0, accuracies.highest) / STEP) * STEP or 100.0
        longest = max((cell_len(clean(one.name)) for one in accuracies.classes), default=0)
        self.with_tests = accuracies.tests_of_each is None
        self.count = max((len(self.images(one)) for one in accuracies.classes), default=0)
        rest = width - self.count - VALUE_CELLS - 2
        has_interval = any(one.interval for one in accuracies.classes)
        self.interval = (
            INTERVAL_CELLS if has_interval and rest - min(longest, 8) - INTERVAL_CELLS >= SHORTEST_BAR else 0
        )
        rest -= self.interval
        self.change = CHANGE_CELLS if rest - min(longest, 8) - CHANGE_CELLS >= SHORTEST_BAR else 0
        rest -= self.change
        self.name = max(1, min(longest, NAME_CELLS, rest - SHORTEST_BAR))
        self.bar = max(0, rest - self.name)
        self.before_bar = self.name + self.count + 2

    def images(self, one: ClassAccuracy) -> str:
        """The class's train images; after a slash its test images, where these are not the same for all classes."""
        count = "" if one.count is None else f"{one.count}{STANDS_IN * one.stands_in}"
        return f"{count}/{one.tests}" if self.with_tests and one.tests is not None else count


def class_line(one: ClassAccuracy, columns: BarColumns) -> Content:
    """One class: name, images, bar, accuracy, its interval, and its change since the check before."""
    interval = fit(interval_text(one.interval) if one.interval else "", columns.interval, right=True)
    change = ("", "")
    if columns.change and one.change is not None and abs(one.change) >= 0.05:
        change = (fit(f"{one.change:+.1f}", columns.change, right=True), GOOD if one.change > 0 else BAD)
    return Content.assemble(
        fit(one.name, columns.name),
        (" " + fit(columns.images(one), columns.count, right=True) + " ", MUTED),
        class_bar(one, columns.bar, columns.top),
        (fit(percent(one.value), VALUE_CELLS, right=True), STRONG),
        (interval, WARNING),
        change,
    )


def class_bar(one: ClassAccuracy, width: int, top: float) -> Content:
    """The bar up to the value, with `r`, `i` and the bound where they lie; of marks in one cell the later wins."""
    marks = {
        min(width - 1, int(max(0.0, value) / top * width)): (sign, MARK)
        for value, sign in ((one.random, RANDOM), (one.start, START), (one.bound, BOUND))
        if value is not None and width
    }
    return gauge(one.value or 0.0, top, width, group_style(one.group), marks)


def axis_line(columns: BarColumns) -> Content:
    """The percent scale below the bars."""
    width, row = columns.bar, [" "] * columns.bar
    # Into as many parts as give round numbers, four by preference.
    steps = next(parts for parts in (4, 5, 3, 2, 1) if columns.top % (5 * parts) == 0 and (parts < 3 or width >= 32))
    for step in range(steps + 1):
        text = f"{columns.top * step / steps:g}" + ("%" if step == steps else "")
        begin = min(max(0, round(width * step / steps) - len(text) // 2), width - len(text))
        row[max(0, begin) : begin + len(text)] = text
    return Content.styled(" " * columns.before_bar + "".join(row), MUTED)


# ------------------------------------------------------------------------------------------------------------------
# The panel: the bars of all classes, and below them the accuracy of the groups
# ------------------------------------------------------------------------------------------------------------------


def class_lines(accuracies: ClassAccuracies, width: int, height: int, regimes: Sequence[Content] = ()) -> Lines:
    """A line a class, with an empty one between where there is room; then the scale, where the bars do not scroll.

    `regimes`, the lines of label regimes, follow; where the bars scroll, they stand first.
    """
    if not accuracies.classes:
        return wrapped(WAITING, width, MUTED)
    columns, count = BarColumns(accuracies, width), len(accuracies.classes)
    height -= len(regimes)
    lines: list[Content | ClassAccuracy] = [Content.styled(misfit, WARNING) for misfit in accuracies.misfits]
    if any(one.stands_in for one in accuracies.classes):
        lines += wrapped(f"{STANDS_IN} spared no validation images: its own train images stand in", width, WARNING)
    # A scale alone is not worth scrolling for.
    has_scale = not _scale_stays(accuracies) and len(lines) + count != height
    spaced = len(lines) + 2 * count - 1 + has_scale <= height
    for place, one in enumerate(accuracies.classes):
        lines += [EMPTY, one] if spaced and place else [one]
    if has_scale:
        lines.append(axis_line(columns))
    in_order = [*lines, *regimes] if len(lines) <= height else [*regimes, *lines]
    return LazyLines(in_order, lambda one: class_line(one, columns))


def regime_lines(rows: Sequence[Row], width: int) -> list[Content]:
    """A line for each label regime: random images, the start, and the final set or the last check; then the teacher.

    None where all are of `stored` and there is no teacher.
    """
    if not has_regimes(rows):
        return []
    lines = []
    for labels in dict.fromkeys(row.labels for row in rows if row.labels):
        own = {row.label: row for row in rows if row.labels == labels}
        latest = next((name for name in ("final", "last check") if name in own), "")
        random = own["random"].title if "random" in own else ""
        shown = [("random", random), ("initialization", "start"), (latest, latest)]
        parts = [(fit(labels, LABELS_CELLS), ACCENT)]
        for label, name in shown:
            if row := own.get(label):
                parts += [(f" {name} ", MUTED), (percent(row.accuracy_mean), STRONG if label == latest else "")]
        lines.append(Content.assemble(*parts).truncate(width, ellipsis=True))
    known = {row.label: row for row in rows}
    if networks := known.get("teacher"):
        # Images are labelled by the mean of its networks' logits, which is better than each of them.
        labeller = known.get("mean of teacher", networks)
        each = f", its {networks.repeats} networks {percent(networks.accuracy_mean)}" if networks.repeats > 1 else ""
        figure = (f" {percent(labeller.accuracy_mean)}", STRONG)
        lines.append(Content.assemble((fit("teacher", LABELS_CELLS), ACCENT), figure, (each, MUTED)))
    return lines


def foot_lines(accuracies: ClassAccuracies, width: int) -> list[Content]:
    """The groups, below the scale where that does not follow the bars."""
    if not accuracies.classes:
        return []
    groups = Content.styled(UNCHECKED, MUTED)
    if accuracies.last:
        # With how many classes are in it: of the bars, which are sorted, the color alone would not say where it ends.
        counts = Counter(one.group for one in accuracies.classes)
        parts = [
            ((f"{group} ({counts[group]}) ", group_style(group)), (f"{percent(value)}   ", STRONG))
            for group, value in accuracies.groups.items()
        ]
        groups = Content.assemble(*itertools.chain.from_iterable(parts))
    last = accuracies.last
    if (tests := accuracies.tests_of_each) and (last is None or last.tested_on != VALIDATION):
        note = Content.styled(f"{tests:,} test images a class", MUTED)
        # Of two that do not fit, the groups say more.
        groups = spread(groups, note, width) if groups.cell_length + note.cell_length < width else groups
    return [axis_line(BarColumns(accuracies, width)), groups] if _scale_stays(accuracies) else [groups]


def _scale_stays(accuracies: ClassAccuracies) -> bool:
    return len(accuracies.classes) > MOST_WITH_SCALE


class AccuracyPanel(LinesPanel):
    """Every class as a bar, the head at the top, the tail at the bottom."""

    NAME = "accuracy"
    NUMBER = "1"
    TITLE = "Accuracy by class"
    HELP = """\
Test accuracy of a fresh network that saw the synthetic images alone, class by class, from the class with most
training images (head) to the one with fewest (tail).

- the **bar** is the last check; its color is the class's group: many, medium or few images
- the number before it is the class's train images; `6/1`: 6 train images and 1 test image
- the number behind it is the accuracy in percent, then its change since the check before
- `20-100` after an accuracy is its 95 % interval (Wilson), where a class has fewer than 10 test images: with so few
  the accuracy of the class may lie anywhere in it
- of a run that sets **validation** images apart, the bars of checks are on those, the final ones on test images; `*`
  marks a class that spared none, so that its own train images stand in
- `r` is what as many **random** real images reach, `i` the set that distillation **started** from
- `│` is the bound: what the experts reach, which saw **all** long-tailed images
- of a run with other **label regimes** than `stored`, bars and title are of its first one; each regime has a line of
  its own, and so has the teacher, which labels images

A tail that lives has bars far right of their `r` and `i`. Where two marks meet, the later of r, i, │ is shown.
"""

    def __init__(self) -> None:
        super().__init__()
        self._foot = LinesView(classes="foot")

    def compose(self) -> ComposeResult:
        yield self.lines
        yield self._foot

    def show(self, view: RunView) -> None:
        state = view.state
        if not self.changed(state.data, state.evaluations, state.experts_done):
            return
        accuracies = class_accuracies(state)
        rows = rows_from_state(state)
        self.border_title = _title(accuracies, state.first_regime_told)
        random = by_label(rows).get("random")
        labels = BY_TEACHER if random and random.teacher_labels else ""
        marks = f"r random images{labels}, i start, │ {accuracies.bound_of or 'experts'} on all data"
        validated = accuracies.last is not None and accuracies.last.tested_on == VALIDATION
        self.border_subtitle = f"bars: {VALIDATION} images; on test images: {marks}" if validated else marks
        self._foot.set_class(_scale_stays(accuracies), "-with-scale")
        self.lines.draw(lambda width: class_lines(accuracies, width, self.lines.size.height, regime_lines(rows, width)))
        self._foot.draw(lambda width: foot_lines(accuracies, width))


def _title(accuracies: ClassAccuracies, labels: str) -> str:
    title = f"{AccuracyPanel.NUMBER} {AccuracyPanel.TITLE}{labels}"
    if accuracies.last:
        title += f" ── last {_figure(accuracies.last)}"
    if best := accuracies.best:
        title += f"  best {_figure(best)}" + (f" @ {best.iteration}" if best.iteration else "")
    return title


def _figure(event: Evaluated) -> str:
    on = f" ({VALIDATION})" if event.tested_on == VALIDATION else ""
    return mean_and_std(event.accuracy_mean, event.accuracy_std, event.repeats) + on + diverged_text(event)
