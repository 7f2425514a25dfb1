"""metrics.json, the documented contract: every figure of a finished run, accuracies in percent.

One model for both sides: the worker fills it in and writes it whole; a reader, who may be given a file of another
program or a damaged one, keeps what is sound of it and is told what is not.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, TypeAdapter, ValidationError, model_serializer
from pydantic_core import ErrorDetails

from engine.run.errors import Fault
from engine.run.events import Evaluated, finite
from engine.run.fields import LabelRegime, NetworkName
from engine.run.folder import JSON_OBJECT, RunFolder, read_typed

MetricsJson = dict[str, Any]
"""metrics.json as JSON gives it."""

GROUPS = ("many", "medium", "few")
Percent = Annotated[float, Field(ge=0, le=100)]
Seconds = Annotated[float, Field(ge=0, le=1e10)]
Count = Annotated[int, Field(ge=0, le=10**9)]
SECONDS_OF_EACH = TypeAdapter(dict[str, Seconds])
"""What seconds.json holds of stages, and training_seconds.json of evaluations."""
CHECKS = TypeAdapter(dict[Annotated[str, Field(pattern="^[0-9]{1,9}$")], Percent])
"""What checks.json holds: the accuracy of each check, by iteration."""

# Strict: what stands in quotes is no number. Reads keep to it; the worker's own figures are not checked at all, so
# that no rounding error can cost a finished run its result.


class Accuracy(BaseModel, strict=True):
    """Mean and sample standard deviation over networks; None where the figure was not finite."""

    accuracy_mean: Percent | None = None
    accuracy_std: Percent | None = None


class Figures(Accuracy):
    """One set under the recipe: over `repeats` networks, per class and group, and its iteration where it has one.

    `per_class` is None for a class without test images; `per_class_intervals` are those of classes that have very few.
    `teacher_labels`: of real images, whose stored labels were the teacher's, not their classes. `confidence`: the mean
    probability that test images of a class give that class, where it was measured. `diverged`: how many of the networks
    ended with weights that are not finite, where there are any: the accuracy is none of the set.
    """

    repeats: Count | None = None
    per_class: list[Percent | None]
    groups: dict[str, Percent | None]
    iteration: Count | None = None
    per_class_intervals: list[list[Percent] | None] | None = None
    teacher_labels: bool | None = None
    confidence: list[Percent | None] | None = None
    diverged: Count | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_missing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        figures: dict[str, Any] = handler(self)
        for name in ("iteration", "per_class_intervals", "teacher_labels", "confidence", "diverged"):
            if figures[name] is None or figures[name] is False or figures[name] == []:
                del figures[name]
        return figures


class TeacherFigures(Figures):
    """The accuracies of the teacher's networks, each by itself; `kind`: how they were trained.

    mean_logits: those of their mean logits, which label images, less `tau` times the logarithm of the class shares.
    """

    kind: str | None = None
    mean_logits: Figures | None = None
    tau: Annotated[float, Field(ge=-100, le=100)] | None = None


class RegimeFigures(BaseModel, strict=True):
    """Sets that were trained on in one label regime; `architectures`: the final set on further networks."""

    random: Figures | None = None
    initialization: Figures | None = None
    final: Figures | None = None
    architectures: dict[str, Figures | None] | None = None


class StoredBytes(BaseModel, strict=True):
    """What has to be kept to train on the set, in bytes without compression: each part under its type.

    images: whitened floats as in distilled.safetensors, or pixels of 8 bits. labels: the soft labels, 0 where there are
    none: the class is the place in the set. teacher: the weights of all its networks, None without a teacher.
    whitening: what test images go through, and pixels of 8 bits or mini-images before networks see them. Hard labels
    need images and whitening alone, stored ones the labels, online ones the teacher as well. set_file: the size of
    distilled.safetensors; all_images: of the train images, without those for validation, as files or as
    pixels of 8 bits.
    """

    images_float32: Count | None = None
    images_uint8: Count | None = None
    labels_float32: Count | None = None
    teacher_float32: Count | None = None
    whitening_float32: Count | None = None
    set_file: Count | None = None
    all_images: Count | None = None


class ValidationFigures(BaseModel, strict=True):
    """What a run chose by validation images, of which a class has `counts`; those of `stand_ins` are its train images.

    starts: the sets it might have started from, of which it took `start`. best: the best set on the way, of iteration
    `best_iteration`. chosen: the iteration of the final set, 0 for the start. stepped_down: the iterations at which
    matching lowered its rates; stopped_at: where it ended early.
    """

    counts: list[Count] | None = None
    stand_ins: list[str] | None = None
    start: str | None = None
    starts: dict[str, Accuracy] | None = None
    best: Accuracy | None = None
    best_iteration: Count | None = None
    chosen: Count | None = None
    stepped_down: list[Count] | None = None
    stopped_at: Count | None = None


class VerdictFigures(BaseModel, strict=True):
    """What a person should use, in a sentence, with its numbers (engine/results/verdict.py)."""

    use: str
    sentence: str
    points: dict[str, float] = {}
    figures: dict[str, float | None] = {}


class Published(BaseModel, strict=True):
    """What a publication reports for the run's cell."""

    accuracy: Percent
    source: str
    note: str | None = None


