"""The log: what happened, and when."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import groupby

from textual.content import Content

from ltdd_tui.runs.state import LogEntry, RunView
from ltdd_tui.screens.run.panel import RowsPanel
from ltdd_tui.widgets.lines import MORE, Line, Span, wrapped

# What a run said, line by line, with the time; repeated lines are counted, warnings and errors stand out.


MOST, LONGEST = 400, 2000
WAITING = "nothing has been said yet"


def log_lines(said: Sequence[LogEntry], width: int) -> list[Line]:
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


WARNING = "$text-warning"


class LogPanel(RowsPanel):
    """One entry for each thing a person may want to know, the newest at the bottom."""

    NAME = "log"
    NUMBER = "5"
    TITLE = "Log"
    HELP = """\
What happened, with the time of day: stages that ended, checks and their accuracy, warnings with what to do about them,
errors. The newest entry is at the bottom and stays in sight unless you scroll up. The same entry said several times in
a row is shown once, with how often.
"""
    FOLLOWS = True

    def show(self, view: RunView) -> None:
        """Draws what has been said."""
        if self.changed(view.log):
            log, count = view.log, len(view.state.warnings)
            words = f"{count} warning{'s' if count > 1 else ''}" if count else ""
            self.border_subtitle = Content.styled(words, WARNING)
            self.rows.draw(lambda width: log_lines(log, width))


# The console: what the worker printed.


NOTHING = "the worker has printed nothing, as it should be"


class ConsolePanel(RowsPanel):
    """The end of console.log."""

    NAME = "console"
    NUMBER = "7"
    TITLE = "Worker's console"
    HELP = """\
The end of `console.log`: what the worker, and the libraries it uses, printed. A healthy run prints little. After a
crash its last lines say most; the whole file lies in the run's folder.
"""
    FOLLOWS = True

    def show(self, view: RunView) -> None:
        """Draws what was printed."""
        if self.changed(view.console):
            printed = view.console
            self.rows.draw(lambda width: _rows(printed, width))


def _rows(printed: tuple[str, ...], width: int) -> list[Line]:
    if not printed:
        return wrapped(NOTHING, width, "muted")
    return [line for text in printed for line in wrapped(text, width)]
