"""The result folder: the set, its figures, a picture of it and its card, each written whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from engine.checkpoints import load_set
from engine.context import Context
from engine.data.dataset import LongTailedData
from engine.distilled import DistilledSet, describe, distilled_bytes, teacher_bytes
from engine.losses import target_probabilities
from engine.matching.synthetic import Synthetic, as_kept
from engine.results.files import (
    grid_png,
    read_result,
    write_confusion,
    write_image_folder,
    write_metrics_and_card,
    write_tensor_trio,
)
from engine.results.metrics import collect_metrics
from engine.results.verdict import comparison_rows
from engine.run.errors import InputError, RunFailed
from engine.run.events import Evaluated, Verdict
from engine.run.folder import write_atomically
from engine.run.metrics import MetricsJson, ValidationFigures
from engine.teachers import Teacher
from engine.trajectories import Trajectory


def export(
    context: Context,
    data: LongTailedData,
    synthetic: Synthetic,
    evaluations: Sequence[Evaluated],
    representation: Sequence[Trajectory],
    classifiers: Sequence[Trajectory],
    confusion: list[list[int]] | None = None,
    teacher: Teacher | None = None,
    validation: ValidationFigures | None = None,
    recovered: Sequence[int] = (),
) -> None:
    """Writes result/ with the figures of `evaluations`, which are in the order that `collect_metrics` needs.

    `confusion`: the final set's confusion matrix, where there is one. Emits Verdict.
    """
    folder = context.folder
    with context.stage("export", 1, "report") as progress:
        write_atomically(folder.distilled, distilled_bytes(context.settings, data, synthetic))
        if teacher and "online" in context.settings.evaluate.labels:
            write_atomically(folder.teacher, teacher_bytes(context.settings, data, teacher))
        write_atomically(folder.grid, grid_png(data.whitening.to_pixels(synthetic.images), synthetic.ipc))
        write_confusion(folder, data.class_names, confusion)
        experts = representation, classifiers
        metrics = collect_metrics(context, data, evaluations, *experts, teacher, validation, recovered)
        # metrics.json comes after the set: a run with metrics is taken for finished.
        write_metrics_and_card(folder, metrics, describe(context.settings, data))
        if metrics["verdict"]:
            context.emit(Verdict(**metrics["verdict"], rows=comparison_rows(metrics)))
        progress()


def export_copies(
    context: Context, images: Path | None, pt: Path | None, which: Literal["final", "best"] = "final"
) -> None:
    """Copies a finished run's final or best set into an image folder, the three .pt files, or both.

    Its teacher.safetensors, if it has one, is copied with it. Where neither is asked for, result/grid.png and the card
    are drawn again. Raises InputError for an unfinished run, a best set that is gone, or a folder that holds something
    else.
    """
    distilled, metrics = read_result(context.folder, context.device)
    if which == "best":
        distilled = _best(context, distilled, metrics)
    teacher = context.folder.teacher if context.folder.teacher.exists() else None
    if images is not None:
        write_image_folder(images, distilled, teacher)
    if pt is not None:
        write_tensor_trio(pt, distilled, context.settings.dataset, teacher)
    if images is None and pt is None:
        write_atomically(context.folder.grid, grid_png(distilled.pixels, distilled.ipc))
        write_metrics_and_card(context.folder, metrics, distilled.about)


def _best(context: Context, final: DistilledSet, metrics: MetricsJson) -> DistilledSet:
    """The set of the best check, in the form of the final one."""
    iteration = metrics["best"]["iteration"]
    if iteration == metrics["final"]["iteration"]:
        return replace(final, about=final.about | {"set": "best", "iteration": iteration})
    try:
        best = load_set(context.folder, iteration, context.device)
    except RunFailed as error:
        hint = "the sets of checks lie in the run's checkpoint folder; leave --set out for the final set"
        raise InputError(f"the best set, of iteration {iteration}, is gone", error.faults[0].where, hint) from None
    learnt = context.settings.evaluate.learning_rate == "learnt"
    return replace(
        final,
        images=as_kept(best.images, context.settings.export.images),
        label_logits=best.label_logits,
        soft_labels=target_probabilities(best.label_logits, context.settings.has_soft_labels),
        learning_rate=float(best.beta) if learnt else final.learning_rate,
        about=final.about | {"set": "best", "iteration": iteration},
    )
