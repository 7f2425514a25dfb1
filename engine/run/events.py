"""The events of a run: one frozen dataclass for each, and how they are written to and read from events.jsonl.

One line is `{"v": 1, "seq": n, "t": seconds since 1970, "type": "matching_step", ...fields}`. Accuracies are percent.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema

from engine.run.checksums import parsed_line

VERSION = 1
# Past the year 5000: a larger time is damage, and the calendar functions of Python cannot show it.
LATEST_SECONDS = 1e11


class _OrNull:
    """Lets a number be read as None: JSON has no NaN or infinity, so `encode` writes null for those."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.nullable_schema(handler(source))


# Strict, because pydantic would turn the text "3" into 3 and true into 1: such a line is not from this program.
# The dataclasses are Python's own: constructing one checks nothing and stays fast; only reading a file checks.
# Beyond 2^53 a whole number is no exact float any more, and curves are drawn with floats.
Integer = Annotated[int, Field(strict=True, ge=-(2**53), le=2**53)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False), _OrNull]
Text = Annotated[str, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
ExpertKind = Literal["representation", "classifier", "teacher"]


class Event:
    """Something that happened in a run; its docstring is what docs/events.md says of it."""


@dataclass(frozen=True)
class RunStarted(Event):
    """A worker begins; `resumed` says whether it continues from a checkpoint. `estimated_seconds` is what each stage of
    the whole run should take, with checks counted where they are made: in `distill`. `labels` are the label regimes
    that it evaluates in; the checks, best and final figures are those of the first."""

    name: Text
    method: Text
    dataset: Text
    imbalance_factor: Number | Text
    ipc: Integer
    seed: Integer
    arch: Text
    device: Text
    stages: list[Text]
    iterations: Integer
    settings_hash: Text
    pid: Integer
    resumed: Flag = False
    estimated_seconds: dict[Text, Number] = field(default_factory=dict)
    labels: list[Text] = field(default_factory=lambda: ["stored"])


@dataclass(frozen=True)
class Queued(Event):
    """A worker waits until no worker is at work on the runs `behind`, by their names, and begins then."""

    behind: list[Text]


@dataclass(frozen=True)
class DataReady(Event):
    """The long-tailed images are in memory; `groups` is many, medium or few for each class, by `grouping`.

    `class_counts` are train images, `test_counts` test images of each class; older versions did not write the latter.
    `validation_counts` are the images of each class by which choices are made; of the classes `stand_ins` (their
    numbers) these are their own train images, as they could spare none. Both empty where nothing is chosen.
    """

    class_names: list[Text]
    class_counts: list[Integer]
    groups: list[Text]
    grouping: Text
    test_images: Integer
    compression_ratio: Number
    test_counts: list[Integer] = field(default_factory=list)
    validation_counts: list[Integer] = field(default_factory=list)
    stand_ins: list[Integer] = field(default_factory=list)


@dataclass(frozen=True)
class StageStarted(Event):
    """A stage begins, with `total` units of work: experts, iterations or networks."""

    stage: Text
    total: Integer
    unit: Text


@dataclass(frozen=True)
class StageProgress(Event):
    """`done` of `total` units of a stage; a fraction if a unit takes long."""

    stage: Text
    done: Number
    total: Integer


@dataclass(frozen=True)
class StageDone(Event):
    """A stage ended after `seconds` of work, summed over interruptions."""

    stage: Text
    seconds: Number


@dataclass(frozen=True)
class ExpertEpoch(Event):
    """One epoch of one expert, or of one network of the teacher, with its mean training loss."""

    kind: ExpertKind
    expert: Integer
    epoch: Integer
    epochs: Integer
    loss: Number


@dataclass(frozen=True)
class ExpertDone(Event):
    """An expert, or a network of the teacher, is ready: its test accuracy per class, the norm of each row of its
    classifier, and its `confidence`: the mean probability that test images of a class give that class, in percent.
    That is empty for a teacher, and for experts of an older version."""

    kind: ExpertKind
    expert: Integer
    cached: Flag
    accuracy: Number
    per_class: list[Number]
    classifier_norms: list[Number]
    confidence: list[Number] = field(default_factory=list)


@dataclass(frozen=True)
class TeacherReady(Event):
    """The teacher is ready: `networks` of `kind`, and the test accuracy of their mean logits, per class."""

    kind: Text
    networks: Integer
    accuracy: Number
    per_class: list[Number]


@dataclass(frozen=True)
class LabelsAdjusted(Event):
    """The teacher's logits are taken less tau * log(class share); with them its test accuracy is `accuracy`.

    `spread` is over classes, of the mean probability that the starting images of a class give that class, in percent;
    `spread_before` is that without the adjustment."""

    tau: Number
    spread: Number
    spread_before: Number
    accuracy: Number
    per_class: list[Number]


@dataclass(frozen=True)
class Initialized(Event):
    """The synthetic set is initialized; no expert classifies `unrecognized_images` of its images correctly."""

    unrecognized_images: Integer


@dataclass(frozen=True)
class MatchingStep(Event):
    """One outer iteration: the two matching losses (of trajectories: 1 if the student came no closer to its target; of
    another method its own loss and null) and beta after it."""

    iteration: Integer
    loss_rep: Number | None
    loss_cls: Number | None
    beta: Number
    seconds: Number


@dataclass(frozen=True)
class Preview(Event):
    """The synthetic images at an iteration: `path` (relative to the run's folder) is a PNG with one row for each class
    and IPC columns; `labels` is a JSON file with the softmax label of each image in the same order."""

    iteration: Integer
    path: Text
    labels: Text
    rows: Integer
    columns: Integer
    image_size: Integer


@dataclass(frozen=True)
class Evaluated(Event):
    """Accuracy of fresh networks trained on one set. `subject`: random, initialization, check, final or best;
    `selection` and a rule: whole real images with the teacher's labels; or `bound` and a loss: networks that were
    trained on all long-tailed images, in no label regime. Where a run chooses by validation images: `start` and a rule,
    or `chosen`.

    `labels`: the label regime in which they were trained, hard, stored or online. `teacher_labels`: random images had
    labels of the run's teacher, stored with each image, instead of their classes. `confidence`: the mean probability
    that test images of a class give that class, in percent; empty of bounds and of an older version. `tested_on`: test,
    or validation: train images set apart, on which `start`, `chosen` and `check` are then judged. `seconds`: to train a
    network, their mean; null where it is not known. `diverged`: networks that ended with weights not finite."""

    subject: Text
    iteration: Integer | None
    arch: Text
    repeats: Integer
    accuracy_mean: Number
    accuracy_std: Number
    per_class: list[Number]
    groups: dict[Text, Number | None]
    classifier_norms: list[Number]
    labels: Text = "stored"
    teacher_labels: Flag = False
    confidence: list[Number] = field(default_factory=list)
    tested_on: Text = "test"
    seconds: Number | None = field(default=None, compare=False)
    diverged: Integer = 0


@dataclass(frozen=True)
class Chosen(Event):
    """A choice by the validation images, and why. `of`: `start`; `rates`, when matching goes back to its best set and
    lowers them; `stop`, when it ends early; or `set`, that of the end. `chosen`: a rule, or an iteration in words."""

    of: Text
    chosen: Text
    why: Text
    iteration: Integer = 0


@dataclass(frozen=True)
class Recovered(Event):
    """Matching diverged at an iteration, as `what` tells, and goes on from `back_to` with all rates times `rates`."""

    iteration: Integer
    back_to: Integer
    what: Text
    rates: Number


@dataclass(frozen=True)
class Verdict(Event):
    """What a person should use, and how that compares: `use` is distilled, start, selection, random, everything,
    selected, imported, undecided where test images are too few, or diverged where networks of the set did; `points` is
    the accuracy of each, in percent; `figures` are the other numbers, null where they are not known. `rows` is the
    table behind it, titles first: what is trained on, accuracy, seconds of a network, bytes."""

    use: Text
    sentence: Text
    points: dict[Text, Number] = field(default_factory=dict)
    figures: dict[Text, Number] = field(default_factory=dict)
    rows: list[list[Text]] = field(default_factory=list)


@dataclass(frozen=True)
class Checkpointed(Event):
    """A checkpoint was saved: everything up to `iteration` survives a crash."""

    iteration: Integer


@dataclass(frozen=True)
class DeviceReading(Event):
    """The worker's peak memory on its device so far, and the memory of the device; then what is in use now.

    `cpu_percent` is of one core, as `top` shows it, since the reading before: 800 is eight busy cores. `ram_gib` is
    what the worker holds of `ram_total_gib`, `gpu_percent` the share of time in which the GPU worked, `gpu_memory_gib`
    what all its processes hold. Null where it is not known.
    """

    device: Text
    memory_gib: Number
    memory_total_gib: Number
    cpu_percent: Number | None = None
    ram_gib: Number | None = None
    ram_total_gib: Number | None = None
    gpu_percent: Number | None = None
    gpu_memory_gib: Number | None = None


@dataclass(frozen=True)
class Warned(Event):
    """Something that a person should know, and what can be done about it."""

    message: Text
    hint: Text = ""


@dataclass(frozen=True)
class RunFinished(Event):
    """The run is complete and its result is written."""

    accuracy_mean: Number
    accuracy_std: Number


@dataclass(frozen=True)
class RunStopped(Event):
    """The run was asked to stop and did so at a safe point; or its worker was ended at once, and `stage` is empty."""

    stage: Text


@dataclass(frozen=True)
class RunBroke(Event):
    """The run failed, with the text of the error."""

    what: Text
    where: Text = ""
    hint: Text = ""


BOUND = "bound "
"""What the subject of an evaluated bound begins with; its loss follows."""
SELECTION = "selection "
"""What the subject of evaluated real images begins with that a run might be replaced by; their rule follows."""

Emit = Callable[[Event], None]


def type_name(event_class: type) -> str:
    """The `type` of an event in the file: MatchingStep -> matching_step."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", event_class.__name__).lower()


EVENT_TYPES: dict[str, type] = {type_name(kind): kind for kind in Event.__subclasses__()}


@functools.cache
def _adapter(event_type: str) -> TypeAdapter[Event]:
    """The validator of one type's fields, built when the first such event is read: all take 20 ms at start-up."""
    return TypeAdapter(EVENT_TYPES[event_type])


def encode(event: Event, seq: int, seconds: float) -> str:
    """One line of events.jsonl, without its line end; a number that is not finite becomes null."""
    fields = {key: finite(value) for key, value in vars(event).items()}
    head = {"v": VERSION, "seq": seq, "t": round(seconds, 3), "type": type_name(type(event))}
    return json.dumps(head | fields, separators=(",", ":"), allow_nan=False)


def finite(value: Any) -> Any:
    """The value, with None for each number in it that is NaN or infinite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [finite(item) for item in value]
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return value


@dataclass(frozen=True)
class Stamped:
    """An event as it was read, with its number in the file and its time in seconds since 1970."""

    seq: int
    seconds: float
    event: Event


def decode(line: str) -> Stamped | Warned:
    """The event of a line; a line that is torn, foreign or of an unknown type gives a warning. Never raises."""
    try:
        fields = parsed_line(line)
        adapter = _adapter(fields["type"])
        seq, seconds = int(fields["seq"]), float(fields["t"])
        if not 0 <= seconds < LATEST_SECONDS:
            raise ValueError(seconds)
    except KeyError as error:
        return Warned(f"an event of an unknown kind was skipped: {error!s:.80}", "a newer version may have written it")
    except (ValueError, TypeError, OverflowError, RecursionError):
        return Warned("a line that is no event was skipped", "a crash may have cut it short")
    try:
        # Fields that the class does not have come from another version, and are left out.
        return Stamped(seq, seconds, adapter.validate_python(fields))
    except ValidationError:
        return Warned(f"event {seq} holds values of the wrong kind and was skipped", "another program wrote it")
