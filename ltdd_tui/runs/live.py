"""A run that a screen shows: its events folded into a state, and what they said, read a little at a time.

Threads: `LiveRun.read` is called by one thread at a time, and that thread owns the state and the log. `LiveRun.view`
may be looked at from any: each view holds a snapshot, is never changed, and is put in place by one assignment.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Generic, TypeVar

from engine.run.errors import Fault, SettingsError
from engine.run.events import RunStarted, Stamped, Warned
from engine.run.folder import JSON_OBJECT, RunFolder, read_typed
from engine.run.manifest import Manifest, read_manifest, settings_changed
from engine.run.metrics import sound_metrics
from engine.run.presets import load_preset
from engine.run.settings import RunSettings
from ltdd_tui.runs.confusion import Confusion, read_confusion
from ltdd_tui.runs.console import is_refusal, printed, printed_by_run
from ltdd_tui.runs.feed import MOST_LOOKS, Feed, events_size
from ltdd_tui.runs.messages import log_message
from ltdd_tui.runs.notes import Notes, read_notes
from ltdd_tui.runs.rows import stored_text
from ltdd_tui.runs.state import (
    LogEntry,
    RunState,
    RunView,
    agreeing_with_files,
    crashed_if_worker_died,
)

ALIVE_EVERY_SECONDS = 1.0


SettingsAndFaults = tuple[RunSettings | None, tuple[Fault, ...]]
Show = Callable[[Stamped | Warned, RunState], None]
"""Is told each item of a run; the state is the live one after that item, which the next item changes."""


class RunStateReader:
    """A run folder that is followed: its events are applied to `state` as they come.

    `has_news` is whether the last `take_new` took anything in, `alive` whether a worker holds the run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.state = RunState()
        self.has_news = False
        # Until the first look: what cannot be known is no reason for an alarm.
        self.alive = True
        self._looked_at = float("-inf")
        self._feed = Feed(folder.events)
        self._restarts = 0

    def take_new(self, show: Show | None, budget_seconds: float = 0.2) -> bool:
        """Applies and shows what is new; returns whether that was all there is, and fits to `alive`."""
        size = events_size(self.folder)
        # Before the events are read: the other way round, a run that ends in between looks like a crash.
        self._look_for_worker()
        caught_up = self._apply_new(show, budget_seconds)
        # A worker may have begun since the look: what was written after it says nothing of who was there then.
        return caught_up and (self.alive or not self.state.is_under_way or size == events_size(self.folder))

    @property
    def unreadable(self) -> str:
        """Why the events cannot be read, as the system says it; empty where they can."""
        return self._feed.unreadable

    @property
    def seen_state(self) -> RunState:
        """A snapshot of the state, crashed where its worker died; trust that after a `take_new` that was all."""
        return crashed_if_worker_died(self.state.snapshot(), self.alive)

    def _look_for_worker(self) -> None:
        if not self.alive or time.monotonic() - self._looked_at >= ALIVE_EVERY_SECONDS:
            self.alive, self._looked_at = self.folder.is_running(), time.monotonic()

    def _apply_new(self, show: Show | None, budget_seconds: float) -> bool:
        items = self._feed.read_new(budget_seconds)
        if self._feed.restarts != self._restarts:
            self._restarts, self.state = self._feed.restarts, RunState()
        for item in items:
            self.state.apply(item)
            if show:
                show(item, self.state)
        self.has_news = bool(items)
        return self._feed.caught_up

    def skip_old(self) -> None:
        """Takes in, without showing it, everything up to now."""
        looks = 0
        while not self.take_new(None) and looks < MOST_LOOKS:
            looks += self._feed.caught_up


def replayed(folder: RunFolder) -> RunState:
    """The state of a run by all of its events up to now."""
    reader = RunStateReader(folder)
    reader.skip_old()
    return reader.seen_state


Content = TypeVar("Content")


class CachedFile(Generic[Content]):
    """The content that `load` makes of a file, read again only when it has changed; the last one outlives the file."""

    def __init__(self, path: Path, load: Callable[[Path], Content], before: Content) -> None:
        self._path, self._load, self._content = path, load, before
        self._size_and_mtime: tuple[int, int] | None = None

    def read(self) -> Content:
        """The content now, or `before` as long as there has been no file."""
        try:
            stat = self._path.stat()
        except OSError:
            return self._content
        size_and_mtime = (stat.st_size, stat.st_mtime_ns)
        if size_and_mtime != self._size_and_mtime:
            self._size_and_mtime, self._content = size_and_mtime, self._load(self._path)
        return self._content


