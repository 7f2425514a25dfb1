"""The result folder: the set, its figures, a picture of it and its card, each written whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence

from engine.context import Context
from engine.data.dataset import LongTailedData
from engine.distilled import describe, distilled_bytes
from engine.matching.synthetic import Synthetic
from engine.results.card import dataset_card
from engine.results.files import grid_png
from engine.results.metrics import collect_metrics
from engine.run.events import Evaluated
from engine.run.folder import write_atomically, write_json
from engine.trajectories import Trajectory


def export(
    context: Context,
    data: LongTailedData,
    synthetic: Synthetic,
    evaluations: Sequence[Evaluated],
    representation: Sequence[Trajectory],
    classifiers: Sequence[Trajectory],
) -> None:
    """Writes result/; `evaluations`: random, initialization, final, best, then final on further networks."""
    folder = context.folder
    with context.stage("export", 1, "report") as progress:
        write_atomically(folder.distilled, distilled_bytes(context.settings, data, synthetic))
        write_atomically(folder.grid, grid_png(data.whitening.to_pixels(synthetic.images), synthetic.ipc))
        metrics = collect_metrics(context, data, evaluations, representation, classifiers)
        write_json(folder.metrics, metrics)
        write_atomically(folder.card, dataset_card(metrics, describe(context.settings, data)))
        progress()
