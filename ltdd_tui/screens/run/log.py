"""Log and console panels: what happened in a run and when, and what its worker printed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import groupby

from textual.content import Content

from ltdd_tui.runs.state import LogEntry, RunView
from ltdd_tui.screens.panel import LinesPanel
from ltdd_tui.widgets.lines import ERROR, MUTED, WARNING, wrapped

MOST, LONGEST = 400, 2000
WAITING = "no events yet"
NOTHING_PRINTED = "no output (this is normal)"


def log_lines(entries: Sequence[LogEntry], width: int) -> list[Content]:
    """The last entries, wrapped to `width` cells, with the time; those that are repeated are counted."""
    if not entries:
        return wrapped(WAITING, width, MUTED)
    lines: list[Content] = []
    if len(entries) > MOST:
        lines.append(Content.styled(f"{len(entries) - MOST} earlier entries are in events.jsonl", MUTED))
    for text, repeats in groupby(entries[-MOST:], key=lambda entry: entry.text):
        same = list(repeats)
        times = f" (×{len(same)})" if len(same) > 1 else ""
        whole = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
        lines += _entry(same[-1].seconds, whole + times, width)
    return lines


def _entry(seconds: float | None, text: str, width: int) -> list[Content]:
    clock = "     " if seconds is None else time.strftime("%H:%M", time.localtime(seconds))
    style = WARNING if text.startswith("warning:") else ERROR if text.startswith("error:") else ""
    lines: list[Content] = []
    for place, paragraph in enumerate(text.split("\n")):
        first = Content.styled((clock if place == 0 else " " * len(clock)) + " ", MUTED)
        lines += wrapped(paragraph, width, MUTED if paragraph.startswith("hint:") else style, first)
    return lines


class LogPanel(LinesPanel):
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
        if self.changed(view.log):
            log, count = view.log, len(view.state.warnings)
            words = f"{count} warning{'s' if count > 1 else ''}" if count else ""
            self.border_subtitle = Content.styled(words, WARNING)
            self.lines.draw(lambda width: log_lines(log, width))


class ConsolePanel(LinesPanel):
    """The end of console.log."""

    NAME = "console"
    NUMBER = "7"
    TITLE = "Worker's console"
    HELP = """\
The end of `console.log`: what the latest worker, and the libraries it uses, printed. A healthy run prints little. After
a crash its last lines say most; the whole file lies in the run's folder, with `console-1.log` and so on of the workers
before.
"""
    FOLLOWS = True

    def show(self, view: RunView) -> None:
        if self.changed(view.console):
            printed, style = (view.console, "") if view.console else ([NOTHING_PRINTED], MUTED)
            self.lines.draw(lambda width: [line for text in printed for line in wrapped(text, width, style)])
