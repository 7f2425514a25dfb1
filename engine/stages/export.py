"""The result folder: the set, its figures, a picture of it and its card, each written whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.context import Context
from engine.data.dataset import LongTailedData
from engine.distilled import describe, distilled_bytes
from engine.matching.synthetic import Synthetic
from engine.results.files import (
    grid_png,
    read_result,
    write_confusion,
    write_image_folder,
    write_metrics_and_card,
    write_tensor_trio,
)
from engine.results.metrics import collect_metrics
from engine.run.events import Evaluated
from engine.run.folder import write_atomically
from engine.trajectories import Trajectory


def export(
    context: Context,
    data: LongTailedData,
    synthetic: Synthetic,
    evaluations: Sequence[Evaluated],
    representation: Sequence[Trajectory],
    classifiers: Sequence[Trajectory],
    confusion: list[list[int]] | None = None,
) -> None:
    """Writes result/; `evaluations`: random, initialization, final, best, then final on further networks.

    `confusion`: the final set's confusion matrix, where there is one.
    """
    folder = context.folder
    with context.stage("export", 1, "report") as progress:
        write_atomically(folder.distilled, distilled_bytes(context.settings, data, synthetic))
        write_atomically(folder.grid, grid_png(data.whitening.to_pixels(synthetic.images), synthetic.ipc))
        write_confusion(folder, data.class_names, confusion)
        metrics = collect_metrics(context, data, evaluations, representation, classifiers)
        # metrics.json comes after the set: a run with metrics is taken for finished.
        write_metrics_and_card(folder, metrics, describe(context.settings, data))
        progress()


def export_copies(context: Context, images: Path | None, pt: Path | None) -> None:
    """Copies a finished run's set into an image folder, the three .pt files, or both.

    Where neither is asked for, result/grid.png and the card are drawn again. Raises InputError for an unfinished run,
    or a folder that holds something else.
    """
    distilled, metrics = read_result(context.folder, context.device)
    if images is not None:
        write_image_folder(images, distilled)
    if pt is not None:
        write_tensor_trio(pt, distilled)
    if images is None and pt is None:
        write_atomically(context.folder.grid, grid_png(distilled.pixels, distilled.ipc))
        write_metrics_and_card(context.folder, metrics, distilled.about)
