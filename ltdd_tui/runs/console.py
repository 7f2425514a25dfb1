"""What a worker printed: the end of console.log, as it would look on a terminal."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from engine.run.folder import HELD
from ltdd_tui.formatting import clean

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


# Where in a run's console a worker starts: what another one printed must not look like the last one's words.


STARTS = "--- a worker starts ---"


def since_start(lines: Sequence[str]) -> tuple[str, ...]:
    """The lines of the latest worker that had the run; all of them where no start is marked.

    One that was refused, since another had the run, says nothing of how the run went: it is left out.
    """
    return last_said(_without_refused(lines))


def last_said(lines: Sequence[str]) -> tuple[str, ...]:
    """The lines since the last start, be it of one that was refused."""
    starts = [place for place, line in enumerate(lines) if line == STARTS]
    return tuple(lines[starts[-1] + 1 :] if starts else lines)


def _without_refused(lines: Iterable[str]) -> list[str]:
    """The lines without refusals, their hints and the starts of those who were refused; others may print between."""
    kept: list[str] = []
    refused = False
    for line in lines:
        if line.startswith("error: ") and line.endswith(HELD):
            refused = True
            if STARTS in kept:
                del kept[len(kept) - 1 - kept[::-1].index(STARTS)]
        elif refused and line.startswith("hint: "):
            refused = False
        else:
            refused = False
            kept.append(line)
    return kept