class LiveRun:
    """Reads a run's folder for as many screens as want it, and keeps the log of what its events said."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._watched = RunStateReader(folder)
        self._log: list[LogEntry] = []
        self._settings: CachedFile[SettingsAndFaults] = CachedFile(folder.config, read_settings, (None, ()))
        self._manifest = CachedFile(folder.manifest, lambda path: read_manifest(folder), Manifest())
        self._confusion: CachedFile[Confusion | None] = CachedFile(folder.confusion, read_confusion, None)
        self._stored: CachedFile[str] = CachedFile(folder.metrics, _read_stored, "")
        self._console: CachedFile[tuple[str, ...]] = CachedFile(folder.console, printed, ())
        self._notes: CachedFile[Notes] = CachedFile(folder.notes, read_notes, Notes())
        self._known: tuple[bool, bool, Fault | None] = (True, False, None)
        self.view = self._with_files(RunView(folder, RunState(), None, self._log, gone=False, version=0))

    def read(self, budget_seconds: float = 0.05) -> bool:
        """Takes in what is new, for about that long; returns whether that was all there is."""
        watched = self._watched
        settled = watched.take_new(self._add_to_log, budget_seconds)
        # Whether a worker has died, or a file is lost, is known only once all is read.
        state, lost = (watched.seen_state if settled else watched.state.snapshot()), None
        if settled and not watched.alive:
            state, lost = agreeing_with_files(state, self.folder)
        before, after = self.view, self._with_files(self.view, lost)
        known, self._known = self._known, (watched.alive, settled, lost)
        if watched.has_news or known != self._known:
            after = replace(after, state=state, log=self._log)
        if after.state is not before.state or _without_events(after) != _without_events(before):
            self.view = replace(after, version=before.version + 1)
        return settled

    @property
    def unreadable(self) -> str:
        """As of RunStateReader."""
        return self._watched.unreadable

    def _add_to_log(self, item: Stamped | Warned, state: RunState) -> None:
        text = log_message(item, state)
        if isinstance(item, Stamped) and isinstance(item.event, RunStarted) and not item.event.resumed:
            # The run begins anew; what is wrong with its file stays.
            self._log = [entry for entry in self._log if entry.seconds is None]
        if text is not None:
            if self._log is self.view.log:
                self._log = self._log.copy()
            self._log.append(LogEntry(item.seconds if isinstance(item, Stamped) else None, text, state.iteration))

    def _with_files(self, view: RunView, lost: Fault | None = None) -> RunView:
        """The view with what stands beside the events as it is now; `lost`: why its result is lost."""
        console = self._console.read()
        return replace(
            view,
            settings=self._settings.read()[0],
            gone=not self.folder.root.is_dir(),
            alive=self._watched.alive,
            console=printed_by_run(self.folder) if is_refusal(console) else console,
            manifest=self._manifest.read(),
            notes=self._notes.read(),
            confusion=self._confusion.read(),
            stored=self._stored.read(),
            # What a worker writes is not looked at before it has ended.
            damage=None if self._watched.alive else self.folder.damaged_result() or lost,
        )


def _without_events(view: RunView) -> tuple[object, ...]:
    """What of a view changes without an event."""
    return (
        view.gone,
        view.alive,
        view.settings,
        view.console,
        view.manifest,
        view.notes,
        view.confusion,
        view.stored,
        view.damage,
    )


def read_settings(config: Path) -> SettingsAndFaults:
    """The settings of a run's config.yaml; None, and why, where they cannot be read or are not those of the run."""
    try:
        settings = load_preset(str(config))
        if not settings_changed(RunFolder(config.parent), settings):
            return settings, ()
        return None, (Fault("the settings were changed since the run began", str(config), "put them back"),)
    except SettingsError as error:
        return None, tuple(error.faults)
    except OSError as error:
        return None, (Fault(f"{error.strerror}", str(config)),)


def _read_stored(path: Path) -> str:
    """What the set takes where it is kept, by its metrics.json; empty for a run of an older version."""
    metrics = read_typed(path, JSON_OBJECT)
    return stored_text(sound_metrics(metrics or {})[0])
