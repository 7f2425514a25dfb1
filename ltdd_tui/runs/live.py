"""A run that a screen shows: its events folded into a state, and what they said, read a little at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from engine.run.errors import SettingsError
from engine.run.events import RunStarted, Stamped, Warned
from engine.run.folder import RunFolder, read_json
from engine.run.presets import load_preset
from engine.run.settings import RunSettings
from ltdd_tui.runs.console import printed
from ltdd_tui.runs.feed import Feed
from ltdd_tui.runs.loss_history import Series
from ltdd_tui.runs.messages import news
from ltdd_tui.runs.state import LogEntry, RunState, RunView, apply, with_worker


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


# A small file that somebody else writes, read again only when it has changed.


Content = TypeVar("Content")


class Reread(Generic[Content]):
    """The content that `load` makes of a file; what was read last stays when the file is gone."""

    def __init__(self, path: Path, load: Callable[[Path], Content], before: Content) -> None:
        self._path, self._load, self._content = path, load, before
        self._stamp: tuple[int, int] | None = None

    def read(self) -> Content:
        """The content now, or `before` as long as there has been no file."""
        try:
            stat = self._path.stat()
        except OSError:
            return self._content
        stamp = (stat.st_size, stat.st_mtime_ns)
        if stamp != self._stamp:
            self._stamp, self._content = stamp, self._load(self._path)
        return self._content


ALIVE_EVERY_SECONDS = 1.0


class _Journal:
    """The display that a run is read for: it keeps what the events say."""

    def __init__(self) -> None:
        self.log: Series[LogEntry] = Series()

    def show(self, item: Stamped | Warned, state: RunState) -> None:
        """Takes down one item."""
        text = news(item, state)
        if isinstance(item, Stamped) and isinstance(item.event, RunStarted) and not item.event.resumed:
            # The run begins anew; what is wrong with its file stays.
            self.log = Series(said for said in self.log if said.seconds is None)
        if text is not None:
            seconds = item.seconds if isinstance(item, Stamped) else None
            self.log = self.log.appended(LogEntry(seconds, text, state.iteration))


class LiveRun:
    """Reads a run's folder for as many screens as want it; `read` may be called from a thread, `view` from any."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._journal = _Journal()
        self._watched = Watched(folder)
        self._settings: Reread[RunSettings | None] = Reread(folder.config, _settings, None)
        self._manifest: Reread[Mapping[str, Any]] = Reread(folder.manifest, _manifest, {})
        self._console: Reread[tuple[str, ...]] = Reread(folder.console, printed, ())
        self._alive, self._asked = True, float("-inf")
        self._version = 0
        self.view = self._seen()

    def read(self, budget_seconds: float = 0.05) -> bool:
        """Takes in what is new, for about that long; returns whether that was all there is."""
        self._ask_whether_alive()
        before = self._watched.state
        caught_up = self._watched.take_new(self._journal, budget_seconds)
        seen = self._seen()
        if self._watched.state is not before or _besides(seen) != _besides(self.view):
            self._version += 1
            self.view = replace(seen, version=self._version)
        return caught_up

    def _ask_whether_alive(self) -> None:
        # Before the events are read: the other way round, a run that ends in between looks like a crash.
        if time.monotonic() - self._asked >= ALIVE_EVERY_SECONDS:
            self._alive, self._asked = self.folder.is_running(), time.monotonic()

    def _seen(self) -> RunView:
        return RunView(
            self.folder,
            with_worker(self._watched.state, self._alive),
            self._settings.read(),
            self._journal.log,
            not self.folder.root.is_dir(),
            self._version,
            alive=self._alive,
            console=self._console.read(),
            manifest=self._manifest.read(),
        )


def _besides(view: RunView) -> tuple[object, ...]:
    """What of a view changes without an event."""
    return view.state.status, view.gone, view.alive, view.settings, view.console, view.manifest


def _settings(config: Path) -> RunSettings | None:
    try:
        return load_preset(str(config))
    except (SettingsError, OSError):
        return None


def _manifest(path: Path) -> Mapping[str, Any]:
    found = read_json(path)
    return found if isinstance(found, dict) else {}
