"""What a worker printed: the end of console.log, as it would look on a terminal."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ltdd_tui.drawing.lines import clean

TAIL_BYTES = 1 << 15
MOST_LINES = 400
# Control sequences (CSI ... letter, OSC ... BEL) that color text or move the cursor.
SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")


def printed(path: Path) -> tuple[str, ...]:
    """The last lines of a console file; none where it cannot be read."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - TAIL_BYTES))
            lines = as_shown(file.read().decode("utf-8", errors="replace"))
    except OSError:
        return ()
    # The first of a cut file is a piece of a line.
    return tuple(lines[size > TAIL_BYTES :][-MOST_LINES:])


def as_shown(text: str) -> list[str]:
    """The lines without control sequences; what a carriage return wrote over is gone, as on a terminal."""
    lines = SEQUENCE.sub("", text).split("\n")
    shown = [clean(line.rstrip("\r").rpartition("\r")[2]).rstrip() for line in lines]
    return shown[:-1] if shown and not shown[-1] else shown
