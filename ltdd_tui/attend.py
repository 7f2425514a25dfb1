"""Stays with a run to its end: shows it, hands on Ctrl-C, and says how it ended."""

from __future__ import annotations

import subprocess
import sys

from engine.run.errors import Fault
from engine.run.folder import RunFolder
from ltdd_tui import worker
from ltdd_tui.consoles import note
from ltdd_tui.displays import Bars, Display, JsonLines, Lines
from ltdd_tui.follow import Interrupts, Watched, follow
from ltdd_tui.runs import handle
from ltdd_tui.state import RunState

DONE, FAILED, BAD_INPUT, STOPPED = 0, 1, 2, 130


def display_for(plain: bool, as_json: bool) -> Display:
    """JSON lines where asked for, bars on a terminal, plain lines elsewhere."""
    if as_json:
        return JsonLines()
    return Bars() if sys.stderr.isatty() and not plain else Lines()


def attend(watched: Watched, display: Display, process: subprocess.Popen[bytes] | None, show_table: bool) -> int:
    """Follows the run until it ends, or until Ctrl-C where it is not one's own; returns the exit code."""
    folder = watched.folder
    with Interrupts() as interrupts:
        hand_on = HandOn(folder, display, interrupts, process)
        state = follow(watched, display, process, hand_on)
    if process is None and interrupts.count:
        note(f"not shown any more; {folder.name} goes on by itself")
        return DONE
    return _say_how_it_ended(folder, state, process, interrupts.count > 1, show_table)


class HandOn:
    """Called in every turn of the loop: one Ctrl-C asks the worker to stop, a second ends it; true means leave."""

    def __init__(
        self, folder: RunFolder, display: Display, interrupts: Interrupts, process: subprocess.Popen[bytes] | None
    ) -> None:
        self._folder, self._display, self._interrupts, self._process = folder, display, interrupts, process
        self._handled = 0

    def __call__(self) -> bool:
        count = self._interrupts.count
        if self._process is None or count == self._handled:
            return count > self._handled
        if self._handled == 0:
            worker.request_stop(self._folder)
            self._display.say("stopping at the next safe point; Ctrl-C again ends it at once")
        if count > 1:
            worker.kill(self._process.pid)
        self._handled = count
        return False


def _say_how_it_ended(
    folder: RunFolder, state: RunState, process: subprocess.Popen[bytes] | None, killed: bool, show_table: bool
) -> int:
    code = process.returncode if process else None
    if state.status == "done" and not code:
        if show_table:
            from ltdd_tui.commands.results import show_result

            show_result(folder, by_class=False)
        else:
            note(f"result: {folder.result}")
        return DONE
    resume = f"`ltdd-tui resume {handle(folder)}` goes on from there"
    if killed:
        note(f"ended at once; what the last checkpoint holds is kept\nhint: {resume}")
        return STOPPED
    if state.status == "stopped":
        note(f"stopped at a safe point\nhint: {resume}")
        return STOPPED
    if state.status == "failed":
        # The display has told the faults themselves, unless it only prints events.
        if not show_table:
            note("\n".join(str(Fault(fault.what, fault.where, fault.hint)) for fault in state.failures))
        return BAD_INPUT if code == BAD_INPUT else FAILED
    return _say_it_crashed(folder, code)


def _say_it_crashed(folder: RunFolder, code: int | None) -> int:
    how = "" if code is None else f" (exit code {code})"
    tail = "\n".join(f"  {line}" for line in worker.console_tail(folder, own=code is not None))
    note(
        str(
            Fault(
                f"the worker is gone without a last word{how}",
                str(folder.console),
                f"`ltdd-tui resume {handle(folder)}` goes on from the last checkpoint",
            )
        )
    )
    if tail:
        note(f"it printed at last:\n{tail}")
    return code if code in (BAD_INPUT, STOPPED) else FAILED


def runs_on(folder: RunFolder) -> str:
    """What to say of a worker that is left alone."""
    return f"it runs on; `ltdd-tui watch {handle(folder)}` shows it, `ltdd-tui stop {handle(folder)}` stops it"
