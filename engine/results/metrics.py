"""Fills in metrics.json (its fields: `engine.run.metrics`) from a finished run, and adds later evaluations to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.context import Context
from engine.data.dataset import LongTailedData
from engine.device import peak_memory_gib
from engine.manifest import device_name, versions
from engine.results.verdict import verdict
from engine.run.events import BOUND, SELECTION, Evaluated, finite
from engine.run.folder import RunFolder
from engine.run.manifest import read_manifest
from engine.run.metrics import (
    Figures,
    Metrics,
    MetricsJson,
    Published,
    RegimeFigures,
    StoredBytes,
    TeacherFigures,
    ValidationFigures,
    evaluation_figures,
    expert_figures,
)
from engine.run.settings import RunSettings, settings_hash
from engine.teachers import Teacher
from engine.training.accuracy import balanced
from engine.trajectories import Trajectory

FLOAT_BYTES = 4


def collect_metrics(
    context: Context,
    data: LongTailedData,
    evaluations: Sequence[Evaluated],
    representation: Sequence[Trajectory],
    classifiers: Sequence[Trajectory],
    teacher: Teacher | None = None,
    validation: ValidationFigures | None = None,
    recovered: Sequence[int] = (),
) -> MetricsJson:
    """All of metrics.json; `validation`: what was chosen by validation images; `recovered`: as of DistillState.

    `evaluations` are, in the run's first label regime, random, initialization, final, best, then final on further
    networks; and anywhere between them random, initialization and final in other regimes. Where nothing was distilled,
    best is final once more. Bounds are in no regime, selections by themselves. A figure that does not exist is None.
    """
    settings, estimate = context.settings, read_manifest(context.folder).estimate
    labels, arch = settings.evaluate.labels, settings.evaluate.arch[0]
    selections = [event for event in evaluations if event.subject.startswith(SELECTION)]
    of_first = (event for event in evaluations if event.labels == labels[0] and event not in selections)
    random, initialization, final, best, *others = of_first
    by_regime: dict[str, dict[str, Any]] = {
        regime: {
            event.subject: evaluation_figures(event, data.test_counts)
            for event in evaluations
            if event.labels == regime and event.arch == arch and event.subject in RegimeFigures.model_fields
        }
        for regime in labels
    }
    metrics = Metrics.model_construct(
        method=settings.method,
        dataset=settings.dataset.name,
        imbalance_factor=settings.dataset.imbalance_factor,
        ipc=settings.ipc,
        class_counts=data.class_counts,
        test_counts=data.test_counts,
        class_names=data.class_names,
        grouping=data.grouping,
        test_set=data.test_set,
        repeats=settings.evaluate.repeats,
        arch=arch,
        seed=settings.seed,
        settings_hash=settings_hash(settings),
        final=evaluation_figures(final, data.test_counts),
        best=evaluation_figures(best, data.test_counts),
        random=evaluation_figures(random, data.test_counts),
        initialization=evaluation_figures(initialization, data.test_counts),
        experts={"representation": _experts(representation, data), "classifier": _experts(classifiers, data)},
        architectures={result.arch: evaluation_figures(result, data.test_counts) for result in others},
        labels=labels[0],
        regimes={regime: RegimeFigures.model_construct(**figures) for regime, figures in by_regime.items()},
        teacher=teacher_figures(settings, data, teacher),
        stored_bytes=stored_bytes(settings, data, teacher, context.folder),
        bounds={
            event.subject.removeprefix(BOUND): evaluation_figures(event, data.test_counts)
            for event in evaluations
            if event.subject.startswith(BOUND)
        },
        selections={
            event.subject.removeprefix(SELECTION): evaluation_figures(event, data.test_counts) for event in selections
        },
        training_seconds={
            event.subject: event.seconds
            for event in evaluations
            if event.arch == arch and event.labels in ("", labels[0]) and event.seconds
        },
        validation=validation,
        recovered=list(recovered),
        expected=Published.model_construct(**settings.expected.model_dump()) if settings.expected else None,
        stage_seconds=dict(context.clock.seconds),
        estimated=estimate,
        memory_gib=peak_memory_gib(context.device),
        device={"type": str(context.device), "name": device_name(context.device)},
        versions=versions(),
    ).for_file()
    return with_verdict(metrics)


def with_verdict(metrics: MetricsJson) -> MetricsJson:
    """The metrics with the verdict that follows from them."""
    found = verdict(metrics)
    return metrics | {"verdict": found and finite(found.model_dump())}


def _experts(experts: Sequence[Trajectory], data: LongTailedData) -> Figures | None:
    """The figures of experts, which saw the whole long-tailed set; None where the method has none."""
    if not experts:
        return None
    per_class = [expert.per_class.tolist() for expert in experts]
    return expert_figures([balanced(expert.per_class) for expert in experts], per_class, data.groups, data.test_counts)


def teacher_figures(settings: RunSettings, data: LongTailedData, teacher: Teacher | None) -> TeacherFigures | None:
    """The figures of the teacher's networks; None without a teacher."""
    if teacher is None:
        return None
    per_class = [accuracies.tolist() for accuracies in teacher.per_class]
    accuracies = [balanced(own) for own in teacher.per_class]
    figures = expert_figures(accuracies, per_class, data.groups, data.test_counts)
    mean, mean_logits = teacher.mean_per_class, None
    if mean is not None:
        mean_logits = expert_figures([balanced(mean)], [mean.tolist()], data.groups, data.test_counts)
    kind, tau = settings.teacher.kind, teacher.tau
    return TeacherFigures.model_construct(**vars(figures), kind=kind, mean_logits=mean_logits, tau=tau)


