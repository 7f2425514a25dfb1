"""Shows a run while its worker works: JSON lines, plain lines in a pipe, or progress bars on a terminal."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from engine.run.errors import BAD_INPUT, FAILED, STOPPED, Fault, StopSignals
from engine.run.events import Stamped, Warned, encode
from engine.run.folder import RunFolder
from ltdd_tui.cli.output import console, print_note, print_text
from ltdd_tui.formatting import duration, percent, stage_name, units
from ltdd_tui.runs import worker
from ltdd_tui.runs.console import printed_by_run
from ltdd_tui.runs.feed import events_size
from ltdd_tui.runs.figures import best_check
from ltdd_tui.runs.live import RunStateReader
from ltdd_tui.runs.messages import log_message, losses, progress_text, worker_died
from ltdd_tui.runs.stages import Stage
from ltdd_tui.runs.state import RunState, crashed_if_worker_died
from ltdd_tui.runs.worker import WorkerProcess

POLL_SECONDS = 0.1
WAIT_FOR_WORKER_SECONDS = 60.0
SHORTEST_GAP_SECONDS = 1.0
LONGEST_GAP_SECONDS = 60.0
LINES_PER_STAGE = 10
BAR_COLUMNS = 30


class Display(contextlib.AbstractContextManager["Display"]):
    """How a followed run is shown. Enter it before the first event; `refresh` follows every batch of events."""

    def show(self, item: Stamped | Warned, state: RunState) -> None:
        """Shows one event or warning, by default its message if it has one; `state` is the run's state after it."""
        if message := log_message(item, state):
            print_note(message)

    def refresh(self, state: RunState) -> None:
        """Redraws what also changes between events, such as elapsed time."""

    def __exit__(self, *exception: object) -> None:
        """Leaves the terminal as it was."""


class JsonLines(Display):
    """The events as they were written, to stdout; warnings about the event file itself go to stderr."""

    def show(self, item: Stamped | Warned, state: RunState) -> None:
        if isinstance(item, Warned):
            print_note(f"warning: {item.message}")
        else:
            print_text(encode(item.event, item.seq, item.seconds))


class PlainLines(Display):
    """Lines on stderr: one for each notable event, and a stage's progress at each tenth and at least every minute."""

    def __init__(self) -> None:
        self._stage = ""
        self._tenths = 0
        self._last_line_seconds = 0.0

    def show(self, item: Stamped | Warned, state: RunState) -> None:
        """Prints the event's message, and the progress of the current stage where that is due."""
        super().show(item, state)
        stage = state.stages.current
        if stage and isinstance(item, Stamped) and self._is_progress_due(stage, item.seconds):
            print_note(progress_line(stage, state, item.seconds))

    def _is_progress_due(self, stage: Stage, now: float) -> bool:
        # `now` is the time of the event, not of the clock: a replay prints the lines that were printed live.
        if stage.name != self._stage:
            self._stage, self._tenths, self._last_line_seconds = stage.name, 0, now
        tenths = int(LINES_PER_STAGE * stage.done / stage.total) if stage.total else 0
        waited = now - self._last_line_seconds
        if waited < LONGEST_GAP_SECONDS and (tenths <= self._tenths or waited < SHORTEST_GAP_SECONDS):
            return False
        self._tenths, self._last_line_seconds = tenths, now
        return True


def progress_line(stage: Stage, state: RunState, now: float) -> str:
    """How far a stage is, with the matching losses while it distills; then how far the run is, and the time left."""
    line = f"{stage_name(stage.name)}: {units(stage.done)}/{stage.total} {stage.unit}"
    if stage.name == "distill" and state.steps.latest:
        line += f", {losses(state.steps.latest)}"
    # Of a finished run that is evaluated again, that evaluation is all there is to do.
    whole = "" if state.status == "done" else "the run "
    return f"{line}; {whole}{progress_text(state, now)}"


class ProgressBars(Display):
    """A bar per stage and a line of current figures, redrawn in place on stderr below the lines printed so far."""

    def __init__(self) -> None:
        # Redrawn by `refresh` alone: a second thread that redraws as well would make it flicker. While it is shown,
        # Live prints what others write to stderr above the bars.
        self._live = Live(console=console(sys.stderr), auto_refresh=False)

    def __enter__(self) -> ProgressBars:
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def refresh(self, state: RunState) -> None:
        self._live.update(bars(state, time.time()), refresh=True)


def bars(state: RunState, now: float) -> RenderableType:
    """A bar for each stage that has begun, how far the whole run is, and the line of current figures."""
    name, *figures = (
        TextColumn(f"{{task.{part}}}", markup=False)
        for part in ("description", "fields[done]", "fields[elapsed]", "fields[left]")
    )
    progress = Progress(name, BarColumn(BAR_COLUMNS), *figures)
    for stage in state.stages.by_name.values():
        if stage.status != "pending":
            left = stage.seconds_left(now)
            progress.add_task(
                stage_name(stage.name),
                total=max(stage.total, 1),
                completed=stage.done,  # type: ignore[arg-type]  # rich takes fractions too
                done=f"{units(stage.done)}/{stage.total} {stage.unit}",
                elapsed=duration(stage.elapsed(now)),
                left="" if not left else f"about {duration(left)} left",
            )
    whole = progress_text(state, now)
    lines = [f"the run: {whole}"] if whole and state.status != "done" else []
    return Group(progress, Text("\n".join([*lines, current_figures(state)])))


