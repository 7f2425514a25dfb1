"""A run's events as a TensorBoard event file. Only reads the run, which may be unfinished or still running."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

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
from engine.run.image_headers import opened_image
from engine.run.regular_files import read_regular

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Value = float | str | Path | None
"""A number becomes a point of a curve, a string a text, a path a picture; None is left out: a loss that is
not finite, or that the method does not have."""
Records = dict[tuple[str, int], tuple[Value, float]]
"""By tag and step: the value, and its time in seconds since 1970."""


def write_tensorboard(run: RunFolder, target: Path) -> list[Warned]:
    """Writes one event file into `target`, in place of an earlier one of this run; returns what had to be left out.

    Raises InputError without TensorBoard, without events, or where `target` holds anything else.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        hint = "pip install 'ltdd-tui[tensorboard]'"
        raise InputError(f"TensorBoard cannot be loaded: {error}", "--tensorboard", hint) from None
    records, unreadable = _read_records(run)
    suffix = f".{run.name}.ltdd-tui"
    earlier = _earlier_files(target, suffix)
    warnings = []
    if unreadable:
        warnings.append(Warned(f"{unreadable} lines of {run.events} are no events that can be read, and were left out"))
    with SummaryWriter(target, filename_suffix=suffix) as writer:
        for (tag, step), (value, seconds) in records.items():
            if not _add(writer, tag, step, value, seconds):
                warnings.append(Warned(f"a preview cannot be read and was left out: {value}"))
    # Only now: an error on the way leaves the earlier copy as it was.
    for path in earlier:
        path.unlink()
    return warnings


def _read_records(run: RunFolder) -> tuple[Records, int]:
    """The records, the last one where a resumed run did a step again, and how many lines could not be read."""
    try:
        lines = read_regular(run.events).decode(errors="replace").split("\n")
    except FileNotFoundError:
        hint = f"`ltdd-tui resume {run.cli_name}` starts it"
        raise InputError("the run has no events yet", str(run.events), hint) from None
    records: Records = {}
    names: Sequence[str] = []
    unreadable = 0
    # What follows the last line end is still being written.
    for item in (decode(line) for line in lines[:-1] if line.strip()):
        try:
            if isinstance(item, Warned):
                raise ValueError(item.message)
            if isinstance(item.event, RunStarted) and not item.event.resumed:
                records = {}  # a fresh start: what an earlier worker did is not part of this run
            names = item.event.class_names if isinstance(item.event, DataReady) else names
            # All of an event or nothing, should its lists not fit the class names.
            records |= {(tag, step): (value, item.seconds) for tag, step, value in _values(item.event, names, run)}
        except (TypeError, ValueError):
            unreadable += 1
    return records, unreadable


def _values(event: Event, class_names: Sequence[str], run: RunFolder) -> Iterator[tuple[str, int, Value]]:
    """Tag, step and value of all that TensorBoard shows of an event."""
    match event:
        case MatchingStep():
            for name in ("loss_rep", "loss_cls", "beta"):
                yield f"matching/{name}", event.iteration, getattr(event, name)
        case ExpertEpoch():
            yield f"experts/{event.kind}/{event.expert}/loss", event.epoch, event.loss
        case Evaluated(subject="check", iteration=int(iteration)):
            yield "evaluation/check/accuracy", iteration, event.accuracy_mean
            digits = len(str(len(class_names) - 1))
            for c, (name, accuracy) in enumerate(zip(class_names, event.per_class, strict=True)):
                yield f"evaluation/check/class/{c:0{digits}d} {name}", iteration, accuracy
        case Evaluated():
            labels = f"/{event.labels}" if event.labels not in ("stored", "") else ""
            yield f"evaluation/{event.subject}/{event.arch}{labels}", event.iteration or 0, _summary(event)
        case Preview():
            yield "preview", event.iteration, run.root / event.path


def _summary(event: Evaluated) -> str:
    groups = "".join(f", {name} {value:.1f}" for name, value in event.groups.items() if value is not None)
    at = "" if event.iteration is None else f", iteration {event.iteration}"
    return f"{event.accuracy_mean:.2f} ± {event.accuracy_std:.2f} % (n={event.repeats}{groups}){at}"


def _earlier_files(target: Path, suffix: str) -> list[Path]:
    """The event files of an earlier copy in `target`, which is created; raises InputError where it holds others."""
    try:
        target.mkdir(parents=True, exist_ok=True)
        files = list(target.iterdir())
    except OSError as error:
        hint = "name a new or an empty folder"
        raise InputError(f"the folder cannot be used: {error.strerror}", str(target), hint) from None
    if not all(path.name.startswith("events.out.tfevents.") and path.name.endswith(suffix) for path in files):
        raise InputError("the folder holds something else", str(target), "name a new or an empty folder")
    return files


def _add(writer: SummaryWriter, tag: str, step: int, value: Value, seconds: float) -> bool:
    """Adds one record; False for a picture that cannot be read."""
    match value:
        case str():
            writer.add_text(tag, value, step, seconds)
        case Path():
            try:
                with opened_image(value, ["PNG"]) as picture:
                    levels = np.asarray(picture.convert("RGB"))
            except (OSError, ValueError):
                return False
            writer.add_image(tag, levels, step, seconds, dataformats="HWC")
        case float():
            writer.add_scalar(tag, value, step, seconds)
    return True
