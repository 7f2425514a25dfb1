"""Three ways to show a run that is followed: JSON lines, plain lines, and bars on a terminal."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from engine.run.errors import Fault
from engine.run.events import Stamped, Warned, encode
from engine.run.folder import RunFolder
from ltdd_tui.cli.output import note, note_console
from ltdd_tui.formatting import duration, percent, stage_name
from ltdd_tui.runs import worker
from ltdd_tui.runs.index import handle
from ltdd_tui.runs.live import Watched
from ltdd_tui.runs.messages import losses, news
from ltdd_tui.runs.state import RunState, Stage, with_worker

# A run as lines, for pipes and `--plain`: one a stage, a tenth of a stage, an evaluation; never a flood.


STEPS = 10
SHORTEST_GAP_SECONDS = 1.0
LONGEST_GAP_SECONDS = 60.0


def progress_line(stage: Stage, state: RunState, now: float) -> str:
    """How far a stage is, how long it still takes at the pace of late, and in distill how the losses are."""
    left = stage.seconds_left(now)
    line = f"{stage_name(stage.name)}: {stage.done:g}/{stage.total} {stage.unit}"
    if stage.name == "distill" and state.steps.latest:
        line += f", {losses(state.steps.latest)}"
    return line if not left else f"{line}, about {duration(left)} left"


class Pacer:
    """Decides when a stage's progress deserves a line: at each tenth, a second or more apart, and once a minute."""

    def __init__(self) -> None:
        self._stage = ""
        self._step = 0
        self._said = 0.0

    def due(self, stage: Stage, now: float) -> bool:
        """Whether to say now how far `stage` is; `now` in seconds since 1970, by the events' own clock."""
        if stage.name != self._stage:
            self._stage, self._step, self._said = stage.name, 0, now
        step = int(STEPS * stage.done / stage.total) if stage.total else 0
        waited = now - self._said
        if waited < LONGEST_GAP_SECONDS and (step <= self._step or waited < SHORTEST_GAP_SECONDS):
            return False
        self._step, self._said = step, now
        return True


Item = Stamped | Warned


class Display(contextlib.AbstractContextManager["Display"], Protocol):
    """What `follow` tells: each item with the state after it, and now and then that time has passed."""

    def show(self, item: Item, state: RunState) -> None:
        """Takes note of one item."""

    def refresh(self, state: RunState) -> None:
        """Draws what changes with time alone."""

    def say(self, text: str) -> None:
        """Tells a person something that is no event."""


class _Steady:
    """A display that needs no room on the screen."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def refresh(self, state: RunState) -> None:
        """Nothing changes with time alone."""

    def say(self, text: str) -> None:
        """To stderr."""
        note(text)


class JsonLines(_Steady):
    """The events as they were written, to stdout; warnings about the file itself to stderr."""

    def show(self, item: Item, state: RunState) -> None:
        """Prints one line."""
        if isinstance(item, Warned):
            note(f"warning: {item.message}")
        else:
            print(encode(item.event, item.seq, item.seconds), flush=True)


class Lines(_Steady):
    """Plain lines to stderr."""

    def __init__(self) -> None:
        self._pacer = Pacer()

    def show(self, item: Item, state: RunState) -> None:
        """Prints what the item says, or how far its stage is."""
        said = news(item, state)
        if said is not None:
            note(said)
        stage = state.stages.current
        if stage and isinstance(item, Stamped) and self._pacer.due(stage, item.seconds):
            note(progress_line(stage, state, item.seconds))


class Bars:
    """A bar for every stage and the figures of now, redrawn in place on stderr; what is news scrolls by above."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or note_console()
        self._live = Live(console=self._console, auto_refresh=False, transient=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, item: Item, state: RunState) -> None:
        """Lets news scroll by."""
        said = news(item, state)
        if said is not None:
            self.say(said)

    def refresh(self, state: RunState) -> None:
        """Draws the bars anew."""
        self._live.update(bars(state, time.time()), refresh=True)

    def say(self, text: str) -> None:
        """Above the bars."""
        self._console.print(Text(text))


def bars(state: RunState, now: float) -> RenderableType:
    """The stages that have begun, and a line of figures."""
    table = Table.grid(padding=(0, 2))
    for stage in state.stages.by_name.values():
        if stage.status == "pending":
            continue
        left = stage.seconds_left(now)
        table.add_row(
            stage_name(stage.name),
            ProgressBar(total=max(stage.total, 1), completed=stage.done, width=30),
            f"{stage.done:g}/{stage.total} {stage.unit}",
            duration(stage.elapsed(now)),
            "" if not left else f"about {duration(left)} left",
        )
    return Group(table, Text(summary(state)))


def summary(state: RunState) -> str:
    """The figures of now in one line: losses, last and best check, memory."""
    parts = [losses(state.steps.latest)] if state.steps.latest else []
    checks = [event for event in state.evaluations.values() if event.subject == "check"]
    if checks:
        best = max(checks, key=lambda event: event.accuracy_mean)
        parts.append(
            f"last check {percent(checks[-1].accuracy_mean)}, best {percent(best.accuracy_mean)} at {best.iteration}"
        )
    if state.reading:
        parts.append(f"{state.reading.device} {state.reading.memory_gib:.1f}/{state.reading.memory_total_gib:.1f} GiB")
    return "   ".join(part for part in parts if part)


# Follows a run until its worker is gone, showing what happens; the same for a run of one's own and one attached to.


POLL_SECONDS = 0.1
PATIENCE_SECONDS = 60.0


def follow(
    watched: Watched,
    display: Display,
    process: subprocess.Popen[bytes] | None = None,
    leave: Callable[[], bool] = lambda: False,
) -> RunState:
    """Shows the run until its worker is gone or `leave` says so, and returns the last state.

    Without `process`, a run that no worker has taken up yet is waited for, for a minute.
    """
    give_up = time.monotonic() + PATIENCE_SECONDS
    with display:
        while True:
            # First the worker, then the events: the other way round, an end in between looks like a crash.
            alive = watched.folder.is_running() if process is None else process.poll() is None
            caught_up = watched.take_new(display)
            display.refresh(watched.state)
            waits = process is None and watched.state.status == "waiting" and time.monotonic() < give_up
            if leave() or (caught_up and not alive and not waits):
                break
            if caught_up:
                time.sleep(POLL_SECONDS)
    return with_worker(watched.state, alive)


class Interrupts:
    """While it is entered, Ctrl-C interrupts nothing: it is counted, and the loop asks for the count.

    Acting in the handler itself could meet the loop in the middle of a print.
    """

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._pressed)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _pressed(self, number: int, frame: FrameType | None) -> None:
        self.count += 1


# Stays with a run to its end: shows it, hands on Ctrl-C, and says how it ended.


DONE, FAILED, BAD_INPUT, STOPPED = 0, 1, 2, 130


def display_for(plain: bool, as_json: bool) -> Display:
    """JSON lines where asked for, bars on a terminal, plain lines elsewhere."""
    if as_json:
        return JsonLines()
    return Bars() if sys.stderr.isatty() and not plain else Lines()


def follow_run(watched: Watched, display: Display, process: subprocess.Popen[bytes] | None, show_table: bool) -> int:
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
            from ltdd_tui.cli.results import show_result

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
