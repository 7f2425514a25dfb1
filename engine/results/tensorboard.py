"""A run's events as TensorBoard reads them: only looks at the run, which may be unfinished or at work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from engine.run.errors import InputError
from engine.run.events import (
    DataReady,
    Evaluated,
    Event,
    ExpertEpoch,
    MatchingStep,
    Preview,
    RunStarted,
    Warned,
    decode,
)
from engine.run.folder import RunFolder

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

# A number is a point of a curve, a string a text, a path a picture.
Value = float | str | Path | None
Records = dict[tuple[str, int], tuple[Value, float]]


def write_tensorboard(run: RunFolder, target: Path) -> list[Warned]:
    """Writes one event file into `target` in place of an earlier one of this run; returns what had to be left out.

    Raises InputError without TensorBoard, without events, or where the folder holds anything else.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        hint = "pip install 'ltdd-tui[tensorboard]'"
        raise InputError(f"TensorBoard cannot be loaded: {error}", "--tensorboard", hint) from None
    records, odd = read_records(run)
    ending = f".{run.name}.ltdd-tui"
    earlier = _earlier(target, ending)
    with SummaryWriter(target, filename_suffix=ending) as writer:
        gone = [path for key, (value, seconds) in records.items() if (path := _add(writer, *key, value, seconds))]
    for path in earlier:
        path.unlink()
    warnings = [Warned(f"{odd} lines of {run.events} are no events that can be read, and were left out")] if odd else []
    return warnings + [Warned(f"a preview cannot be read and was left out: {path}") for path in gone]


def read_records(run: RunFolder) -> tuple[Records, int]:
    """The value and time of every tag and step, and the number of lines left out; of what came twice, the last."""
    try:
        lines = run.events.read_text(errors="replace").split("\n")
    except FileNotFoundError:
        raise InputError(
            "the run has no events yet", str(run.events), f"`ltdd-tui resume {run.name}` starts it"
        ) from None
    records: Records = {}
    names: Sequence[str] = []
    odd = 0
    # What follows the last line end is still being written.
    for item in (decode(line) for line in lines[:-1] if line.strip()):
        try:
            if isinstance(item, Warned):
                raise ValueError(item.message)
            if isinstance(item.event, RunStarted) and not item.event.resumed:
                records = {}
            names = item.event.class_names if isinstance(item.event, DataReady) else names
            found = {(tag, int(step)): (value, item.seconds) for tag, step, value in _records(item.event, names, run)}
            records |= found
        except (TypeError, ValueError, AttributeError, ArithmeticError):
            odd += 1
    return records, odd


def _records(event: Event, class_names: Sequence[str], run: RunFolder) -> Iterator[tuple[str, int, Value]]:
    match event:
        case MatchingStep():
            for name in ("loss_rep", "loss_cls", "beta"):
                yield f"matching/{name}", event.iteration, _number(getattr(event, name))
        case ExpertEpoch():
            yield f"experts/{event.kind}/{event.expert}/loss", event.epoch, _number(event.loss)
        case Evaluated(subject="check", iteration=int(iteration)):
            yield "evaluation/check/accuracy", iteration, _number(event.accuracy_mean)
            digits = len(str(len(class_names) - 1))
            for c, (name, accuracy) in enumerate(zip(class_names, event.per_class, strict=True)):
                yield f"evaluation/check/class/{c:0{digits}d} {name}", iteration, _number(accuracy)
        case Evaluated():
            yield f"evaluation/{event.subject}/{event.arch}", event.iteration or 0, _in_words(event)
        case Preview():
            yield "preview", event.iteration, run.root / event.path


def _number(value: float | None) -> float | None:
    """A method without this loss has None, and so has a loss that was not finite."""
    return None if value is None else float(value)


def _in_words(event: Evaluated) -> str:
    groups = "".join(f", {name} {value:.1f}" for name, value in event.groups.items() if value is not None)
    at = "" if event.iteration is None else f", iteration {event.iteration}"
    return f"{event.accuracy_mean:.2f} +- {event.accuracy_std:.2f} % (n={event.repeats}{groups}){at}"


def _earlier(target: Path, ending: str) -> list[Path]:
    """The files of an earlier copy in `target`, which is made where it is not there yet."""
    try:
        target.mkdir(parents=True, exist_ok=True)
        found = list(target.iterdir())
    except OSError as error:
        hint = "name a new or an empty folder"
        raise InputError(f"the folder cannot be used: {error.strerror}", str(target), hint) from None
    if not all(path.name.startswith("events.out.tfevents.") and path.name.endswith(ending) for path in found):
        raise InputError("the folder holds something else", str(target), "name a new or an empty folder")
    return found


def _add(writer: SummaryWriter, tag: str, step: int, value: Value, seconds: float) -> Path | None:
    """Adds one record; returns the path of a picture that cannot be read."""
    match value:
        case str():
            writer.add_text(tag, value, step, seconds)
        case Path():
            try:
                with Image.open(value) as picture:
                    levels = np.asarray(picture.convert("RGB"))
            except (OSError, ValueError):
                return value
            writer.add_image(tag, levels, step, seconds, dataformats="HWC")
        case float():
            writer.add_scalar(tag, value, step, seconds)
    return None
