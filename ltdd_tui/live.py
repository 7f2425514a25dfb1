"""A run that a screen shows: its events folded into a state, and what they said, read a little at a time."""

from __future__ import annotations

import time
from dataclasses import dataclass

from engine.run.errors import SettingsError
from engine.run.events import Stamped, Warned
from engine.run.folder import RunFolder
from engine.run.presets import load_preset
from engine.run.settings import RunSettings
from ltdd_tui.follow import Watched
from ltdd_tui.plain import news
from ltdd_tui.series import Series
from ltdd_tui.state import RunState, with_worker

ALIVE_EVERY_SECONDS = 1.0


@dataclass(frozen=True)
class Said:
    """One line of a run's log: when (seconds since 1970, None for a fault of the file itself) and what."""

    seconds: float | None
    text: str


@dataclass(frozen=True)
class View:
    """What panels draw: the run as it stands, or as it stood at iteration `at` while it is replayed.

    `settings` is None where config.yaml cannot be read. `version` grows with every change, so that a panel can tell.
    """

    folder: RunFolder
    state: RunState
    settings: RunSettings | None
    log: Series[Said]
    gone: bool
    version: int
    at: int | None = None


class _Journal:
    """The display that a run is read for: it keeps what the events say."""

    def __init__(self) -> None:
        self.log: Series[Said] = Series()

    def show(self, item: Stamped | Warned, state: RunState) -> None:
        """Takes down one item."""
        text = news(item, state)
        if text is not None:
            self.log = self.log.appended(Said(item.seconds if isinstance(item, Stamped) else None, text))


class LiveRun:
    """Reads a run's folder for as many screens as want it; `read` may be called from a thread, `view` from any."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._journal = _Journal()
        self._watched = Watched(folder)
        self._settings: RunSettings | None = None
        self._alive, self._asked = True, float("-inf")
        self._version = 0
        self.view = self._seen()

    def read(self, budget_seconds: float = 0.05) -> bool:
        """Takes in what is new, for about that long; returns whether that was all there is."""
        self._ask_whether_alive()
        before = self._watched.state
        caught_up = self._watched.take_new(self._journal, budget_seconds)
        seen = self._seen()
        if self._watched.state is not before or (seen.state.status, seen.gone) != (
            self.view.state.status,
            self.view.gone,
        ):
            self._version += 1
            self.view = self._seen()
        return caught_up

    def _ask_whether_alive(self) -> None:
        # Before the events are read: the other way round, a run that ends in between looks like a crash.
        if time.monotonic() - self._asked >= ALIVE_EVERY_SECONDS:
            self._alive, self._asked = self.folder.is_running(), time.monotonic()

    def _seen(self) -> View:
        if self._settings is None:
            self._settings = _settings(self.folder)
        state = with_worker(self._watched.state, self._alive)
        gone = not self.folder.root.is_dir()
        return View(self.folder, state, self._settings, self._journal.log, gone, self._version)


def _settings(folder: RunFolder) -> RunSettings | None:
    try:
        return load_preset(str(folder.config))
    except (SettingsError, OSError):
        return None
