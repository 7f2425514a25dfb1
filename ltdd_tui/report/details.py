"""The section that shows some cells in detail: curves, classes, norms, confusion matrices, synthetic images."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.run.image_headers import opened_image
from engine.run.metrics import GROUPS, group_means
from ltdd_tui.formatting import factor_name, percent
from ltdd_tui.report import plots
from ltdd_tui.report.cells import ReportCell, by_settings, column_of, numbers_first
from ltdd_tui.report.document import Block, Heading, Picture, Pictures
from ltdd_tui.runs.confusion import Confusion
from ltdd_tui.runs.figures import (
    checks,
    class_means,
    confidence_by_class,
    mean,
    norms_by_class,
    numbers,
    reference_accuracies,
)
from ltdd_tui.runs.state import VALIDATION
from ltdd_tui.runs.tables import Table

if TYPE_CHECKING:
    from PIL import Image

OF_SET = "synthetic set"
"""What figures of networks that were trained on the set of a run are called (`ltdd_tui.runs.figures`)."""
MOST_DETAILED = plots.MOST_SERIES
"""Cells that are shown in detail; of more cells those of one column are."""
POINTS = 120
"""Of a curve: more than a plot of this width can show."""
MOST_IN_MATRIX = 50
"""Classes of a confusion matrix; of more, neighbors are added up."""
MOST_CLASSES, MOST_IMAGES = 10, 5
"""Classes, and images of each, that are shown of a set."""
JPEG_ABOVE_BYTES = 120_000


def detailed(cells: Sequence[ReportCell]) -> tuple[list[ReportCell], str]:
    """The cells that are shown in detail, and how they were chosen, where not all are."""
    known = [cell for cell in cells if cell.latest and cell.data]
    if len(known) <= MOST_DETAILED:
        return known, ""
    columns = by_settings(known, column_of)
    # The hardest column: the longest tail and, of these, the most images a class.
    name, factor, ipc = max(columns, key=lambda column: (len(columns[column]) > 1, numbers_first(column[1:])))
    own = columns[name, factor, ipc]
    best = sorted(own, key=lambda cell: -cell.latest[0].accuracy_mean)[:MOST_DETAILED]
    few = f", the {MOST_DETAILED} most accurate of {len(own)} cells" if len(own) > MOST_DETAILED else ""
    why = f"Of {name}, IF {factor_name(factor)}, IPC {ipc}{few}. A report on single runs shows others in this detail."
    return [cell for cell in own if cell in best], why


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
    yield Pictures([*_bars(cells)])
    confidence = {cell.name: _confidence(cell) for cell in cells}
    if pictures := [*_of_networks("confidence", "confidence, %", confidence)]:
        yield Heading("Confidence", 3)
        yield "The mean probability that networks give the true class of test images. A biased one doubts the tail."
        yield Pictures(pictures)
    norms = {
        cell.name: _mean_over_seeds(
            [{one.label: one.relative for one in norms_by_class(run.view.state).series} for run in cell.shown]
        )
        for cell in cells
    }
    if pictures := [*_of_networks("norms", "relative norm", norms)]:
        yield Heading("Classifier norms", 3)
        yield (
            "Length of the classifier's weights for each class over their mean: 1 everywhere is balance, a fall from"
            " head to tail a classifier that favors large classes."
        )
        yield Pictures(pictures)
    if matrices := [*_matrices(cells)]:
        yield Heading("Which classes are taken for which", 3)
        yield Pictures(matrices)
    if pictures := [*images(cells)]:
        yield Heading("Images of the sets", 3)
        yield "A column for each class, from head to tail."
        yield Pictures(pictures)


def _groups_table(cells: Sequence[ReportCell]) -> Table:
    """Accuracy by group, and how confident networks are of images of each group."""
    rows: list[tuple[str, ...]] = []
    for cell in cells:
        accuracy = group_means(cell.by_class(), cell.groups)
        confidence = group_means(_confidence(cell).get(OF_SET, ()), [cell.groups[at] for at in cell.head_to_tail])
        rows.append((cell.name, *(percent(own[group]) for own in (accuracy, confidence) for group in GROUPS)))
    if all(value == percent(None) for row in rows for value in row[4:]):
        return Table(("cell", *GROUPS), tuple(row[:4] for row in rows))
    return Table(("cell", *GROUPS, *(f"confidence, {group}" for group in GROUPS)), tuple(rows))


def _confidence(cell: ReportCell) -> dict[str, list[float | None]]:
    return _mean_over_seeds([confidence_by_class(run.view.state) for run in cell.shown])


def _mean_over_seeds(of_runs: Sequence[Mapping[str, Sequence[float | None]]]) -> dict[str, list[float | None]]:
    """The lists of one number a class of several runs, by what they are of."""
    lists: dict[str, list[Sequence[float | None]]] = {}
    for own in of_runs:
        for label, values in own.items():
            lists.setdefault(label, []).append(values)
    return {label: class_means(own, len(own[0])) for label, own in lists.items()}


def _curves(cells: Sequence[ReportCell]) -> Iterator[Picture]:
    for name, caption, attribute in (
        ("loss", "Matching loss", "loss_rep"),
        ("loss-cls", "Matching loss of the classifier", "loss_cls"),
    ):
        series = [line for place, cell in enumerate(cells) if (line := _loss_curve(cell, attribute, place))]
        if series:
            image = plots.lines_plot(series, "iteration", "loss", marked=False)
            yield Picture(name, f"{caption}, mean over seeds", image)
    series = [line for place, cell in enumerate(cells) if (line := _check_curve(cell, place))]
    if series:
        levels = reference_accuracies(cells[0].shown[0].view.state) if len(cells) == 1 else {}
        # Curves of validation images are not beside others without a word; the levels are always of test images.
        validated = [cell.shown[0].view.state.validates for cell in cells]
        on = VALIDATION if all(validated) else f"test or {VALIDATION}" if any(validated) else "test"
        image = plots.lines_plot(series, "iteration", f"{on} accuracy, %", [*levels.items()])
        told = f" on {on} images" + " (lines: test images)" * bool(levels) if any(validated) else ""
        yield Picture("checks", f"Accuracy of the checks{told}, mean over seeds", image)


def _loss_curve(cell: ReportCell, attribute: str, place: int) -> plots.Series | None:
    """The loss over iterations, mean over seeds and over neighboring iterations."""
    import numpy as np

    steps = [run.view.state.steps for run in cell.shown if len(run.view.state.steps) > 1]
    if not steps:
        return None
    shortest = min(len(one) for one in steps)
    losses = np.mean([getattr(one, attribute)[:shortest] for one in steps], axis=0)
    known = np.isfinite(losses)
    if known.sum() < 2:
        return None
    parts = min(POINTS, int(known.sum()))
    x, y = (np.array_split(values[known], parts) for values in (steps[0].iterations[:shortest], losses))
    return plots.Series(cell.name, [float(one.mean()) for one in x], [float(one.mean()) for one in y], place=place)


def _check_curve(cell: ReportCell, place: int) -> plots.Series | None:
    curves = [checks(run.view.state) for run in cell.shown]
    by_iteration: dict[float, list[float]] = {}
    for iterations, accuracies in curves:
        for at, value in zip(iterations.tolist(), accuracies.tolist(), strict=True):
            by_iteration.setdefault(at, []).append(value)
    # Where one of the seeds is missing, the mean would jump.
    means = {at: mean(values) for at, values in sorted(by_iteration.items()) if len(values) == len(curves)}
    return plots.Series(cell.name, [*means], [*means.values()], place=place) if len(means) > 1 else None


def _bars(cells: Sequence[ReportCell]) -> Iterator[Picture]:
    def bound_of(cell: ReportCell) -> list[float | None]:
        return numbers(cell.bound.per_class if cell.bound else (), len(cell.class_names))

    values = [
        value for cell in cells for own in (cell.by_class(), cell.by_class("random"), bound_of(cell)) for value in own
    ]
    # One axis for all, so that the bars of one plot compare with those of another.
    top = max((value for value in values if value is not None), default=100.0)
    for place, cell in enumerate(cells):
        order = cell.head_to_tail
        values_of = cell.by_class(), cell.by_class("random"), bound_of(cell)
        final, random, bound = ([own[at] for at in order] for own in values_of)
        image = plots.bars_plot(
            [cell.class_names[at] for at in order],
            [cell.groups[at] for at in order],
            final,
            [("random", random), ("all images", bound)],
            top,
            "test accuracy, %",
        )
        yield Picture(f"classes-{place}", cell.name, image)


def _of_networks(
    name: str, y_label: str, by_cell: Mapping[str, Mapping[str, Sequence[float | None]]]
) -> Iterator[Picture]:
    """A plot over the classes of the networks that were trained on the sets, and one of the experts."""
    sets = {cell: own[OF_SET] for cell, own in by_cell.items() if OF_SET in own}
    if sets:
        yield Picture(name, "Networks trained on the sets", _class_lines(sets, [*by_cell], y_label))
    experts = {label: values for own in by_cell.values() for label, values in own.items() if label != OF_SET}
    if experts:
        yield Picture(f"{name}-experts", "Experts", _class_lines(experts, [*experts], y_label))


def _class_lines(lines: Mapping[str, Sequence[float | None]], places: Sequence[str], y_label: str) -> str:
    """A line over the classes for each, in the color of its place."""
    series = [
        plots.Series(name, range(1, len(values) + 1), values, place=places.index(name))
        for name, values in lines.items()
    ]
    few = max(map(len, lines.values())) <= plots.MOST_NAMED
    return plots.lines_plot(series, "class, from head to tail", y_label, marked=few)


def _matrices(cells: Sequence[ReportCell]) -> Iterator[Picture]:
    for place, cell in enumerate(cells):
        matrices = [own for run in cell.shown if (own := run.view.confusion) and own.names == tuple(cell.class_names)]
        if matrices:
            rows = zip(*(one.counts for one in matrices), strict=True)
            counts = tuple(tuple(map(sum, zip(*row, strict=True))) for row in rows)
            matrix = Confusion(matrices[0].names, counts).ordered(cell.head_to_tail).pooled(MOST_IN_MATRIX)
            yield Picture(f"confusion-{place}", cell.name, plots.matrix_plot(matrix.names, matrix.percents()))


def images(cells: Sequence[ReportCell]) -> Iterator[Picture]:
    """A picture of each set, from its last preview, as far as there are any."""
    for place, cell in enumerate(cells):
        view = cell.shown[0].view
        preview = max(view.state.previews.values(), key=lambda one: one.iteration, default=None)
        if preview is None:
            continue
        content = _some_images(view.folder.root / preview.path, preview.rows, preview.columns, cell.head_to_tail)
        if content:
            yield Picture(f"images-{place}", f"{cell.name}, iteration {preview.iteration:,}", content)


def _some_images(path: Path, rows: int, columns: int, order: Sequence[int]) -> bytes | None:
    """A column for each of some classes from head to tail, cut from a preview; None where that does not fit."""
    from PIL import Image

    try:
        with opened_image(path, ["PNG"]) as file:
            whole = file.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    if rows < 1 or columns < 1 or len(order) != rows:
        return None
    width, height = whole.width // columns, whole.height // rows
    across, down = min(MOST_CLASSES, rows), min(MOST_IMAGES, columns)
    shown = Image.new("RGB", (across * width, down * height))
    for x in range(across):
        # From the first class to the last, evenly.
        row = order[round(x * (rows - 1) / max(1, across - 1))]
        for y in range(down):
            box = (y * width, row * height, (y + 1) * width, (row + 1) * height)
            shown.paste(whole.crop(box), (x * width, y * height))
    return _encoded(shown)


def _encoded(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    if len(file.getvalue()) > JPEG_ABOVE_BYTES:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=90, subsampling=0)
    return file.getvalue()