def current_figures(state: RunState) -> str:
    """The latest losses, the last and the best checkpoint evaluation, and device memory, in one line."""
    parts = [losses(state.steps.latest)] if state.steps.latest else []
    checks, best = state.evaluated("check"), best_check(state)
    if best:
        parts.append(
            f"last check {percent(checks[-1].accuracy_mean)}, best {percent(best.accuracy_mean)} at {best.iteration}"
            f"{state.first_regime_told}"
        )
    if state.reading:
        parts.append(f"{state.reading.device} {state.reading.memory_gib:.1f}/{state.reading.memory_total_gib:.1f} GiB")
    return "   ".join(part for part in parts if part)


def display_for(plain: bool, as_json: bool) -> Display:
    """JSON lines if asked for, progress bars on a terminal, plain lines elsewhere."""
    if as_json:
        return JsonLines()
    return ProgressBars() if sys.stderr.isatty() and not plain else PlainLines()


class Followed(NamedTuple):
    """How the following of a run ended: the last state, our own worker if any, and the signals that came meanwhile."""

    state: RunState
    worker: WorkerProcess | None
    signals: list[int]


def follow(watched: RunStateReader, display: Display, start: Callable[[], WorkerProcess] | None = None) -> Followed:
    """Shows a run until its worker exits.

    start: starts our own worker. The first signal, from Ctrl-C or as SIGTERM, asks it to stop at its next safe point,
    the second kills it. Without one, a signal only ends the showing, and a run without a worker and without events is
    given a minute to get one.
    """
    deadline = time.monotonic() + WAIT_FOR_WORKER_SECONDS
    handled = 0
    # Before the worker starts: a signal in between would leave it behind, unannounced.
    with caught_signals() as signals, display:
        own = start() if start else None
        process = own.process if own else None
        while True:
            # First our worker, then the events: in the other order, what it said last may be missed.
            ended = process is not None and process.poll() is not None
            caught_up = watched.take_new(display.show)
            alive = watched.alive if process is None else not ended
            display.refresh(watched.state)
            if len(signals) > handled:
                if process is None:
                    break
                if handled == 0:
                    worker.request_stop(watched.folder)
                    print_note(f"stopping at the next safe point; {AGAIN[signals[0]]} again kills the worker")
                if len(signals) > 1:
                    worker.kill(process.pid)
                handled = len(signals)
            is_new = watched.state.status == "waiting" and events_size(watched.folder) <= 0
            # Such as that the events cannot be read: then there is nothing to wait for.
            is_new = is_new and not watched.state.warnings
            waits = process is None and is_new and time.monotonic() < deadline
            if caught_up and not alive and not waits:
                break
            if caught_up:
                time.sleep(POLL_SECONDS)
    return Followed(crashed_if_worker_died(watched.state, alive), own, signals)


AGAIN: dict[int, str] = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


@contextlib.contextmanager
def caught_signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM; acting on one in the signal handler itself could cut a print in half.

    Not SIGHUP: a terminal that is closed ends this program, and the worker goes on.
    """
    requests = StopSignals()

    def catch(number: int, _frame: object) -> None:
        requests.take(number)

    before = {number: signal.signal(number, catch) for number in AGAIN}
    try:
        yield requests.numbers
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def print_crash(folder: RunFolder, process: WorkerProcess | None, hint: str = "") -> None:
    """Reports a worker that ended without an error event: what it printed as its error, else its last output.

    process: the worker, if it was started here.
    """
    output = process.last_output().splitlines() if process else printed_by_run(folder)[-worker.LAST_LINES :]
    if process and output and output[0].startswith("error: "):
        # It says itself why it could not begin, as when another worker has the run.
        print_note("\n".join(output))
        return
    died = worker_died(process.process.returncode if process else None)
    with contextlib.suppress(OSError):
        if not output and not (free := shutil.disk_usage(folder.root).free):
            died, hint = f"{died}, and nothing can be written: {free:,} bytes are free", "make room, then do it again"
    print_note(str(Fault(died, str(folder.console), hint)))
    if output:
        print_note("\n".join(["last output:", *(f"  {line}" for line in output)]))


def exit_code_of(worker_code: int | None) -> int:
    """Our exit code after a worker that failed: its own if that has a meaning, else 1, as for one that was killed."""
    return worker_code if worker_code in (BAD_INPUT, STOPPED) else FAILED


def exit_code_after(signals: list[int]) -> int:
    """What a shell reports of a program that a signal ended: 130 after Ctrl-C, 143 after SIGTERM; 130 without one."""
    return 128 + signals[-1] if signals else STOPPED
