"""Fills in metrics.json (its fields: `engine.run.metrics`) from a finished run, and adds later evaluations to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.context import Context
from engine.data.dataset import LongTailedData
from engine.device import peak_memory_gib
from engine.manifest import device_name, versions
from engine.run.events import Evaluated, finite
from engine.run.folder import read_json
from engine.run.metrics import Figures, Metrics, MetricsJson, Published, evaluation_figures, expert_figures
from engine.run.settings import settings_hash
from engine.training.accuracy import balanced
from engine.trajectories import Trajectory


def collect_metrics(
    context: Context,
    data: LongTailedData,
    evaluations: Sequence[Evaluated],
    representation: Sequence[Trajectory],
    classifiers: Sequence[Trajectory],
) -> MetricsJson:
    """All of metrics.json; `evaluations` are random, initialization, final, best, then final on further networks.

    Where nothing was distilled, best is final once more. A figure that does not exist is None.
    """
    settings = context.settings
    random, initialization, final, best, *others = evaluations
    return Metrics.model_construct(
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
        arch=settings.evaluate.arch[0],
        seed=settings.seed,
        settings_hash=settings_hash(settings),
        final=evaluation_figures(final, data.test_counts),
        best=evaluation_figures(best, data.test_counts),
        random=evaluation_figures(random, data.test_counts),
        initialization=evaluation_figures(initialization, data.test_counts),
        experts={"representation": _experts(representation, data), "classifier": _experts(classifiers, data)},
        architectures={result.arch: evaluation_figures(result, data.test_counts) for result in others},
        expected=Published.model_construct(**settings.expected.model_dump()) if settings.expected else None,
        stage_seconds=dict(context.clock.seconds),
        estimated=(read_json(context.folder.manifest) or {}).get("estimate"),
        memory_gib=peak_memory_gib(context.device),
        device={"type": str(context.device), "name": device_name(context.device)},
        versions=versions(),
    ).for_file()


def _experts(experts: Sequence[Trajectory], data: LongTailedData) -> Figures | None:
    """The figures of experts, which saw the whole long-tailed set; None where the method has none."""
    if not experts:
        return None
    per_class = [expert.per_class.tolist() for expert in experts]
    return expert_figures([balanced(expert.per_class) for expert in experts], per_class, data.groups, data.test_counts)


def with_evaluation(metrics: MetricsJson, result: Evaluated, test_counts: list[int]) -> MetricsJson:
    """The metrics with one more evaluation of the final set; of two on one network the one over more stays."""
    metrics = metrics | {"test_counts": test_counts}  # which an older version did not write
    figures = finite(evaluation_figures(result, test_counts).model_dump())
    if result.arch == metrics["arch"]:
        return metrics | {"final": _over_more(metrics["final"], figures)}
    known = metrics["architectures"]
    return metrics | {"architectures": known | {result.arch: _over_more(known.get(result.arch), figures)}}


def _over_more(known: dict[str, Any] | None, figures: dict[str, Any]) -> dict[str, Any]:
    return known if known is not None and known["repeats"] > figures["repeats"] else figures
