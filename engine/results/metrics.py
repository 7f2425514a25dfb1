"""metrics.json, the documented contract: every figure of a run, accuracies in percent."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from typing import Any

from engine.context import Context
from engine.data.dataset import LongTailedData
from engine.device import read_device
from engine.manifest import device_name, versions
from engine.run.errors import InputError
from engine.run.events import Evaluated, finite
from engine.run.folder import RunFolder, read_json
from engine.run.settings import settings_hash
from engine.training.accuracy import balanced, group_accuracy
from engine.trajectories import Trajectory

SCHEMA = 1
Metrics = dict[str, Any]


def collect_metrics(
    context: Context,
    data: LongTailedData,
    evaluations: Sequence[Evaluated],
    representation: Sequence[Trajectory],
    classifiers: Sequence[Trajectory],
) -> Metrics:
    """All of metrics.json; `evaluations` are random, initialization, final, best, then final on further networks.

    Where nothing was distilled, best is final once more. A figure that does not exist is None.
    """
    settings = context.settings
    random, initialization, final, best, *others = evaluations
    metrics = {
        "schema": SCHEMA,
        "method": settings.method,
        "dataset": settings.dataset.name,
        "imbalance_factor": settings.dataset.imbalance_factor,
        "ipc": settings.ipc,
        "class_counts": data.class_counts,
        "class_names": data.class_names,
        "grouping": data.grouping,
        "repeats": settings.evaluate.repeats,
        "arch": settings.evaluate.arch[0],
        "seed": settings.seed,
        "settings_hash": settings_hash(settings),
        "final": evaluation_figures(final),
        "best": evaluation_figures(best),
        "random": evaluation_figures(random),
        "initialization": evaluation_figures(initialization),
        "experts": {
            "representation": expert_figures(representation, data),
            "classifier": expert_figures(classifiers, data),
        },
        "architectures": {result.arch: evaluation_figures(result) for result in others},
        "expected": settings.expected and settings.expected.model_dump(),
        "stage_seconds": dict(context.clock.seconds),
        "estimated": (read_json(context.folder.manifest) or {}).get("estimate"),
        "memory_gib": read_device(context.device).memory_gib,
        "device": {"type": str(context.device), "name": device_name(context.device)},
        "versions": versions(),
    }
    plain: Metrics = finite(metrics)
    return plain


def evaluation_figures(result: Evaluated) -> Metrics:
    """One evaluated set: mean, sample std and number of networks, per class and group, and its iteration if any."""
    figures = {
        "accuracy_mean": result.accuracy_mean,
        "accuracy_std": result.accuracy_std,
        "repeats": result.repeats,
        "per_class": result.per_class,
        "groups": result.groups,
    }
    return figures if result.iteration is None else figures | {"iteration": result.iteration}


def expert_figures(experts: Sequence[Trajectory], data: LongTailedData) -> Metrics | None:
    """The same of experts, which saw the whole long-tailed set; None where the method has none."""
    if not experts:
        return None
    accuracies = [balanced(expert.per_class) for expert in experts]
    per_class = [
        statistics.fmean(column) for column in zip(*(expert.per_class.tolist() for expert in experts), strict=True)
    ]
    return {
        "accuracy_mean": statistics.fmean(accuracies),
        "accuracy_std": statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0,
        "repeats": len(accuracies),
        "per_class": per_class,
        "groups": group_accuracy(per_class, data.groups),
    }


def with_evaluation(metrics: Metrics, result: Evaluated) -> Metrics:
    """The metrics with one more evaluation of the final set; of two on one network the one over more stays."""
    figures = finite(evaluation_figures(result))
    if result.arch == metrics["arch"]:
        return metrics | {"final": _over_more(metrics["final"], figures)}
    known = metrics["architectures"]
    return metrics | {"architectures": known | {result.arch: _over_more(known.get(result.arch), figures)}}


def read_metrics(folder: RunFolder) -> Metrics:
    """The metrics of a finished run; raises InputError where there are none."""
    try:
        metrics: Metrics = json.loads(folder.metrics.read_text())
    except FileNotFoundError:
        raise InputError(
            "the run has no result yet", str(folder.root), f"`ltdd-tui resume {folder.name}` finishes it"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(
            f"the metrics cannot be read: {error}",
            str(folder.metrics),
            f"`ltdd-tui resume {folder.name}` writes them anew",
        ) from None
    return metrics


def _over_more(known: Metrics | None, figures: Metrics) -> Metrics:
    return known if known is not None and known["repeats"] > figures["repeats"] else figures
