"""Follows a run until its worker is gone, showing what happens; the same for a run of one's own and one attached to."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Protocol, Self

from engine.run.events import Stamped, Warned
from engine.run.folder import RunFolder
from ltdd_tui.displays import Display
from ltdd_tui.feed import Feed
from ltdd_tui.state import RunState, apply, with_worker

POLL_SECONDS = 0.1
PATIENCE_SECONDS = 60.0


class Listener(Protocol):
    """Who is told each item of a run with the state after it."""

    def show(self, item: Stamped | Warned, state: RunState) -> None:
        """Takes note of one item."""


class Watched:
    """A run folder that is followed: its events are folded into `state` as they come."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.state = RunState()
        self._feed = Feed(folder.events)
        self._restarts = 0

    def take_new(self, display: Listener | None, budget_seconds: float = 0.2) -> bool:
        """Folds and shows what is new; returns whether that was all there is."""
        items = self._feed.read_new(budget_seconds)
        if self._feed.restarts != self._restarts:
            self._restarts, self.state = self._feed.restarts, RunState()
        for item in items:
            self.state = apply(self.state, item)
            if display:
                display.show(item, self.state)
        return self._feed.caught_up

    def skip_old(self) -> None:
        """Takes in, without showing it, everything up to now."""
        while not self.take_new(None):
            pass


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
