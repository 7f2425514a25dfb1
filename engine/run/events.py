"""Every event of a run, one frozen class each, and how it is written to and read from a line of events.jsonl.

A line is `{"v": 1, "seq": n, "t": seconds since 1970, "type": "matching_step", ...fields}`. Accuracies are percent.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

# What JSON may hold for each field of an event, by its annotation: no reader meets a text where a number belongs.


LARGEST = 2**53
# A day three thousand years from now: what lies past it is no time that a calendar knows.
LATEST_SECONDS = 1e11


def as_seconds(value: Any) -> float:
    """A time in seconds since 1970; raises ValueError or TypeError where it can be none."""
    seconds = float(value)
    if not 0 <= seconds < LATEST_SECONDS:
        raise ValueError(seconds)
    return seconds


class FieldTypes:
    """The types of one event class's fields; `names` are the fields."""

    def __init__(self, kind: type) -> None:
        hints = get_type_hints(kind)
        self.names = frozenset(hints)
        self._types = {name: _types(hint) for name, hint in hints.items()}
        # Of the lists and objects among the fields: what their items may be.
        self._items = {
            name: _types(get_args(hint)[-1]) for name, hint in hints.items() if get_origin(hint) in (list, dict)
        }

    def fit(self, fields: dict[str, Any]) -> bool:
        """Whether every value, and every item of a list or object, is of its type."""
        types = self._types
        for name, value in fields.items():
            if not _fits(value, types[name]):
                return False
        for name, items in self._items.items():
            values = fields.get(name, ())
            if not all(_fits(item, items) for item in (values.values() if isinstance(values, dict) else values)):
                return False
        return True


def _fits(value: Any, types: tuple[type, ...]) -> bool:
    """JSON gives exact types: true is no number. One that is not finite, or fits no 64 bits, is not of this program."""
    kind = value.__class__
    if kind is float:
        return float in types and value - value == 0
    return kind in types and (kind is not int or -LARGEST <= value <= LARGEST)


def _types(annotation: Any) -> tuple[type, ...]:
    """For a number also null: so one that is not finite was written."""
    origin = get_origin(annotation)
    if origin in (UnionType, Union):
        return tuple(kind for part in get_args(annotation) for kind in _types(part))
    if origin is Literal:
        return (str,)
    return {float: (int, float, NoneType)}.get(annotation, (origin or annotation,))


VERSION = 1
ExpertKind = Literal["representation", "classifier"]


@dataclass(frozen=True)
class RunStarted:
    """The worker holds the folder and knows what to do; `resumed` where it goes on from a checkpoint."""

    name: str
    method: str
    dataset: str
    imbalance_factor: float | str
    ipc: int
    seed: int
    arch: str
    device: str
    stages: list[str]
    iterations: int
    settings_hash: str
    pid: int
    resumed: bool = False


@dataclass(frozen=True)
class DataReady:
    """The long-tailed images are in memory; `groups` gives each class many, medium or few, `grouping` the rule."""

    class_names: list[str]
    class_counts: list[int]
    groups: list[str]
    grouping: str
    test_images: int
    image_shape: list[int]
    compression_ratio: float


@dataclass(frozen=True)
class StageStarted:
    """A stage begins, with `total` units of work (experts, iterations, networks)."""

    stage: str
    total: int
    unit: str


@dataclass(frozen=True)
class StageProgress:
    """`done` of `total` units; fractions where a unit is long."""

    stage: str
    done: float
    total: int


@dataclass(frozen=True)
class StageDone:
    """A stage ended after `seconds` of work, summed over interruptions."""

    stage: str
    seconds: float


@dataclass(frozen=True)
class ExpertEpoch:
    """One epoch of one expert, with its mean training loss."""

    kind: ExpertKind
    expert: int
    epoch: int
    epochs: int
    loss: float


@dataclass(frozen=True)
class ExpertDone:
    """An expert with its test accuracy per class and the norms of its classifier's rows (the balance picture)."""

    kind: ExpertKind
    expert: int
    cached: bool
    accuracy: float
    per_class: list[float]
    classifier_norms: list[float]


@dataclass(frozen=True)
class Initialized:
    """The synthetic set's start: classes short of images, and images that no expert got right."""

    repeated_classes: list[str]
    unrecognized_images: int


@dataclass(frozen=True)
class MatchingStep:
    """One outer iteration: the two matching losses (1 = the student did not come closer) and beta after it."""

    iteration: int
    loss_rep: float | None
    loss_cls: float | None
    beta: float
    seconds: float


