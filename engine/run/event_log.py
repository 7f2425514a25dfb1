"""events.jsonl for a worker: written one line an event, numbered on from what is there; and what it says of the run."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from engine.run.checksums import sealed_line
from engine.run.errors import RunFailed
from engine.run.events import (
    Event,
    RunBroke,
    RunStarted,
    RunStopped,
    StageStarted,
    Stamped,
    decode,
    encode,
    type_name,
)
from engine.run.locks import run_is_gone
from engine.run.regular_files import open_regular, opened_if_regular

Kind = TypeVar("Kind", bound=Event)

_PIECE_BYTES = 1 << 20


class EventLog:
    """Appends events to a file, one line each, and continues its numbering; `stage` is the last that began, or "".

    As a context manager it closes the file at the end of the block. Raises RunFailed where the file cannot be made.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._clock, self._path, self.stage = clock, path, ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = opened_if_regular(str(path), os.O_RDWR | os.O_APPEND | os.O_CREAT)
            self._seq = _close_torn_line(self._file)
        except OSError as error:
            # Nobody can be told by events, so the console has to say it in a sentence.
            what = f"cannot be opened: {error.strerror or error}"
            raise RunFailed(
                what, str(path), "a run tells all that it does there; make room, or look at the disk"
            ) from None

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def emit(self, event: Event) -> None:
        """Writes one event; raises RunFailed where the file was deleted or moved.

        How the run ends is written all the same: a run that was moved tells it where it is now.
        """
        if not isinstance(event, RunBroke | RunStopped) and not self._is_in_place():
            raise run_is_gone(self._path.parent)
        self._append((sealed_line(encode(event, self._seq, self._clock())) + "\n").encode())
        self._seq += 1
        self.stage = event.stage if isinstance(event, StageStarted) else self.stage

    def _append(self, line: bytes) -> None:
        """Writes the whole line or nothing of it; the file is opened for appending, so nothing comes in between."""
        size = os.fstat(self._file).st_size
        try:
            while line:
                line = line[os.write(self._file, line) :]  # where little room is left, less than was asked for
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, size)
            error.filename = str(self._path)
            raise

    def _is_in_place(self) -> bool:
        own = os.fstat(self._file)
        with contextlib.suppress(OSError):
            return os.path.samestat(own, os.stat(self._path))
        return False


def _close_torn_line(file: int) -> int:
    """Ends a line that a crash cut short; returns the number of lines, which is the next event's number."""
    lines, last, at = 0, b"\n", 0
    while piece := os.pread(file, _PIECE_BYTES, at):
        lines, last, at = lines + piece.count(b"\n"), piece[-1:], at + len(piece)
    if last == b"\n":
        return lines
    os.write(file, b"\n")
    return lines + 1


def told_since_start(events: Path, kind: type[Kind]) -> list[Kind]:
    """The events of one kind since the run last began anew, in order; none where there is no file that can be read."""
    marks = [f'"type":"{type_name(one)}"'.encode() for one in (RunStarted, kind)]
    told: list[Kind] = []
    with contextlib.suppress(OSError), open_regular(events) as lines:
        for item in (decode(line.decode(errors="replace")) for line in lines if any(mark in line for mark in marks)):
            if not isinstance(item, Stamped):
                continue
            if isinstance(item.event, RunStarted) and not item.event.resumed:
                told.clear()
            if isinstance(item.event, kind):
                told.append(item.event)
    return told
