"""The panels of a comparison: figures, curves, classes and settings of all runs, each run in its own color."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content

from engine.run.metrics import GROUPS, class_intervals, interval_text
from ltdd_tui.formatting import PLUS_MINUS, clean, mean_and_std, percent, shortened
from ltdd_tui.runs.comparison import (
    ClassLine,
    ComparedRun,
    Difference,
    SeedMean,
    compared_classes,
    differing_settings,
    group_lines,
    seed_means,
)
from ltdd_tui.runs.figures import checks
from ltdd_tui.runs.rows import Row
from ltdd_tui.runs.state import VALIDATION
from ltdd_tui.screens.panel import LinesPanel, Panel
from ltdd_tui.widgets.bars import gauge
from ltdd_tui.widgets.chart import Level, line
from ltdd_tui.widgets.curve import SMOOTHING_BINDINGS, Curve, SharedX
from ltdd_tui.widgets.lines import BAD, EMPTY, ERROR, GOOD, MUTED, STRONG, WARNING, fit

SHORTEST_NAME, ROOMY_NAME = 6, 24
TITLES = ("start", "rand", "many", "med", "few", "paper", "diff")
VALUE, CHANGE, SHORTEST_BAR, LONGEST_BAR = 5, 7, 4, 24
NOTE = "in brackets: the last check, of one network or few"
RANDOM_NOTE = "the teacher's labels where these are stored, not their classes"
LOSSES = ("rep", "cls")


@dataclass(frozen=True)
class Comparison:
    """The runs of a comparison, each with its color; `base` is the place of the one that differences are to."""

    runs: Sequence[ComparedRun]
    colors: Sequence[str]
    base: int = 0

    @property
    def colored(self) -> Iterator[tuple[ComparedRun, str]]:
        """Every run with its color."""
        return zip(self.runs, self.colors, strict=True)


# ------------------------------------------------------------------------------------------------------------------
# Figures: a row for each run
# ------------------------------------------------------------------------------------------------------------------


class FigureColumns:
    """How wide the columns of the figures are: roomy where there is room; else tight, and without the state."""

    def __init__(self, names: Sequence[str], width: int) -> None:
        longest = max(map(cell_len, names))
        for self.spread, self.figure, self.status in ((10, 7, 9), (9, 6, 0)):
            room = width - 2 - self.status - 2 * self.spread - self.figure * len(TITLES)
            self.name = min(room, longest)
            if room >= min(longest, ROOMY_NAME):
                break
        else:
            self.name = max(SHORTEST_NAME, self.name)


def figures(comparison: Comparison, means: Sequence[SeedMean], width: int) -> list[Content]:
    """A row for each run: final, best, what it started from, groups, the published figure and the way to it.

    A run that has another label regime than `stored` has a row for each, named by it.
    """
    rows = [(own, color) for run, color in comparison.colored for own in run.by_regime()]
    names = [f"{run.name} {run.labels}" if run.regimes else run.name for run, _ in rows]
    columns = FigureColumns(names, width)
    before = 2 + columns.name + columns.status
    head = fit(" " * (2 + columns.name) + ("  state" if columns.status else ""), before)
    titles = [*(fit(title, columns.spread, True) for title in ("final", "best"))]
    titles += [fit(title, columns.figure, True) for title in TITLES]
    lines = [Content.styled(head + "".join(titles), MUTED)]
    for (run, color), text in zip(rows, names, strict=True):
        name = fit(shortened(text, columns.name), columns.name)
        state = (fit(f"  {run.view.state.status}", columns.status), MUTED)
        lines.append(Content.assemble((f"{run.tag} ", color), name, state, *_figures_of(run, columns)))
    for mean in means:
        label = f"{'+'.join(mean.tags)} {f'folds {mean.folds} of {mean.of_folds}' if mean.folds else 'by seed'}"
        label += f" {mean.labels}" if len(rows) > len(comparison.runs) or mean.labels != "stored" else ""
        spread = "" if mean.std is None else f"{PLUS_MINUS}{mean.std:.1f}"
        parts = [(fit(label, before), MUTED), (fit(f"{mean.mean:.1f}{spread}", columns.spread, True), STRONG)]
        if mean.folds:
            parts.append((" " * (columns.spread + 2 * columns.figure), ""))
            parts += [(fit(percent(mean.groups[group]), columns.figure, True), "") for group in GROUPS]
        lines.append(Content.assemble(*parts))
    if any(run.latest and "final" not in run.rows for run in comparison.runs):
        lines += [EMPTY, Content.styled(NOTE, MUTED)]
    for run, color in comparison.colored:
        if told := run.verdict:
            lines += [Content.assemble((f"{run.tag} ", color), (f"verdict: {told}", ""))]
    by_teacher = dict.fromkeys(run.tag for run, _ in rows if run.random_labels == "teacher")
    if by_teacher:
        lines += [EMPTY, Content.styled(f"{', '.join(by_teacher)}: random images with {RANDOM_NOTE}", MUTED)]
    return lines


def _figures_of(run: ComparedRun, columns: FigureColumns) -> list[tuple[str, str]]:
    is_final, latest = "final" in run.rows, _spread(run.latest)
    references = [row.accuracy_mean if row else None for row in map(run.rows.get, ("initialization", "random"))]
    groups = [run.latest.groups.get(group) if run.latest else None for group in GROUPS]
    beyond = run.beyond_published
    parts = [
        (latest if is_final or latest == "-" else f"({latest})", columns.spread, STRONG if is_final else ""),
        (_spread(run.best), columns.spread, ""),
        *((percent(value), columns.figure, MUTED) for value in references),
        *((percent(value), columns.figure, "") for value in groups),
        (percent(run.published), columns.figure, MUTED),
        ("-" if beyond is None else f"{beyond:+.1f}", columns.figure, _change_style(beyond)),
    ]
    return [(fit(text, cells, right=True), style) for text, cells, style in parts]


def labels_of(runs: Sequence[ComparedRun]) -> str:
    """For a title: the label regime of what is drawn of each run, where a run has another than `stored`."""
    if not any(run.regimes for run in runs):
        return ""
    regimes = {run.labels for run in runs}
    return f" ({', '.join(f'{run.tag} {run.labels}' for run in runs) if len(regimes) > 1 else regimes.pop()})"


def judged_of(runs: Sequence[ComparedRun]) -> str:
    """For a title: which runs have checks on validation images, where any have."""
    tags = [run.tag for run in runs if run.view.state.validates]
    return f" ({'' if len(tags) == len(runs) else ', '.join(tags) + ' '}{VALIDATION} images)" if tags else ""


def _spread(row: Row | None) -> str:
    """As `mean_and_std`, in as few cells as can be."""
    return (
        mean_and_std(row.accuracy_mean, row.accuracy_std, row.repeats).replace(f" {PLUS_MINUS} ", PLUS_MINUS)
        if row
        else "-"
    )


def _change_style(change: float | None) -> str:
    return MUTED if change is None or abs(change) < 0.05 else GOOD if change > 0 else BAD


# ------------------------------------------------------------------------------------------------------------------
# Classes: a row for each class, a column for each run
# ------------------------------------------------------------------------------------------------------------------


class ClassColumns:
    """How wide the columns of the classes are: a bar, the value and the difference of each run, as far as they fit."""

    def __init__(self, lines: Sequence[ClassLine], runs: int, width: int) -> None:
        longest = max((cell_len(clean(line.name)) for line in lines), default=4)
        self.count = max((len(str(line.count or "")) for line in lines), default=0) + 1
        self.name = max(4, min(longest, 18, width - self.count - runs * CHANGE))
        room = width - self.name - self.count
        self.only_changes = room < runs * (VALUE + 1) + (runs - 1) * CHANGE
        rest = room - runs * (VALUE + 2) - (runs - 1) * CHANGE
        self.bar = min(LONGEST_BAR, rest // runs) if rest // runs >= SHORTEST_BAR else 0

    def of_run(self, is_base: bool) -> int:
        """Cells that one run takes."""
        if self.only_changes:
            return CHANGE
        return 1 + (self.bar + 1 if self.bar else 0) + VALUE + (0 if is_base else CHANGE)


def classes(
    comparison: Comparison, lines: Sequence[ClassLine], groups: Sequence[ClassLine], width: int
) -> list[Content]:
    """A row for each class, head to tail, with the difference to the base run; then the groups."""
    base = comparison.base
    columns = ClassColumns([*lines, *groups], len(comparison.runs), width)
    heads = []
    for place, (run, color) in enumerate(comparison.colored):
        title = run.tag if place == base else f"{run.tag}-{comparison.runs[base].tag}"
        heads.append((fit(title, columns.of_run(place == base), True), color))
    drawn = [_class_line(line, comparison.colors, base, columns) for line in (*lines, *groups)]
    head = Content.assemble(" " * (columns.name + columns.count), *heads)
    return [head, *drawn[: len(lines)], EMPTY, *drawn[len(lines) :]]


def pooled_classes(means: Sequence[SeedMean]) -> list[Content]:
    """Below the classes of each run: every class over all test folds, with an interval where it has few images."""
    lines = []
    for mean in (mean for mean in means if mean.folds):
        how = "" if mean.labels == "stored" else f", {mean.labels} labels"
        title = f"{'+'.join(mean.tags)} pooled over test folds {mean.folds} of {mean.of_folds}"
        title += f"{how}: accuracy, test images"
        lines += [EMPTY, Content.styled(title, MUTED)]
        intervals = class_intervals([one.accuracy for one in mean.classes], [one.tested for one in mean.classes])
        for one, interval in zip(mean.classes, intervals, strict=True):
            between = f"  {interval_text(interval)} %" if interval else ""
            figures = f"{percent(one.accuracy):>{VALUE + 1}}", STRONG
            lines.append(Content.assemble(fit(one.name, 18), figures, (f"{one.tested:>8}", MUTED), (between, WARNING)))
    return lines


def _class_line(line: ClassLine, colors: Sequence[str], base: int, columns: ClassColumns) -> Content:
    count = fit("" if line.count is None else str(line.count), columns.count, right=True)
    parts = [Content.assemble(fit(line.name, columns.name), (count, MUTED))]
    for place, value in enumerate(line.values):
        change = None
        if place != base and value is not None and (reference := line.values[base]) is not None:
            change = value - reference
        parts.append(_run_cells(value, change, place == base, colors[place], columns))
    return Content.assemble(*parts)


def _run_cells(value: float | None, change: float | None, is_base: bool, color: str, columns: ClassColumns) -> Content:
    difference = (fit("-" if change is None else f"{change:+.1f}", CHANGE, right=True), _change_style(change))
    if columns.only_changes:
        return Content.assemble((fit(percent(value), CHANGE, right=True), STRONG) if is_base else difference)
    figure = (fit(percent(value), VALUE, right=True), STRONG if is_base else "")
    bar = gauge(value or 0.0, 100.0, columns.bar, color).pad_right(1) if columns.bar else EMPTY
    return Content.assemble(" ", bar, figure, EMPTY if is_base else difference)


# ------------------------------------------------------------------------------------------------------------------
# Settings: a row for each one that differs
# ------------------------------------------------------------------------------------------------------------------


def settings(comparison: Comparison, differences: Sequence[Difference], width: int) -> list[Content]:
    """A row for each setting that differs, as each run has it; what is as in the first run is muted."""
    unread = [run.tag for run in comparison.runs if run.view.settings is None]
    faults = [Content.styled(f"{tag}: config.yaml cannot be read", ERROR) for tag in unread]
    if not differences:
        return faults or [Content.styled("all settings are the same", MUTED)]
    longest = max(len(difference.key) for difference in differences)
    cell = max(len(value or "?") for difference in differences for value in difference.values)
    cell = max(4, min(cell, 16, (width - min(longest, 16)) // len(comparison.runs) - 1))
    key = max(8, min(longest, width - len(comparison.runs) * (cell + 1)))
    tags = [(" " + fit(run.tag, cell, right=True), color) for run, color in comparison.colored]
    lines = [Content.assemble(" " * key, *tags)]
    for difference in differences:
        values = [
            (" " + fit(value or "?", cell, right=True), MUTED if place and value == difference.values[0] else "")
            for place, value in enumerate(difference.values)
        ]
        lines.append(Content.assemble((fit(shortened(difference.key, key), key), MUTED), *values))
    return [*faults, *lines]


# ------------------------------------------------------------------------------------------------------------------
# The panels
# ------------------------------------------------------------------------------------------------------------------


class FiguresPanel(LinesPanel):
    """Accuracy of every run, what it started from, and what is published."""

    NAME, NUMBER, TITLE = "figures", "1", "Accuracy %"
    HELP: ClassVar[str] = """
    **Accuracy**: networks trained on the distilled images alone, tested on real ones. *final* is the set at the end,
    *best* the best check on the way; *start* is the set before the first step, *random* as many real images. *many*,
    *med* and *few* are the classes by how many images they have. *paper* is the published figure of this cell (its best
    checkpoint on the test set, which flatters it), *diff* the way from it to *final*. A run that was evaluated in
    several label regimes has a row for each; curves and classes are of its first one. Runs that differ in their seed
    alone get a line with mean and standard deviation; runs of several test folds are pooled into one.
    """

    def compare(self, comparison: Comparison) -> None:
        means = seed_means(comparison.runs)
        self.lines.draw(lambda width: figures(comparison, means, width))


class ClassesPanel(LinesPanel):
    """Every class of every run, head to tail."""

    NAME, NUMBER, TITLE = "classes", "4", "By class, head to tail"
    HELP: ClassVar[str] = """
    **By class**: the largest class first, with its number of real images. The first run with its accuracy, the others
    with theirs and the difference to it; `b` takes the next run as the one that differences are to. Of runs that
    differ in their test fold, each class stands once more below, over the test images of all folds.
    """

    def compare(self, comparison: Comparison) -> None:
        self.border_title = f"{self.NUMBER} {self.TITLE}{labels_of(comparison.runs)}"
        lines, groups = compared_classes(comparison.runs), group_lines(comparison.runs)
        pooled = pooled_classes(seed_means(comparison.runs))
        self.lines.draw(lambda width: [*classes(comparison, lines, groups, width), *pooled])


class SettingsPanel(LinesPanel):
    """The settings in which the runs differ."""

    NAME, NUMBER, TITLE = "settings", "5", "Settings that differ"
    HELP: ClassVar[str] = """
    **Settings** that are not the same in all runs. What a run has as the first one does is muted.
    """

    def compare(self, comparison: Comparison) -> None:
        differences = differing_settings(comparison.runs)
        self.lines.draw(lambda width: settings(comparison, differences, width))


class CurvePanel(Panel, can_focus=False):
    """Curves of all runs over their iterations."""

    ALLOW_MAXIMIZE = True

    def __init__(self, curve: Curve) -> None:
        super().__init__()
        self.curve = curve

    def compose(self) -> ComposeResult:
        yield self.curve


class ComparedLosses(CurvePanel):
    """One matching loss of every run."""

    NAME, NUMBER, TITLE = "losses", "2", "Matching loss"
    HELP: ClassVar[str] = """
    **Matching loss**: how far the students still are from the experts; 1 is no closer than at the start (of `dm` and
    `idm` it is a distance of features, of `rldd` one of statistics; these compare with no other loss). `w` changes
    between the representation (rep) and the classifier (cls). The curves are exponential moving averages: `,` and `.`
    change their weight, which the title names; EMA 0.9 averages over about ten iterations.
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "which", "rep or cls", id="compare.which_loss"),
        *SMOOTHING_BINDINGS,
    ]

    def __init__(self, x: SharedX) -> None:
        super().__init__(Curve(log_axis=True, smooths=True, empty="no matching step yet", x=x))
        self._which = 0
        self._comparison = Comparison((), ())

    def compare(self, comparison: Comparison) -> None:
        self._comparison = comparison
        lines = []
        for run, color in comparison.colored:
            steps = run.view.state.steps
            values = (steps.loss_rep, steps.loss_cls)[self._which]
            if not np.isnan(values).all():
                lines.append(line(run.tag, steps.iterations, values, color))
        self.curve.plot(lines)
        self.on_curve_view_changed()

    def on_curve_view_changed(self) -> None:
        self.border_title = f"{self.NUMBER} {self.TITLE} {LOSSES[self._which]}{self.curve.words}"

    def action_which(self) -> None:
        self._which = 1 - self._which
        self.compare(self._comparison)

    def action_smooth(self, direction: int) -> None:
        self.curve.action_smooth(direction)


class ComparedAccuracy(CurvePanel):
    """The checks of every run, and what is published."""

    NAME, NUMBER, TITLE = "accuracy", "3", "Accuracy of the checks"
    HELP: ClassVar[str] = """
    **Accuracy of the checks**: one network or few, trained on the set as it was at that iteration. Dashed: what is
    published for the cell. Checks on validation images are named: they do not compare with those on test images.
    """

    def __init__(self, x: SharedX) -> None:
        super().__init__(Curve(empty="no check yet", x=x))
        self._labels = ""

    def on_curve_view_changed(self) -> None:
        self.border_title = f"{self.NUMBER} {self.TITLE}{self._labels}{self.curve.words}"

    def compare(self, comparison: Comparison) -> None:
        self._labels = labels_of(comparison.runs) + judged_of(comparison.runs)
        lines = [line(run.tag, *checks(run.view.state), color) for run, color in comparison.colored]
        published = dict.fromkeys(run.published for run in comparison.runs if run.published is not None)
        color = self.app.theme_variables["foreground"]
        self.curve.plot(lines, [Level("paper", figure, color) for figure in published])
        self.on_curve_view_changed()
