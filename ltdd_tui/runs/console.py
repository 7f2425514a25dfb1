"""What workers printed: `console.log` is of the latest worker, `console-1.log`, `console-2.log` ... of those before.

Each worker has a file of its own, so that what an earlier one printed is never mistaken for its output.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from engine.run.folder import RunFolder
from engine.run.locks import HELD
from engine.run.regular_files import open_regular
from ltdd_tui.formatting import clean

# What version 0.1 wrote between the output of two workers, which it appended to one file.
OLD_START_MARK = "--- a worker starts ---"
TAIL_BYTES = 1 << 15
MOST_LINES = 400
# Control sequences (CSI ... letter, OSC ... BEL) that color text or move the cursor. Rich's Text.from_ansi knows most
# of them, but leaves the text of a title (OSC 0 ended by BEL) in place.
CONTROL_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")


def printed(console: Path) -> tuple[str, ...]:
    """The last lines of a console file; none where it cannot be read."""
    try:
        with open_regular(console) as file:
            return last_lines(file)
    except OSError:
        return ()


def last_lines(file: IO[bytes]) -> tuple[str, ...]:
    """The last lines of an open console file."""
    size = os.fstat(file.fileno()).st_size
    # pread, since a worker that still prints shares the place in the file at which it goes on.
    text = os.pread(file.fileno(), TAIL_BYTES, max(0, size - TAIL_BYTES))
    lines = as_shown(text.decode("utf-8", errors="replace"))
    # The first of a cut file is a piece of a line.
    lines = lines[size > TAIL_BYTES :]
    if OLD_START_MARK in lines:
        lines = lines[len(lines) - lines[::-1].index(OLD_START_MARK) :]
    return tuple(lines[-MOST_LINES:])


def as_shown(text: str) -> list[str]:
    """The lines without control sequences; what a carriage return wrote over is gone, as on a terminal."""
    lines = CONTROL_SEQUENCE.sub("", text).split("\n")
    shown = [clean(line.rstrip("\r").rpartition("\r")[2]).rstrip() for line in lines]
    return shown[:-1] if shown and not shown[-1] else shown


def printed_by_run(folder: RunFolder) -> tuple[str, ...]:
    """The last lines of the latest worker that was not refused the run."""
    consoles = (printed(console) for console in (folder.console, *folder.older_consoles()))
    return next((lines for lines in consoles if not is_refusal(lines)), ())


def is_refusal(lines: Sequence[str]) -> bool:
    """Whether the lines are of a worker that was refused because another had the run: they say nothing of the run."""
    # An error is followed by its hint at most.
    return any(line.startswith("error: ") and line.endswith(HELD) for line in lines[-2:])