class Estimated(BaseModel, strict=True, extra="allow"):
    """The estimate from before the run began, as the manifest has it: seconds by stage and of checks, and more."""

    stage_seconds: dict[str, Seconds] = {}
    check_seconds: Seconds = 0.0

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        known: dict[str, Any] = handler(self)
        return {name: known[name] for name in known if name in self.model_fields_set}


class Metrics(BaseModel, strict=True):
    """All of metrics.json, in the order of the file. What a reader finds missing or unsound is None or empty.

    final, best, random, initialization and architectures are of the label regime `labels`; older files, which do not
    name one, are of `stored`. `training_seconds`: of a network of each of these in that regime, and of each selection
    and bound. `recovered`: iterations at which matching diverged, and went back with all its rates halved.
    """

    schema_version: int = Field(1, alias="schema")
    method: str | None = None
    dataset: str | None = None
    imbalance_factor: float | str | None = None
    ipc: Count | None = None
    class_counts: list[Count] | None = None
    test_counts: list[Count] | None = None
    class_names: list[str] | None = None
    grouping: str | None = None
    test_set: str | None = None
    repeats: Count | None = None
    arch: NetworkName | None = None
    seed: int | None = None
    settings_hash: str | None = None
    final: Figures | None = None
    best: Figures | None = None
    random: Figures | None = None
    initialization: Figures | None = None
    experts: dict[str, Figures | None] | None = None
    architectures: dict[str, Figures | None] | None = None
    labels: LabelRegime | None = None
    regimes: dict[str, RegimeFigures] | None = None
    teacher: TeacherFigures | None = None
    stored_bytes: StoredBytes | None = None
    bounds: dict[str, Figures | None] | None = None
    selections: dict[str, Figures | None] | None = None
    training_seconds: dict[str, Seconds | None] | None = None
    validation: ValidationFigures | None = None
    recovered: list[Count] | None = None
    verdict: VerdictFigures | None = None
    expected: Published | None = None
    stage_seconds: dict[str, Seconds] | None = None
    estimated: Estimated | None = None
    memory_gib: float | None = None
    device: dict[str, Any] | None = None
    versions: dict[str, str] | None = None

    def for_file(self) -> MetricsJson:
        """As it is written: null for every number that is not finite."""
        # No warnings: `estimated` is written as the manifest has it, with all its keys.
        plain: MetricsJson = finite(self.model_dump(by_alias=True, warnings=False))
        return plain


