"""metrics.json, the documented contract: every figure of a finished run, accuracies in percent.

One model for both sides: the worker fills it in and writes it whole; a reader, who may be given a file of another
program or a damaged one, keeps what is sound of it and is told what is not.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from engine.run.errors import Fault
from engine.run.events import Evaluated, finite
from engine.run.folder import RunFolder

MetricsJson = dict[str, Any]
"""metrics.json as JSON gives it."""

GROUPS = ("many", "medium", "few")
Percent = Annotated[float, Field(ge=0, le=100)]
Seconds = Annotated[float, Field(ge=0, le=1e10)]
Count = Annotated[int, Field(ge=0, le=10**9)]

# Strict: what stands in quotes is no number. Reads keep to it; the worker's own figures are not checked at all, so
# that no rounding error can cost a finished run its result.


class Accuracy(BaseModel, strict=True):
    """Mean and sample standard deviation over networks; None where the figure was not finite."""

    accuracy_mean: Percent | None = None
    accuracy_std: Percent | None = None


class Figures(Accuracy):
    """One set under the recipe: over `repeats` networks, per class and group, and its iteration where it has one."""

    repeats: Count | None = None
    per_class: list[Percent | None]
    groups: dict[str, Percent | None]
    iteration: Count | None = None

    @model_serializer(mode="wrap")
    def _without_missing_iteration(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        figures: dict[str, Any] = handler(self)
        if self.iteration is None:
            del figures["iteration"]
        return figures


class Published(BaseModel, strict=True):
    """What a publication reports for the run's cell."""

    accuracy: Percent
    source: str
    note: str | None = None


class Estimated(BaseModel, strict=True):
    """The estimate from before the run began, of which readers look at the seconds by stage."""

    stage_seconds: dict[str, Seconds] | None = None


class Metrics(BaseModel, strict=True):
    """All of metrics.json, in the order of the file. What a reader finds missing or unsound is None or empty."""

    schema_version: Any = Field(1, alias="schema")
    method: Any = None
    dataset: Any = None
    imbalance_factor: Any = None
    ipc: Any = None
    class_counts: list[Count] | None = None
    class_names: list[str] | None = None
    grouping: Any = None
    test_set: Any = None
    repeats: Count | None = None
    arch: Any = None
    seed: Any = None
    settings_hash: Any = None
    final: Figures | None = None
    best: Figures | None = None
    random: Figures | None = None
    initialization: Figures | None = None
    experts: dict[str, Figures | None] | None = None
    architectures: dict[str, Figures | None] | None = None
    expected: Published | None = None
    stage_seconds: dict[str, Seconds] | None = None
    estimated: Estimated | None = None
    memory_gib: Any = None
    device: Any = None
    versions: Any = None

    def for_file(self) -> MetricsJson:
        """As it is written: null for every number that is not finite."""
        # No warnings: `estimated` is written as the manifest has it, with all its keys.
        plain: MetricsJson = finite(self.model_dump(by_alias=True, warnings=False))
        return plain


def evaluation_figures(result: Evaluated) -> Figures:
    """The figures of one evaluated set."""
    return Figures.model_construct(**{name: getattr(result, name) for name in Figures.model_fields})


def expert_figures(accuracies: Sequence[float], per_class: Sequence[Sequence[float]], groups: Sequence[str]) -> Figures:
    """The same of one or more experts, each with its accuracy and that of each class; `groups` of the classes."""
    means: list[float | None] = [statistics.fmean(column) for column in zip(*per_class, strict=False)]
    return Figures.model_construct(
        accuracy_mean=statistics.fmean(accuracies),
        accuracy_std=sample_std(accuracies),
        repeats=len(accuracies),
        per_class=means,
        groups=group_means(means, groups),
    )


def sample_std(values: Sequence[float]) -> float:
    """The sample standard deviation, 0 of a single value, NaN where one of several is not finite."""
    if len(values) < 2:
        return 0.0
    # `statistics.stdev` of Python 3.11 raises AttributeError for NaN and infinity.
    return statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan


def group_means(per_class: Sequence[float | None], groups: Sequence[str]) -> dict[str, float | None]:
    """Mean of the many, medium and few-shot classes, over the values that are known; None for a group without any."""
    means: dict[str, float | None] = {}
    for name in GROUPS:
        # A list of another program may be shorter than the other one.
        own = [value for value, group in zip(per_class, groups, strict=False) if group == name and value is not None]
        means[name] = sum(own) / len(own) if own else None
    return means


def readable_metrics(folder: RunFolder) -> MetricsJson:
    """What metrics.json of a finished run holds; empty where there is none, or one without a final accuracy."""
    # A ValidationError is a ValueError too; the file may hold a list, or no final figures.
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        metrics: MetricsJson = json.loads(folder.metrics.read_text())
        Accuracy.model_validate(metrics["final"])
        return metrics
    return {}


def sound_metrics(metrics: Mapping[str, Any]) -> tuple[Metrics, list[Fault]]:
    """All that is sound of what metrics.json holds, and what is wrong with the rest; never raises."""
    rest = copy.deepcopy(dict(metrics))
    faults: list[Fault] = []
    while True:
        try:
            return Metrics.model_validate(rest), faults
        except ValidationError as error:
            problem = error.errors()[0]
            path = problem["loc"]
            kind, said = problem["type"], problem["msg"]
            what = "this is no mapping" if kind in ("model_type", "dict_type") else said[0].lower() + said[1:]
            faults.append(Fault(what, f"metrics.json: {'.'.join(map(str, path))}"))
            # Left out is the figure set or list that it stands in, and nothing beside that.
            holder: Any = rest
            if path[0] in ("experts", "architectures", "estimated") and len(path) > 1:
                holder = rest[path[0]]
                path = path[1:]
            del holder[path[0]]
