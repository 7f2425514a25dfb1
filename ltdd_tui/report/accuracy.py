"""The section on accuracy: the table of the paper, all figures of each cell, and what can be concluded from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from engine.run.errors import listed
from engine.run.metrics import Z_95, interval_text, sampling_error, wilson_interval
from engine.run.scores import read_scores
from ltdd_tui.formatting import factor_name, percent
from ltdd_tui.report import plots
from ltdd_tui.report.cells import (
    LOSSLESS_POINTS,
    STATED_BOUND,
    Lead,
    ReportCell,
    Spread,
    by_settings,
    column_of,
    name_of,
    naming_keys,
    values_of,
)
from ltdd_tui.report.document import Block, Folded, Heading, Picture, Pictures, Strong
from ltdd_tui.runs.figures import mean
from ltdd_tui.runs.tables import Cell, Table

MOST_RANKED = 24
"""Cells that a plot can name one below the other."""


def accuracy(cells: Sequence[ReportCell]) -> Iterator[Block]:
    """The section on the accuracy of these cells, which are finished."""
    yield Heading("Accuracy")
    yield _what_figures_are(cells)
    if table := paper_table(cells):
        yield table
        yield "The highest mean of each column is bold, whether or not it lies clearly above the next."
    figures = figures_table(cells)
    # Of many cells it would hide what follows.
    yield Folded(f"All figures of {len(cells)} cells", figures) if len(cells) > MOST_RANKED else figures
    yield from _over_folds(cells)
    yield from _how_to_read(cells)
    if 1 < len(cells) <= MOST_RANKED:
        yield Pictures(
            [Picture("accuracy", "Final accuracy with its 95 % interval, random images beside", _ranking(cells))]
        )


def _what_figures_are(cells: Sequence[ReportCell]) -> str:
    seeds = {cell.seeds for cell in cells}
    networks = {cell.networks for cell in cells}
    counted = f"{_range(networks)} networks a seed"
    if max(seeds) > 1:
        return (
            f"Test accuracy in percent: mean ± standard deviation over seeds ({_range(seeds)} of them; the figure of a"
            f" seed is the mean over its networks, {counted}). Where there is one seed, over its networks."
        )
    return (
        f"Test accuracy in percent: mean ± standard deviation over networks trained on one set ({counted}, one seed)."
        " Another seed may lie further away than this tells."
    )


def _range(numbers: set[int]) -> str:
    return str(min(numbers)) if len(numbers) == 1 else f"{min(numbers)} to {max(numbers)}"


def paper_table(cells: Sequence[ReportCell]) -> Table | None:
    """Methods down, data set, imbalance factor and IPC across; None where that is no more than a column or a row.

    A cell of anything else that differs would have no place of its own: then there is no such table.
    """
    columns = by_settings(cells, column_of)
    rows = by_settings(cells, lambda cell: (cell.settings.method, cell.labels))
    if len(columns) < 2 or len(rows) < 2:
        return None
    placed = {(cell.settings.method, cell.labels, *column_of(cell)): cell for cell in cells}
    if len(placed) < len(cells):
        return None
    datasets, regimes = {cell[0] for cell in columns}, {labels for _, labels in rows}
    titles = tuple(
        f"{name} " * (len(datasets) > 1) + f"IF {factor_name(factor)}, IPC {ipc}" for name, factor, ipc in columns
    )
    best = {column: max(cell.final.mean for cell in own if cell.final is not None) for column, own in columns.items()}
    lines: list[tuple[Cell, ...]] = []
    for method, labels in rows:
        line: list[Cell] = [f"{method} ({labels})" if len(regimes) > 1 else method]
        for column in columns:
            cell = placed.get((method, labels, *column))
            final = cell.final if cell else None
            line.append(None if final is None else Strong(final) if final.mean == best[column] else str(final))
        lines.append(tuple(line))
    return Table(("method", *titles), tuple(lines))


def figures_table(cells: Sequence[ReportCell]) -> Table:
    """All figures of each cell: final and best, what they compare with, and what can be concluded."""
    shown: dict[str, list[Cell]] = {
        "cell": [cell.name for cell in cells],
        "final": [_text(cell.final) for cell in cells],
        "n": [cell.final.counted if cell.final else None for cell in cells],
        "best": [_text(cell.figure("best")) for cell in cells],
        "start": [_text(cell.figure("initialization")) for cell in cells],
        "random": [_text(cell.figure("random")) for cell in cells],
        "over random": [_difference(cell.lead) for cell in cells],
        "p": [_p(cell.lead) for cell in cells],
        "published": [percent(cell.published) if cell.published is not None else None for cell in cells],
        "over published": [
            signed(cell.final.mean - cell.published) if cell.final and cell.published is not None else None
            for cell in cells
        ],
        "bound": [_bound(cell) for cell in cells],
        "of bound": [_share_of_bound(cell) for cell in cells],
    }
    scores = [_scores(cell) for cell in cells]
    for name in ("LRS", "ARS"):
        shown[name] = [own.get(name) for own in scores]
    if len({cell.labels for cell in cells}) > 1:
        shown["labels"] = [cell.labels for cell in cells]
    kept = {title: column for title, column in shown.items() if any(value is not None for value in column)}
    return Table(tuple(kept), tuple(zip(*kept.values(), strict=True)))


def _scores(cell: ReportCell) -> dict[str, str]:
    """LRS and ARS, means over the runs that `ltdd-tui scores` was asked for."""
    found = [scores for run in cell.finished if (scores := read_scores(run.view.folder)[0])]
    own = [scores for scores in found if scores.labels == cell.labels]
    return {"LRS": f"{fmean(one.lrs for one in own):.3f}", "ARS": f"{fmean(one.ars for one in own):.3f}"} if own else {}


def _over_folds(cells: Sequence[ReportCell]) -> Iterator[Block]:
    """Where runs have different test folds: on how many images each class is measured, and how far that can be off."""
    for cell in cells:
        pooled = cell.over_folds()
        if pooled is None:
            continue
        accuracies, tested = [one.accuracy for one in pooled.classes], [one.tested for one in pooled.classes]
        error = Z_95 * sampling_error(accuracies, tested)
        yield (
            f"{cell.name}: {pooled.folds} of {pooled.of_folds} test folds, pooled. On {sum(tested):,} images of"
            f" {len(tested)} classes the mean is {pooled.mean:.1f} %, ± {error:.1f} points (95 %) by the number of"
            " images alone."
        )
        rows = tuple(
            (
                one.name,
                f"{one.tested:,}",
                percent(one.accuracy),
                interval_text(wilson_interval(one.accuracy, one.tested)),
            )
            for one in pooled.classes
        )
        table = Table(("class", "test images", "accuracy %", "95 % interval"), rows)
        yield Folded(f"{len(rows)} classes", table) if len(rows) > MOST_RANKED else table


def _text(spread: Spread | None) -> str | None:
    return None if spread is None else str(spread)


def _difference(lead: Lead | None) -> str | None:
    if lead is None:
        return None
    if lead.low is None or lead.high is None:
        return signed(lead.difference)
    return f"{signed(lead.difference)} ({signed(lead.low)} to {signed(lead.high)})"


def signed(points: float) -> str:
    """A difference with its sign and one decimal; +0.0 where it rounds to none."""
    return f"{round(points, 1) + 0.0:+.1f}"


def _p(lead: Lead | None) -> str | None:
    if lead is None or lead.p is None:
        return None
    return "<0.001" if lead.p < 0.001 else f"{lead.p:.3f}"


def _bound(cell: ReportCell) -> str | None:
    return f"{cell.bound.mean:.1f}" if cell.bound else None


def _share_of_bound(cell: ReportCell) -> str | None:
    if cell.bound_share is None:
        return None
    has_interval = cell.final is not None and cell.final.half_width is not None
    verdict = {True: "lossless", False: "", None: "undecided" if has_interval else ""}[cell.is_lossless]
    return f"{cell.bound_share:.0f} % {verdict}".rstrip()


def _how_to_read(cells: Sequence[ReportCell]) -> Iterator[str]:
    leads = [cell.lead for cell in cells if cell.lead]
    tested = [one for one in leads if one.p is not None]
    if leads:
        yield (
            "Over random: percentage points above random images at the same IPC under the same recipe, with the 95 %"
            " interval and the two-sided p of Welch's t test."
        )
    if teacher := [cell.name for cell in cells if any(run.random_labels == "teacher" for run in cell.finished)]:
        yield f"Random images have the labels of a teacher in: {listed(teacher)}."
    if tested:
        of = " or ".join(sorted({f"{one.n} {one.of}" for one in tested}))
        clear = sum(bool(one.is_clear) for one in tested)
        text = f"It compares {of} on each side; {clear} of {len(tested)} intervals leave out 0."
        if any(one.of == "networks" for one in tested):
            text += " A test over networks of one seed says that this set is better, not that the method is."
        if any(one.of == "seeds" and one.n <= 3 for one in tested):
            text += " Over three seeds or fewer only a large difference can be told from chance: look at the intervals."
        if len(tested) > 1:
            text += f" p is not corrected for {len(tested)} tests, of which 1 in 20 falls below 0.05 by chance."
        yield text
    if any(cell.published is not None for cell in cells):
        sources = sorted({cell.settings.expected.source for cell in cells if cell.settings.expected})
        told = "; ".join(sources)
        yield f"Published figures ({told}) are of the best checkpoint on the test set: compare the best one here, too."
    if bounds := sorted({cell.bound.label.removeprefix(STATED_BOUND) for cell in cells if cell.bound}):
        yield (
            f"Bound: the best networks here that saw all long-tailed images ({', '.join(bounds)}). Lossless: it lies"
            " within the 95 % interval of the final mean (Student's t) or below; undecided: that interval is wider than"
            f" ±{LOSSLESS_POINTS:g} points."
        )


def _ranking(cells: Sequence[ReportCell]) -> str:
    dots = []
    for cell in cells:
        random = cell.figure("random")
        if cell.final:
            marks = random.mean if random else None, cell.published
            dots.append(plots.Dot(cell.name, cell.final.mean, cell.final.half_width, *marks))
    return plots.dots_plot(dots, "test accuracy, %")


def over_settings(cells: Sequence[ReportCell]) -> Iterator[Block]:
    """Plots over a numeric setting that differs, the imbalance factor before others; a line for each of the rest."""
    keys = naming_keys([cell.runs[0] for cell in cells])
    values = {cell.name: values_of(cell.runs[0]) for cell in cells}
    over = next(
        (key for key in ("dataset.imbalance_factor", "ipc", *keys) if key in keys and _is_axis(key, values)), None
    )
    if over is None:
        return
    panel_keys = [key for key in ("dataset.name", "ipc") if key in keys and key != over]
    line_keys = [key for key in keys if key not in (over, *panel_keys)]
    regimes = len({cell.labels for cell in cells}) > 1

    def line_of(cell: ReportCell) -> str:
        return name_of(cell.runs[0], line_keys, regimes) if line_keys or regimes else "final"

    lines = by_settings(cells, line_of)
    if not any(len({values[cell.name][over] for cell in line}) > 1 for line in lines.values()):
        return
    means = {name: mean([cell.final.mean for cell in line if cell.final]) or 0.0 for name, line in lines.items()}
    best = sorted(lines, key=lambda name: -means[name])[: plots.MOST_SERIES]
    # In every panel a line has the same color.
    places = {name: place for place, name in enumerate(name for name in lines if name in best)}
    pictures: list[Picture] = []

    def panel_of(cell: ReportCell) -> str:
        return name_of(cell.runs[0], panel_keys, False) if panel_keys else ""

    for panel, own in by_settings(cells, panel_of).items():
        series = []
        for name, line in by_settings(own, line_of).items():
            known = sorted((values[cell.name][over], cell.final) for cell in line if cell.final and name in places)
            if known:
                x, finals = zip(*known, strict=True)
                spreads = [one.half_width for one in finals]
                series.append(plots.Series(name, x, [one.mean for one in finals], spreads, places[name]))
        image = plots.lines_plot(series, AXES.get(over, over), "test accuracy, %", log_x=over in AXES)
        caption = f"{panel}, 95 % intervals" if panel_keys else "With 95 % intervals"
        pictures.append(Picture(f"over-{len(pictures)}", caption, image))
    yield Heading(f"Accuracy over {AXES.get(over, over)}")
    if len(lines) > len(best):
        yield f"The {len(best)} lines of {len(lines)} with the highest mean."
    yield Pictures(pictures)


AXES = {"dataset.imbalance_factor": "imbalance factor", "ipc": "images per class (IPC)"}
"""Settings that are drawn on a logarithmic axis, by what stands there."""


def _is_axis(key: str, values: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether all cells have a number there, and two or more different ones."""
    own = {own[key] if isinstance(own[key], int | float | str | None) else str(own[key]) for own in values.values()}
    return len(own) > 1 and all(isinstance(one, int | float) and not isinstance(one, bool) for one in own)
