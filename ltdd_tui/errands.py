"""Workers that the screen sends: it goes on meanwhile, and is told how each one ended and what it said."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.run.folder import RunFolder
from ltdd_tui import worker
from ltdd_tui.console_marks import last_said
from ltdd_tui.printed import as_shown

POLL_SECONDS = 0.3
LAST_BYTES, LAST_LINES = 8192, 8
STOPPED = 130


@dataclass(frozen=True)
class Ended:
    """The exit code of a worker, and its last words: the error that it told, or its last lines."""

    code: int
    words: str

    @property
    def went_wrong(self) -> bool:
        """Whether it failed; one that was asked to stop did not."""
        return self.code not in (0, STOPPED)


@dataclass(frozen=True)
class Errand:
    """A worker under way."""

    process: subprocess.Popen[bytes]
    _said: Callable[[], bytes]

    async def ended(self) -> Ended:
        """Waits for the end without holding anything up."""
        while self.process.poll() is None:
            await asyncio.sleep(POLL_SECONDS)
        return Ended(self.process.returncode, self.words())

    def words(self) -> str:
        """Its last words so far."""
        return last_words(self._said().decode("utf-8", errors="replace"))


def send(folder: RunFolder, arguments: Sequence[str]) -> Errand:
    """Sends a worker that holds the run; raises InputError where one is at work already."""
    begins = folder.console.stat().st_size if folder.console.exists() else 0

    def said() -> bytes:
        try:
            with open(folder.console, "rb") as console:
                console.seek(max(begins, os.fstat(console.fileno()).st_size - LAST_BYTES))
                return console.read()
        except OSError:
            return b""

    return Errand(worker.launch(folder, arguments), said)


def send_to_read(arguments: Sequence[str]) -> Errand:
    """Sends a worker that only reads a run, which may be at work."""
    # Its own file: what is said of a copy has no place in the run's console, and pipes fill up.
    output = tempfile.TemporaryFile()  # noqa: SIM115

    def said() -> bytes:
        with output:
            output.seek(max(0, os.fstat(output.fileno()).st_size - LAST_BYTES))
            return output.read()

    return Errand(worker.consult(arguments, output), said)


def last_words(said: str) -> str:
    """The last error of a worker's output with what follows it, else its last lines."""
    lines = last_said(as_shown(said.strip()))
    errors = [place for place, line in enumerate(lines) if line.startswith("error: ")]
    return "\n".join(lines[errors[-1] :] if errors else lines[-LAST_LINES:])
