"""The panels of a comparison: they are given the runs with their colors, and draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from engine.run.metrics import GROUPS
from ltdd_tui.formatting import clean, percent, shortened
from ltdd_tui.runs.comparison import (
    ClassLine,
    Contender,
    Difference,
    SeedMean,
    class_lines,
    differing_settings,
    group_lines,
    seed_means,
    smoothed,
    window_for,
)
from ltdd_tui.runs.figures import Row, checks
from ltdd_tui.screens.compare import panels
from ltdd_tui.screens.run.panel import RowsPanel
from ltdd_tui.widgets.chart import Level, line
from ltdd_tui.widgets.curve import Curve
from ltdd_tui.widgets.lines import EMPTY, Drawing, Line, Span, fit

# A comparison as lines of text: figures, classes and settings, a column or a row for each run. Pure.


FULL, HALF, TRACK = "\u2501", "\u2578", "\u2500"
SHORTEST_NAME, ROOMY_NAME = 6, 24
TITLES = ("start", "rand", "many", "med", "few", "paper", "diff")
VALUE, CHANGE, SHORTEST_BAR, LONGEST_BAR = 5, 7, 4, 24
NOTE = "in brackets: the last check, of one network or few"


@dataclass(frozen=True)
class FigureColumns:
    """How wide the columns of the figures are."""

    name: int
    status: int
    spread: int
    figure: int

    @staticmethod
    def fitting(found: Sequence[Contender], width: int) -> FigureColumns:
        """Roomy where there is room; else tight, and without the state."""
        longest = max(cell_len(one.name) for one in found)
        for spread, figure, status in ((10, 7, 9), (9, 6, 0)):
            room = width - 2 - status - 2 * spread - figure * len(TITLES)
            if room >= min(longest, ROOMY_NAME):
                return FigureColumns(min(room, longest), status, spread, figure)
        return FigureColumns(max(SHORTEST_NAME, min(room, longest)), status, spread, figure)

    @property
    def before(self) -> int:
        """Cells left of the figures."""
        return 2 + self.name + self.status


def figures(found: Sequence[Contender], colors: Sequence[str], means: Sequence[SeedMean], width: int) -> list[Line]:
    """A row for each run: final, best, what it started from, groups, the published figure and the way to it."""
    columns = FigureColumns.fitting(found, width)
    head = fit(" " * (2 + columns.name) + ("  state" if columns.status else ""), columns.before)
    titles = [*(fit(title, columns.spread, True) for title in ("final", "best"))]
    titles += [fit(title, columns.figure, True) for title in TITLES]
    lines: list[Line] = [(Span(head + "".join(titles), "muted"),)]
    for one, color in zip(found, colors, strict=True):
        called = (Span(f"{one.tag} ", color), Span(fit(shortened(one.name, columns.name), columns.name)))
        state = Span(fit(f"  {one.view.state.status}", columns.status), "muted")
        lines.append((*called, state, *_figures_of(one, columns)))
    for mean in means:
        figure = fit(f"{mean.mean:.1f}\u00b1{mean.std:.1f}", columns.spread, True)
        lines.append((Span(fit(f"{'+'.join(mean.tags)} by seed", columns.before), "muted"), Span(figure, "strong")))
    if any(one.latest and "final" not in one.rows for one in found):
        lines += [EMPTY, (Span(NOTE, "muted"),)]
    return lines


def _figures_of(one: Contender, columns: FigureColumns) -> Line:
    final = "final" in one.rows
    latest, best = _spread(one.latest), _spread(one.best)
    figures = [_mean(one.rows.get("initialization")), _mean(one.rows.get("random"))]
    figures += [percent(one.latest.groups.get(group)) if one.latest else "-" for group in GROUPS]
    beyond = one.beyond_published
    spread, figure = columns.spread, columns.figure
    return (
        Span(fit(latest if final or latest == "-" else f"({latest})", spread, True), "strong" if final else ""),
        Span(fit(best, spread, True)),
        *(Span(fit(text, figure, True), "muted") for text in figures[:2]),
        *(Span(fit(text, figure, True)) for text in figures[2:]),
        Span(fit(percent(one.published), figure, True), "muted"),
        Span(fit("-" if beyond is None else f"{beyond:+.1f}", figure, True), _tone(beyond)),
    )


def _mean(row: Row | None) -> str:
    return percent(row.accuracy_mean if row else None)


def _spread(row: Row | None) -> str:
    if row is None:
        return "-"
    return f"{row.accuracy_mean:.1f}\u00b1{row.accuracy_std:.1f}" if row.repeats > 1 else f"{row.accuracy_mean:.1f}"


def _tone(change: float | None) -> str:
    return "muted" if change is None or abs(change) < 0.05 else "good" if change > 0 else "bad"


class ClassColumns:
    """How wide the columns of the classes are: a bar, the value and the difference of each run, as far as they fit."""

    def __init__(self, lines: Sequence[ClassLine], runs: int, width: int) -> None:
        longest = max((cell_len(clean(line.name)) for line in lines), default=4)
        self.count = max((len(str(line.count or "")) for line in lines), default=0) + 1
        self.name = max(4, min(longest, 18, width - self.count - runs * CHANGE))
        room = width - self.name - self.count
        self.changes = room >= runs * (VALUE + 1) + (runs - 1) * CHANGE
        self.only_changes = not self.changes
        rest = room - runs * (VALUE + 2) - (runs - 1) * CHANGE
        self.bar = min(LONGEST_BAR, rest // runs) if rest // runs >= SHORTEST_BAR else 0

    def of_run(self, is_base: bool) -> int:
        """Cells that one run takes."""
        if self.only_changes:
            return CHANGE
        return 1 + (self.bar + 1 if self.bar else 0) + VALUE + (0 if is_base else CHANGE)


def classes(
    found: Sequence[Contender],
    colors: Sequence[str],
    lines: Sequence[ClassLine],
    groups: Sequence[ClassLine],
    base: int,
    width: int,
) -> list[Line]:
    """A row for each class, head to tail, with the difference to the run at place `base`; then the groups."""
    columns = ClassColumns([*lines, *groups], len(found), width)
    heads = [
        Span(
            fit(f"{one.tag}{'' if place == base else f'-{found[base].tag}'}", columns.of_run(place == base), True),
            color,
        )
        for place, (one, color) in enumerate(zip(found, colors, strict=True))
    ]
    drawn = [_class_line(line, colors, base, columns) for line in (*lines, *groups)]
    first: Line = (Span(" " * (columns.name + columns.count)), *heads)
    return [first, *drawn[: len(lines)], EMPTY, *drawn[len(lines) :]]


def _class_line(line: ClassLine, colors: Sequence[str], base: int, columns: ClassColumns) -> Line:
    count = fit("" if line.count is None else str(line.count), columns.count, right=True)
    spans = [Span(fit(line.name, columns.name)), Span(count, "muted")]
    for place, value in enumerate(line.values):
        change = None
        if place != base and value is not None and (reference := line.values[base]) is not None:
            change = value - reference
        spans += _run_cells(value, change, place == base, colors[place], columns)
    return tuple(spans)


def _run_cells(
    value: float | None, change: float | None, is_base: bool, color: str, columns: ClassColumns
) -> list[Span]:
    difference = Span(fit("-" if change is None else f"{change:+.1f}", CHANGE, right=True), _tone(change))
    figure = Span(fit(percent(value), VALUE, right=True), "strong" if is_base else "")
    if columns.only_changes:
        return [Span(fit(percent(value), CHANGE, right=True), "strong") if is_base else difference]
    bar = [*_bar(value, columns.bar, color), Span(" ")] if columns.bar else []
    return [Span(" "), *bar, figure, *([] if is_base else [difference])]


def _bar(value: float | None, width: int, color: str) -> list[Span]:
    halves = 0 if value is None else round(max(0.0, min(value, 100.0)) / 100 * width * 2)
    text = FULL * (halves // 2) + HALF * (halves % 2)
    return [Span(text, color), Span(TRACK * (width - len(text)), "track")]


def settings(
    found: Sequence[Contender], colors: Sequence[str], differences: Sequence[Difference], width: int
) -> list[Line]:
    """A row for each setting that differs, as each run has it; what is as in the first run is muted."""
    unread = [one.tag for one in found if one.view.settings is None]
    told: list[Line] = [(Span(f"{tag}: config.yaml cannot be read", "error"),) for tag in unread]
    if not differences:
        return told or [(Span("all settings are the same", "muted"),)]
    longest = max(len(difference.key) for difference in differences)
    cell = max(len(value or "?") for difference in differences for value in difference.values)
    cell = max(4, min(cell, 16, (width - min(longest, 16)) // len(found) - 1))
    key = max(8, min(longest, width - len(found) * (cell + 1)))
    tags = [Span(" " + fit(one.tag, cell, right=True), color) for one, color in zip(found, colors, strict=True)]
    lines: list[Line] = [(Span(" " * key), *tags)]
    for difference in differences:
        values = [
            Span(" " + fit(value or "?", cell, right=True), "muted" if place and value == difference.values[0] else "")
            for place, value in enumerate(difference.values)
        ]
        lines.append((Span(fit(shortened(difference.key, key), key), "muted"), *values))
    return [*told, *lines]


LOSSES = ("rep", "cls")


@dataclass(frozen=True)
class Compared:
    """The runs of a comparison, each with its color; `base` is the place of the one that differences are to."""

    found: Sequence[Contender]
    colors: Sequence[str]
    base: int = 0


class ComparisonPanel(RowsPanel):
    """A panel of lines about all runs."""

    def compare(self, compared: Compared) -> None:
        """Draws the runs."""
        self.rows.draw(self.drawing(compared))

    def drawing(self, compared: Compared) -> Drawing:
        """The lines for a width."""
        raise NotImplementedError


class FiguresPanel(ComparisonPanel):
    """Accuracy of every run, what it started from, and what is published."""

    NAME, NUMBER, TITLE = "figures", "1", "Accuracy %"
    HELP: ClassVar[str] = """
    **Accuracy**: networks trained on the distilled images alone, tested on real ones. *final* is the set at the end,
    *best* the best check on the way; *start* is the set before the first step, *random* as many real images. *many*,
    *med* and *few* are the classes by how many images they have. *paper* is the published figure of this cell (its best
    checkpoint on the test set, which flatters it), *diff* the way from it to *final*. Runs that differ in their seed
    alone get a line with mean and standard deviation.
    """

    def drawing(self, compared: Compared) -> Drawing:
        """Figures and means over seeds."""
        found, colors, means = compared.found, compared.colors, seed_means(compared.found)
        return lambda width: panels.figures(found, colors, means, width)


class ClassesPanel(ComparisonPanel):
    """Every class of every run, head to tail."""

    NAME, NUMBER, TITLE = "classes", "4", "By class, head to tail"
    HELP: ClassVar[str] = """
    **By class**: the largest class first, with its number of real images. The first run with its accuracy, the others
    with theirs and the difference to it; `b` takes the next run as the one that differences are to.
    """

    def drawing(self, compared: Compared) -> Drawing:
        """Classes, then groups."""
        lines, groups = class_lines(compared.found), group_lines(compared.found)
        found, colors, base = compared.found, compared.colors, compared.base
        return lambda width: panels.classes(found, colors, lines, groups, base, width)


class SettingsPanel(ComparisonPanel):
    """The settings in which the runs differ."""

    NAME, NUMBER, TITLE = "settings", "5", "Settings that differ"
    HELP: ClassVar[str] = """
    **Settings** that are not the same in all runs. What a run has as the first one does is muted.
    """

    def drawing(self, compared: Compared) -> Drawing:
        """Only what differs."""
        found, colors, differences = compared.found, compared.colors, differing_settings(compared.found)
        return lambda width: panels.settings(found, colors, differences, width)


class CurvePanel(Vertical):
    """Curves of all runs over their iterations."""

    NAME: ClassVar[str]
    NUMBER: ClassVar[str]
    TITLE: ClassVar[str]

    def __init__(self, curve: Curve) -> None:
        super().__init__(id=self.NAME, classes="panel")
        self.curve = curve

    def compose(self) -> ComposeResult:
        """The curves; they take the keys themselves."""
        yield self.curve


class ComparedLosses(CurvePanel):
    """One matching loss of every run."""

    NAME, NUMBER, TITLE = "losses", "2", "Matching loss"
    HELP: ClassVar[str] = """
    **Matching loss**: how far the students still are from the experts; 1 is no closer than at the start. `w` changes
    between the representation (rep) and the classifier (cls), `~` between a running mean and every value.
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "which", "rep or cls", id="compare.which_loss"),
        Binding("tilde", "smooth", "Running mean", show=False, id="compare.smooth"),
    ]

    def __init__(self) -> None:
        super().__init__(Curve(log_axis=True, empty="no matching step yet"))
        self._which, self._smooth = 0, True
        self._compared = Compared((), ())

    def compare(self, compared: Compared) -> None:
        """Draws the loss of each run."""
        self._compared = compared
        lines, window = [], 1
        for one, color in zip(compared.found, compared.colors, strict=True):
            steps = one.view.state.steps
            values = (steps.loss_rep, steps.loss_cls)[self._which]
            if not np.isnan(values).all():
                window = window_for(len(values)) if self._smooth else 1
                lines.append(line(one.tag, steps.iterations, smoothed(values, window), color))
        self.curve.plot(lines)
        mean = f", mean of {window}" if window > 1 else ""
        self.border_title = f"{self.NUMBER} {self.TITLE} {LOSSES[self._which]}{mean}"

    def action_which(self) -> None:
        """Changes between the losses of both networks."""
        self._which = 1 - self._which
        self.compare(self._compared)

    def action_smooth(self) -> None:
        """Changes between a running mean and every value."""
        self._smooth = not self._smooth
        self.compare(self._compared)


class ComparedAccuracy(CurvePanel):
    """The checks of every run, and what is published."""

    NAME, NUMBER, TITLE = "accuracy", "3", "Accuracy of the checks"
    HELP: ClassVar[str] = """
    **Accuracy of the checks**: one network or few, trained on the set as it was at that iteration. Dashed: what is
    published for the cell.
    """

    def __init__(self) -> None:
        super().__init__(Curve(empty="no check yet"))

    def on_mount(self) -> None:
        """Titles the panel."""
        self.border_title = f"{self.NUMBER} {self.TITLE}"

    def compare(self, compared: Compared) -> None:
        """Draws the checks of each run."""
        lines = [
            line(one.tag, *checks(one.view.state), color)
            for one, color in zip(compared.found, compared.colors, strict=True)
        ]
        published = dict.fromkeys(one.published for one in compared.found if one.published is not None)
        color = self.app.theme_variables["foreground"]
        self.curve.plot(lines, [Level("paper", figure, color) for figure in published])
