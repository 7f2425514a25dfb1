"""A comparison as lines of text: figures, classes and settings, a column or a row for each run. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from ltdd_tui.comparison import ClassLine, Contender, Difference, SeedMean
from ltdd_tui.drawing.lines import EMPTY, Line, Span, clean, fit
from ltdd_tui.results import GROUPS, Row
from ltdd_tui.wording import percent, shortened

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