def evaluation_figures(result: Evaluated, test_counts: Sequence[int]) -> Figures:
    """The figures of one evaluated set; `test_counts` are the test images of each class."""
    fields = {name: getattr(result, name) for name in Figures.model_fields if name != "per_class_intervals"}
    fields["diverged"] = result.diverged or None
    return Figures.model_construct(**fields, per_class_intervals=_intervals_or_none(result.per_class, test_counts))


def diverged_text(figures: Evaluated | Figures) -> str:
    """` (2 of 5 networks diverged)`, to stand behind what was evaluated; empty where none did."""
    return f" ({figures.diverged} of {figures.repeats} networks diverged)" if figures.diverged else ""


def expert_figures(
    accuracies: Sequence[float],
    per_class: Sequence[Sequence[float | None]],
    groups: Sequence[str],
    test_counts: Sequence[int],
) -> Figures:
    """The same of one or more experts, each with its accuracy and that of each class; `groups` of the classes."""
    columns = zip(*per_class, strict=False)
    means = [_known(statistics.fmean(math.nan if value is None else value for value in column)) for column in columns]
    return Figures.model_construct(
        accuracy_mean=statistics.fmean(accuracies),
        accuracy_std=sample_std(accuracies),
        repeats=len(accuracies),
        per_class=means,
        groups=group_means(means, groups),
        per_class_intervals=_intervals_or_none(means, test_counts),
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
        members = [_known(value) for value, group in zip(per_class, groups, strict=False) if group == name]
        own = [value for value in members if value is not None]
        means[name] = sum(own) / len(own) if own else None
    return means


def _known(value: float | None) -> float | None:
    """The value; None instead of NaN, the accuracy of a class without test images."""
    return None if value is None or math.isnan(value) else value


# ---------------------------------------------------------------------------------------------------------------------
# How far an accuracy on very few test images can be trusted

FEW_TEST_IMAGES = 10
"""A class with fewer test images than this has an interval beside its accuracy."""
Z_95 = statistics.NormalDist().inv_cdf(0.975)


def wilson_interval(accuracy: float, images: int) -> list[float]:
    """The 95 % score interval of an accuracy on so many images, both in percent (E. B. Wilson, JASA 22, 1927, 209-212).

    (p + z^2/2n -+ z sqrt(p (1 - p) / n + z^2/4n^2)) / (1 + z^2/n). Unlike p -+ z sqrt(p (1 - p) / n) it has a width at
    0 and 100 percent too, and never leaves that range.
    """
    share, per_image = accuracy / 100, Z_95**2 / images
    half = Z_95 * math.sqrt((share * (1 - share) + per_image / 4) / images)
    ends = ((share + per_image / 2 + sign * half) / (1 + per_image) for sign in (-1, 1))
    return [100 * min(max(end, 0.0), 1.0) for end in ends]


def sampling_error(per_class: Sequence[float | None], counts: Sequence[int], below: float = math.inf) -> float:
    """The standard error, in points, of a mean over classes that comes of testing on so few images; binomial.

    per_class: accuracies in percent. counts: test images of each class; those of `below` or more are taken as certain.
    """
    shares = [(0.0 if value is None else value / 100, n) for value, n in zip(per_class, counts, strict=True)]
    # Laplace's rule of succession: of three hits in three a class is not known to be always right.
    few = [((share * n + 1) / (n + 2), n) for share, n in shares if 0 < n < below]
    return 100 * math.sqrt(sum(share * (1 - share) / n for share, n in few)) / len(shares)


def class_intervals(per_class: Sequence[float | None], test_counts: Sequence[int]) -> list[list[float] | None]:
    """For each class with fewer than FEW_TEST_IMAGES test images the interval of its accuracy, None for the others."""
    # n is the number of test images, however many networks an accuracy is the mean of: all networks are tested on the
    # same images, so more of them tell nothing of the other images that the class could have been tested on.
    known = test_counts if len(test_counts) == len(per_class) else [FEW_TEST_IMAGES] * len(per_class)
    return [
        # A file of another program may hold any number.
        wilson_interval(accuracy, images)
        if accuracy is not None and 0 <= accuracy <= 100 and 0 < images < FEW_TEST_IMAGES
        else None
        for accuracy, images in zip(map(_known, per_class), known, strict=True)
    ]


def interval_text(interval: Sequence[float]) -> str:
    """An interval in whole percent, outwards: `20-100`."""
    return f"{math.floor(interval[0])}-{math.ceil(interval[1])}"


def _intervals_or_none(
    per_class: Sequence[float | None], test_counts: Sequence[int]
) -> list[list[float] | None] | None:
    intervals = class_intervals(per_class, test_counts)
    return intervals if any(intervals) else None


# ---------------------------------------------------------------------------------------------------------------------
# Reading


def readable_metrics(folder: RunFolder) -> MetricsJson:
    """What metrics.json of a finished run holds; empty where there is none, or one without a final accuracy."""
    metrics = read_typed(folder.metrics, JSON_OBJECT) or {}
    try:
        Accuracy.model_validate(metrics.get("final"))
    except ValidationError:
        return {}
    return metrics


NEEDED = ("final", "best", "random", "initialization", "experts", "architectures", "class_counts", "arch")
"""What every version wrote, and what further evaluations of a run and its card need."""


def whole_metrics(folder: RunFolder) -> tuple[MetricsJson, list[Fault]]:
    """metrics.json for who goes on with a finished run: empty, with what is wrong, where any of it is damaged."""
    metrics = readable_metrics(folder)
    if not metrics:
        return {}, [Fault("it holds no final figures", "metrics.json")]
    sound, faults = sound_metrics(metrics)
    faults += [Fault("it is missing", f"metrics.json: {name}") for name in NEEDED if name not in metrics]
    if sound.final and sound.final.iteration is None:
        faults.append(Fault("it is missing", "metrics.json: final.iteration"))
    counts: list[tuple[str, Sequence[Any] | None]]
    counts = [("class_counts", sound.class_counts), ("test_counts", sound.test_counts)]
    lists = [*counts, ("final.per_class", sound.final.per_class if sound.final else None)]
    classes = len(sound.class_counts or [])
    faults += [
        Fault(f"it has not {classes} entries, one for each class", f"metrics.json: {name}")
        for name, own in lists
        if own is not None and len(own) != classes
    ]
    # An older version did not write all of it.
    return ({}, faults) if faults else (dict.fromkeys(field.alias or name for name, field in _FIELDS) | metrics, [])


_FIELDS = Metrics.model_fields.items()
HOLDERS = ("experts", "architectures", "regimes", "bounds", "selections", "estimated")
"""Of what these hold, only the figures that are wrong are left out."""


def sound_metrics(metrics: Mapping[str, Any]) -> tuple[Metrics, list[Fault]]:
    """All that is sound of what metrics.json holds, and what is wrong with the rest; never raises."""
    rest: dict[str, Any] = dict(metrics)
    faults: list[Fault] = []
    while True:
        try:
            return Metrics.model_validate(rest), faults
        except ValidationError as error:
            # Left out is the figure set or list that a problem stands in, and nothing beside that.
            problems = {_left_out(problem["loc"]): problem for problem in reversed(error.errors(include_url=False))}
            for path, problem in reversed(problems.items()):
                faults.append(_fault(problem))
                if len(path) > 1:
                    rest[str(path[0])] = {key: own for key, own in rest[str(path[0])].items() if key != path[1]}
                else:
                    del rest[str(path[0])]


def _left_out(path: tuple[int | str, ...]) -> tuple[int | str, ...]:
    return path[:2] if path[0] in HOLDERS else path[:1]


def _fault(problem: ErrorDetails) -> Fault:
    kind, said = problem["type"], problem["msg"]
    what = "this is no mapping" if kind in ("model_type", "dict_type") else said[0].lower() + said[1:]
    return Fault(what, f"metrics.json: {'.'.join(map(str, problem['loc']))}")