def stored_bytes(
    settings: RunSettings, data: LongTailedData, teacher: Teacher | None, folder: RunFolder | None = None
) -> StoredBytes:
    """What has to be kept to train on a set of these settings in each label regime; `folder` holds the set's file."""
    images = settings.ipc * data.num_classes
    pixels = images * data.channels * data.image_size**2
    return StoredBytes.model_construct(
        images_float32=FLOAT_BYTES * pixels,
        images_uint8=pixels,
        labels_float32=FLOAT_BYTES * settings.images_per_class * data.num_classes**2 if settings.has_soft_labels else 0,
        teacher_float32=FLOAT_BYTES * sum(theta.numel() for theta in teacher.weights) if teacher else None,
        whitening_float32=FLOAT_BYTES * sum(tensor.numel() for tensor in data.whitening.test_map().values()),
        set_file=folder.distilled.stat().st_size if folder and folder.distilled.exists() else None,
        all_images=data.train_bytes,
    )


def with_evaluation(metrics: MetricsJson, result: Evaluated, test_counts: list[int]) -> MetricsJson:
    """The metrics with one more evaluation, of random, initialization or final; of two on one network the one over more
    stays."""
    metrics = metrics | {"test_counts": test_counts}  # which an older version did not write
    figures = finite(evaluation_figures(result, test_counts).model_dump())
    first = metrics.get("labels") or "stored"
    own = {name: metrics[name] for name in ("random", "initialization", "final")}
    regimes = metrics.get("regimes") or {first: RegimeFigures().model_dump() | own}
    of_regime = regimes.get(result.labels) or RegimeFigures().model_dump()
    in_first, on_first = result.labels == first, result.arch == metrics["arch"]
    if not on_first:
        holder = metrics if in_first else of_regime
        known = holder.get("architectures") or {}
        holder = holder | {"architectures": known | {result.arch: _over_more(known.get(result.arch), figures)}}
        if in_first:
            return holder
        return metrics | {"labels": first, "regimes": regimes | {result.labels: holder}}
    more = {result.subject: _over_more(of_regime.get(result.subject), figures)}
    metrics = metrics | {"labels": first, "regimes": regimes | {result.labels: of_regime | more}}
    return metrics | more if in_first else metrics


def _over_more(known: dict[str, Any] | None, figures: dict[str, Any]) -> dict[str, Any]:
    return known if known is not None and known["repeats"] > figures["repeats"] else figures
