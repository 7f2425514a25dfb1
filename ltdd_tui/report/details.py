"""The section that shows some cells in detail: curves, classes, norms, confusion matrices, synthetic images."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from engine.run.metrics import GROUPS, group_means
from ltdd_tui.formatting import factor_name, percent
from ltdd_tui.report import plots
from ltdd_tui.report.cells import ReportCell, by_settings, column_of
from ltdd_tui.report.document import Block, Heading, Picture, Pictures
from ltdd_tui.runs.confusion import Confusion
from ltdd_tui.runs.figures import checks, class_means, head_to_tail, mean, norms_by_class, reference_accuracies
from ltdd_tui.runs.tables import Table

if TYPE_CHECKING:
    from PIL import Image

MOST_DETAILED = plots.MOST_SERIES
"""Cells that are shown in detail; of more cells those of one column are."""
POINTS = 120
"""Of a curve: more than a plot of this width can show."""
MOST_ROWS, MOST_COLUMNS = 10, 5
"""Classes and images of each that are shown of a set."""
JPEG_ABOVE_BYTES = 120_000


def detailed(cells: Sequence[ReportCell]) -> tuple[list[ReportCell], str]:
    """The cells that are shown in detail, and how they were chosen, where not all are."""
    known = [cell for cell in cells if cell.latest and cell.runs[0].view.state.data]
    if len(known) <= MOST_DETAILED:
        return known, ""
    columns = by_settings(known, column_of)
    # The hardest column: the longest tail and, of these, the most images a class.
    column = max(columns, key=lambda one: (len(columns[one]) > 1, isinstance(one[1], str), str(one[1]) if isinstance(one[1], str) else one[1], one[2]))
    own = columns[column]
    ranked = sorted(own, key=lambda cell: -(cell.latest[0].accuracy_mean if not cell.final else cell.final.mean))
    name, factor, ipc = column
    few = f", the {MOST_DETAILED} most accurate of {len(own)}" if len(own) > MOST_DETAILED else ""
    kept = [cell for cell in own if cell in ranked[:MOST_DETAILED]]
    return kept, f"Of {name}, IF {factor_name(factor)}, IPC {ipc}{few}. A report of single runs shows any other in this detail."


def details(cells: Sequence[ReportCell]) -> Iterator[Block]:
    """The section on some of the cells: curves, classes, norms, matrices, images."""
    cells, why = detailed(cells)
    if not cells:
        return
    yield Heading("In detail")
    if why:
        yield why
    yield Heading("Many, medium and few-shot classes", 3)
    yield _groups_table(cells)
    if curves := [*_curves(cells)]:
        yield Heading("Course of the runs", 3)
        yield Pictures(curves)
    yield Heading("Classes, from head to tail", 3)
    yield "Bars: the final set. Solid ticks: random images. Dotted ticks: networks that saw all long-tailed images."
    yield Pictures(_bars(cells))
    if norms := [*_norms(cells)]:
        yield Heading("Classifier norms", 3)
        yield (
            "Length of the classifier's weights for each class over their mean: 1 everywhere is balance, a fall from head to"
            " tail a classifier that favors large classes."
        )
        yield Pictures(norms)
    if matrices := _matrices(cells):
        yield Heading("Which classes are taken for which", 3)
        yield Pictures(matrices)
    if images := [*_images(cells)]:
        yield Heading("Synthetic images", 3)
        yield Pictures(images)


def _groups_table(cells: Sequence[ReportCell]) -> Table:
    rows = []
    for cell in cells:
        data = cell.runs[0].view.state.data
        means = group_means(cell.by_class(), data.groups if data else [])
        rows.append((cell.name, *(percent(means[group]) for group in GROUPS)))
    return Table(("cell", *GROUPS), tuple(rows))


def _curves(cells: Sequence[ReportCell]) -> Iterator[Picture]:
    for name, caption, attribute in (
        ("loss", "Matching loss", "loss_rep"),
        ("loss-cls", "Matching loss of the classifier", "loss_cls"),
    ):
        series = [line for cell in cells if (line := _loss_curve(cell, attribute))]
        if series:
            yield Picture(name, f"{caption} (mean over seeds)", plots.lines_plot(series, "iteration", "loss", marked=False))
    series = [line for cell in cells if (line := _check_curve(cell))]
    if series:
        first = reference_accuracies(cells[0].runs[0].view.state)
        levels = [(name, first[name]) for name in ("random", "bound") if name in first] if len(cells) == 1 else []
        yield Picture(
            "checks", "Accuracy of the checks", plots.lines_plot(series, "iteration", "test accuracy, %", levels)
        )


def _loss_curve(cell: ReportCell, attribute: str) -> plots.Series | None:
    """The loss over iterations, mean over seeds and over neighboring iterations."""
    import numpy as np

    steps = [run.view.state.steps for run in cell.runs if len(run.view.state.steps) > 1]
    if not steps:
        return None
    shortest = min(len(one) for one in steps)
    losses = np.mean([getattr(one, attribute)[:shortest] for one in steps], axis=0)
    iterations = steps[0].iterations[:shortest]
    known = np.isfinite(losses)
    if known.sum() < 2:
        return None
    parts = min(POINTS, int(known.sum()))
    x, y = (np.array_split(values[known], parts) for values in (iterations, losses))
    return plots.Series(cell.name, [float(one.mean()) for one in x], [float(one.mean()) for one in y])


def _check_curve(cell: ReportCell) -> plots.Series | None:
    curves = [checks(run.view.state) for run in cell.runs]
    by_iteration: dict[float, list[float]] = {}
    for iterations, accuracies in curves:
        for at, value in zip(iterations.tolist(), accuracies.tolist(), strict=True):
            by_iteration.setdefault(at, []).append(value)
    # A run that was stopped early must not pull the last points.
    known = {at: values for at, values in sorted(by_iteration.items()) if len(values) == len(curves)}
    if len(known) < 2:
        return None
    return plots.Series(cell.name, [*known], [mean(values) for values in known.values()])


def _order(cell: ReportCell) -> list[int]:
    data = cell.runs[0].view.state.data
    return head_to_tail(data.class_counts if data else [])


def _bars(cells: Sequence[ReportCell]) -> list[Picture]:
    plotted = []
    for cell in cells:
        data, order = cell.runs[0].view.state.data, _order(cell)
        assert data is not None  # `detailed` takes no others
        count = len(data.class_names)
        random = class_means([run.rows["random"].per_class for run in cell.runs if "random" in run.rows], count)
        label = cell.bound[0] if cell.bound else ""
        bound = class_means([run.rows[label].per_class for run in cell.runs if label in run.rows], count)
        values = cell.by_class()
        groups = [group for group, _ in zip_longest(data.groups, data.class_names, fillvalue="")]
        plotted.append((cell, order, data.class_names, groups, values, random, bound))
    known = [value for *_, values, random, bound in plotted for value in (*values, *random, *bound) if value is not None]
    top = min(100.0, 1.05 * max(known, default=100.0))
    return [
        Picture(
            f"classes-{place}",
            cell.name,
            plots.bars_plot(
                [names[at] for at in order],
                [groups[at] for at in order],
                [values[at] for at in order],
                [("random", [random[at] for at in order]), ("all images", [bound[at] for at in order])],
                top,
                "test accuracy, %",
            ),
        )
        for place, (cell, order, names, groups, values, random, bound) in enumerate(plotted)
    ]


def _norms(cells: Sequence[ReportCell]) -> Iterator[Picture]:
    """A plot of the networks trained on the sets, and one of the experts of the first cell that has some."""
    def averaged(cell: ReportCell) -> dict[str, list[float | None]]:
        found: dict[str, list[Sequence[float | None]]] = {}
        for run in cell.runs:
            for one in norms_by_class(run.view.state).series:
                found.setdefault(one.label, []).append(one.relative)
        return {label: class_means(own, len(own[0])) for label, own in found.items()}

    of_cells = {cell.name: averaged(cell) for cell in cells}
    own = [(name, norms["synthetic set"]) for name, norms in of_cells.items() if "synthetic set" in norms]
    if own:
        yield Picture("norms", "Networks trained on the sets", _class_lines(own, "relative norm"))
    experts = next((norms for norms in of_cells.values() if len(norms.keys() - {"synthetic set"})), None)
    if experts:
        lines = [(label, values) for label, values in experts.items() if label != "synthetic set"]
        yield Picture("norms-experts", "Experts", _class_lines(lines, "relative norm"))


def _class_lines(lines: Sequence[tuple[str, Sequence[float | None]]], y_label: str) -> str:
    series = [plots.Series(name, range(1, len(values) + 1), values) for name, values in lines]
    return plots.lines_plot(series, "class, from head to tail", y_label, marked=len(lines[0][1]) <= 20)


def _matrices(cells: Sequence[ReportCell]) -> list[Picture]:
    pictures = []
    for place, cell in enumerate(cells):
        matrices = [own for run in cell.runs if (own := run.view.confusion) and own.names == tuple(cell.class_names)]
        if not matrices:
            continue
        rows = zip(*(one.counts for one in matrices), strict=True)
        counts = tuple(tuple(map(sum, zip(*row, strict=True))) for row in rows)
        matrix = Confusion(matrices[0].names, counts).ordered(_order(cell)).pooled(50)
        pictures.append(Picture(f"confusion-{place}", cell.name, plots.matrix_plot(matrix.names, matrix.percents())))
    return pictures


def _images(cells: Sequence[ReportCell]) -> Iterator[Picture]:
    for place, cell in enumerate(cells):
        view = cell.runs[0].view
        preview = max(view.state.previews.values(), key=lambda one: one.iteration, default=None)
        if preview is None or not cell.settings.traits.distills:
            continue
        content = _some_images(view.folder.root / preview.path, preview.rows, preview.columns, _order(cell))
        if content:
            yield Picture(f"images-{place}", f"{cell.name}: a row a class, head to tail", content)


def _some_images(path: Path, rows: int, columns: int, order: Sequence[int]) -> bytes | None:
    """Some classes from head to tail, some images of each, cut from a preview."""
    from PIL import Image

    try:
        with Image.open(path) as file:
            whole = file.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    if rows < 1 or columns < 1 or len(order) != rows:
        return None
    width, height = whole.width // columns, whole.height // rows
    shown_rows = min(MOST_ROWS, rows)
    # From the first to the last, evenly.
    chosen = [order[round(place * (rows - 1) / max(1, shown_rows - 1))] for place in range(shown_rows)]
    across = min(MOST_COLUMNS, columns)
    shown = Image.new("RGB", (across * width, shown_rows * height))
    for place, row in enumerate(chosen):
        shown.paste(whole.crop((0, row * height, across * width, (row + 1) * height)), (0, place * height))
    return _encoded(shown)


def _encoded(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    if len(file.getvalue()) > JPEG_ABOVE_BYTES:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=90, subsampling=0)
    return file.getvalue()
