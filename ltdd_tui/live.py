"""A run that a screen shows: its events folded into a state, and what they said, read a little at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.run.errors import SettingsError
from engine.run.events import RunStarted, Stamped, Warned
from engine.run.folder import RunFolder, read_json
from engine.run.presets import load_preset
from engine.run.settings import RunSettings
from ltdd_tui.follow import Watched
from ltdd_tui.plain import news
from ltdd_tui.printed import printed
from ltdd_tui.reread import Reread
from ltdd_tui.series import Series
from ltdd_tui.state import RunState, with_worker

ALIVE_EVERY_SECONDS = 1.0


@dataclass(frozen=True)
class Said:
    """One entry of a run's log: when (seconds since 1970, None for a fault of the file itself) and what.

    `iteration` is how far the run was.
    """

    seconds: float | None
    text: str
    iteration: int = 0


@dataclass(frozen=True)
class View:
    """What panels draw: the run as it stands, or as it stood at iteration `at` while it is replayed.

    `settings` is None where config.yaml cannot be read. `version` grows with every change, so that a panel can tell.
    `alive` is whether a worker holds the run, `console` the last lines that it printed, `manifest` its manifest.json.
    """

    folder: RunFolder
    state: RunState
    settings: RunSettings | None
    log: Series[Said]
    gone: bool
    version: int
    at: int | None = None
    alive: bool = False
    console: tuple[str, ...] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict)


class _Journal:
    """The display that a run is read for: it keeps what the events say."""

    def __init__(self) -> None:
        self.log: Series[Said] = Series()

    def show(self, item: Stamped | Warned, state: RunState) -> None:
        """Takes down one item."""
        text = news(item, state)
        if isinstance(item, Stamped) and isinstance(item.event, RunStarted) and not item.event.resumed:
            # The run begins anew; what is wrong with its file stays.
            self.log = Series(said for said in self.log if said.seconds is None)
        if text is not None:
            seconds = item.seconds if isinstance(item, Stamped) else None
            self.log = self.log.appended(Said(seconds, text, state.iteration))


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

    def _seen(self) -> View:
        return View(
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


def _besides(view: View) -> tuple[object, ...]:
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
