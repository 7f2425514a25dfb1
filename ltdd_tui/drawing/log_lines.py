"""What a run said, line by line, with the time; repeated lines are counted, warnings and errors stand out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import groupby

from ltdd_tui.drawing.lines import MORE, Line, Span, wrapped
from ltdd_tui.live import Said

MOST, LONGEST = 400, 2000
WAITING = "nothing has been said yet"


def log_lines(said: Sequence[Said], width: int) -> list[Line]:
    """The last of what was said, wrapped to `width` cells."""
    if not said:
        return wrapped(WAITING, width, "muted")
    lines: list[Line] = []
    if len(said) > MOST:
        lines.append((Span(f"{len(said) - MOST} earlier entries are in events.jsonl", "muted"),))
    for text, entries in groupby(said[-MOST:], key=lambda entry: entry.text):
        same = list(entries)
        times = f" (×{len(same)})" if len(same) > 1 else ""
        whole = text if len(text) <= LONGEST else f"{text[:LONGEST]}{MORE}"
        lines += _entry(same[-1].seconds, whole + times, width)
    return lines


def _entry(seconds: float | None, text: str, width: int) -> list[Line]:
    clock = "     " if seconds is None else time.strftime("%H:%M", time.localtime(seconds))
    role = text.split(":")[0] if text.startswith(("warning:", "error:")) else ""
    found: list[Line] = []
    for place, paragraph in enumerate(text.split("\n")):
        hint = paragraph.startswith("hint:")
        first = (Span((clock if place == 0 else " " * len(clock)) + " ", "muted"),)
        found += wrapped(paragraph, width, "muted" if hint else role, first)
    return found