@dataclass(frozen=True)
class Preview:
    """The synthetic images at an iteration: `path` (relative to the run) is a PNG, one row a class, IPC columns;
    `labels` beside it is JSON, softmax label of each image in the same order."""

    iteration: int
    path: str
    labels: str
    rows: int
    columns: int
    image_size: int


@dataclass(frozen=True)
class Evaluated:
    """Fresh networks trained on one set. `subject`: random, initialization, check, final, best or experts."""

    subject: str
    iteration: int | None
    arch: str
    repeats: int
    accuracy_mean: float
    accuracy_std: float
    per_class: list[float]
    groups: dict[str, float | None]
    classifier_norms: list[float]


@dataclass(frozen=True)
class Checkpointed:
    """Everything up to `iteration` survives a crash."""

    iteration: int


@dataclass(frozen=True)
class DeviceReading:
    """The most memory that the worker has used on its device so far, and what the device has."""

    device: str
    memory_gib: float
    memory_total_gib: float


@dataclass(frozen=True)
class Warned:
    """Something a person should know, with what to do about it."""

    message: str
    hint: str = ""


@dataclass(frozen=True)
class RunFinished:
    """The result is written."""

    accuracy_mean: float
    accuracy_std: float


@dataclass(frozen=True)
class RunStopped:
    """Asked to stop, and stopped at a safe point."""

    stage: str


@dataclass(frozen=True)
class RunBroke:
    """The run failed; the same text as the error's."""

    what: str
    where: str = ""
    hint: str = ""


Event = (
    RunStarted
    | DataReady
    | StageStarted
    | StageProgress
    | StageDone
    | ExpertEpoch
    | ExpertDone
    | Initialized
    | MatchingStep
    | Preview
    | Evaluated
    | Checkpointed
    | DeviceReading
    | Warned
    | RunFinished
    | RunStopped
    | RunBroke
)
Emit = Callable[[Event], None]


def type_name(event_class: type) -> str:
    """The name of an event's type in the file: MatchingStep -> matching_step."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", event_class.__name__).lower()


EVENT_TYPES: dict[str, type] = {type_name(kind): kind for kind in Event.__args__}
_TYPES = {kind: FieldTypes(kind) for kind in Event.__args__}


def encode(event: Event, seq: int, seconds: float) -> str:
    """One line of events.jsonl, without its line end; a number that is not finite becomes null."""
    fields = {key: finite(value) for key, value in dataclasses.asdict(event).items()}
    head = {"v": VERSION, "seq": seq, "t": round(seconds, 3), "type": type_name(type(event))}
    return json.dumps(head | fields, separators=(",", ":"), allow_nan=False)


def finite(value: Any) -> Any:
    """The value with None for every number in it that JSON has no name for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [finite(item) for item in value]
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return value


@dataclass(frozen=True)
class Stamped:
    """An event as it was read: its number in the file and its time in seconds since 1970."""

    seq: int
    seconds: float
    event: Event


def decode(line: str) -> Stamped | Warned:
    """The event of a line, or a warning that says why the line is skipped (torn, foreign, unknown); never raises."""
    try:
        fields = json.loads(line)
        kind = EVENT_TYPES[fields.pop("type")]
        seq, seconds = int(fields.pop("seq")), as_seconds(fields.pop("t"))
        fields.pop("v", None)
        types = _TYPES[kind]
        if not fields.keys() <= types.names:
            fields = {key: value for key, value in fields.items() if key in types.names}
        if not types.fit(fields):
            return Warned(f"event {seq} holds values of the wrong kind and was skipped", "another program wrote it")
        return Stamped(seq, seconds, kind(**fields))
    except KeyError as error:
        return Warned(f"an event of an unknown kind was skipped: {error}", "a newer version may have written it")
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return Warned("a line that is no event was skipped", "a crash may have cut it short")


class EventLog:
    """Appends events to a file, one flushed line each, numbered on; `stage` is the last that began, "" before one."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._clock, self.stage = clock, ""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        self._seq = _close_torn_line(self._file)

    def emit(self, event: Event) -> None:
        """Writes one event; a single write call, so that a reader never sees two lines mixed."""
        os.write(self._file, (encode(event, self._seq, self._clock()) + "\n").encode())
        self._seq += 1
        self.stage = event.stage if isinstance(event, StageStarted) else self.stage


def _close_torn_line(file: int) -> int:
    """Ends a line that a crash cut short, and returns the number of lines: the next event's number."""
    content = os.pread(file, os.fstat(file).st_size, 0)
    if content and not content.endswith(b"\n"):
        os.write(file, b"\n")
        return content.count(b"\n") + 1
    return content.count(b"\n")
