"""What can be asked of a finished run: how its set does on other networks, and its set in other forms."""

from __future__ import annotations

from pathlib import Path

import torch

from engine.context import Context
from engine.data.dataset import load_long_tailed
from engine.distilled import DistilledSet
from engine.matching.batches import Synthetic
from engine.nets.known import known_network
from engine.preview import grid_png
from engine.results.card import dataset_card
from engine.results.copies import write_image_folder, write_tensor_trio
from engine.results.metrics import Metrics, read_metrics, with_evaluation
from engine.run.errors import InputError
from engine.run.events import RunFinished
from engine.run.folder import write_atomically, write_json
from engine.stages.evaluate import Subject, evaluate, synthetic_subject


def evaluate_architectures(context: Context, archs: list[str], repeats: int | None = None) -> None:
    """Evaluates the final set on each network and adds the figures to metrics.json and the card, one by one.

    Networks that were trained before are read back. Raises InputError for an unfinished run or an unknown network.
    """
    names = [known_network(name) for name in dict.fromkeys(arch.strip() for arch in archs)]
    repeats = context.settings.evaluate.repeats if repeats is None else repeats
    if repeats < 1:
        raise InputError(f"{repeats} networks cannot be evaluated", "--repeats", "give 1 or more")
    distilled, metrics = _finished(context)
    data = load_long_tailed(context.settings.dataset, context.settings.ipc, context.device, context.emit)
    subject = _final_subject(context, distilled, metrics)
    with context.stage("evaluate", len(names) * repeats, "networks") as progress:
        for name in names:
            metrics = with_evaluation(metrics, evaluate(context, data, subject, name, repeats, progress))
            _write(context, distilled, metrics)
    _write(context, distilled, metrics | {"stage_seconds": dict(context.clock.seconds)})
    context.emit(RunFinished(metrics["final"]["accuracy_mean"], metrics["final"]["accuracy_std"]))


def export_copies(context: Context, images: Path | None, pt: Path | None) -> None:
    """Writes an image folder, the .pt trio, or both; asked for neither, redraws result/grid.png and the card.

    Raises InputError for an unfinished run, or a folder that holds something else.
    """
    distilled, metrics = _finished(context)
    if images is not None:
        write_image_folder(images, distilled)
    if pt is not None:
        write_tensor_trio(pt, distilled)
    if images is None and pt is None:
        write_atomically(context.folder.grid, grid_png(distilled.pixels, distilled.ipc))
        _write(context, distilled, metrics)


def _finished(context: Context) -> tuple[DistilledSet, Metrics]:
    folder = context.folder
    if not folder.distilled.exists():
        raise InputError("the run has no result yet", str(folder.root), f"`ltdd-tui resume {folder.name}` finishes it")
    return DistilledSet.load(folder.distilled, context.device), read_metrics(folder)


def _final_subject(context: Context, distilled: DistilledSet, metrics: Metrics) -> Subject:
    """The set under the name and iteration that it had in the run, so that its networks there are found again."""
    beta = torch.tensor(distilled.learning_rate, device=context.device)
    final = Synthetic(distilled.images, distilled.label_logits, beta)
    return synthetic_subject(context, "final", "set", metrics["final"]["iteration"], final)


def _write(context: Context, distilled: DistilledSet, metrics: Metrics) -> None:
    write_json(context.folder.metrics, metrics)
    write_atomically(context.folder.card, dataset_card(metrics, distilled.about))
