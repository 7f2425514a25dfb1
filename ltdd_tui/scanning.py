"""The list of runs, kept up to date: only what changed since the last look is read again, a little at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from engine.run.errors import SettingsError
from engine.run.folder import RunFolder
from engine.run.presets import load_preset
from ltdd_tui.runs import Overview, last_change, overview

Marks = tuple[object, ...]


@dataclass(frozen=True)
class Listed:
    """A run as a list shows it. `damage` says what is wrong with its files, empty where nothing is.

    `created` is when its settings were written, in seconds since 1970; `read` is false until the first look.
    """

    run: Overview
    created: float
    damage: str = ""
    read: bool = True

    @property
    def folder(self) -> RunFolder:
        """The run's files."""
        return RunFolder(self.run.path)


def starting(listed: Listed) -> Listed:
    """The run as it is while its worker has been sent and its files do not say so yet."""
    at_rest = listed.run.state in {"waiting", "stopped", "failed", "crashed"}
    return replace(listed, run=replace(listed.run, state="starting")) if at_rest else listed


class Scanner:
    """Looks through a folder of runs; `look` may be called from a thread, `listed` be read from any."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self.listed: tuple[Listed, ...] = ()
        self._marks: dict[str, Marks] = {}
        self._known: dict[str, tuple[Marks, Listed]] = {}
        self._unread: dict[str, Listed] = {}
        self._left: list[str] = []

    def look(self, budget_seconds: float = 0.1) -> bool:
        """Takes in what has changed, newest first, for about that long; returns whether that was all.

        What was left is taken up by the next look, which sees what has changed meanwhile only after that.
        """
        give_up = time.monotonic() + budget_seconds
        if not self._left:
            self._compare()
        while self._left:
            name = self._left.pop()
            self._known[name] = self._marks[name], examined(RunFolder(self.runs_dir / name))
            if time.monotonic() > give_up:
                break
        self.listed = tuple(self._known[name][1] if name in self._known else self._unread[name] for name in self._marks)
        return not self._left

    def _compare(self) -> None:
        """Finds out which runs there are, and which of them say something new."""
        self._marks = {folder.name: _marks(folder) for folder in _folders(self.runs_dir)}
        self._known = {name: known for name, known in self._known.items() if name in self._marks}
        changed = [name for name, now in self._marks.items() if name not in self._known or self._known[name][0] != now]
        self._left = sorted(changed, key=lambda name: last_change(RunFolder(self.runs_dir / name)))
        new = (RunFolder(self.runs_dir / name) for name in changed if name not in self._known)
        self._unread = {folder.name: replace(_listed(folder, _nothing(folder, "...")), read=False) for folder in new}


def _folders(runs_dir: Path) -> Iterator[RunFolder]:
    """Every folder that is a run or was one; names with a dot in front are no runs."""
    try:
        with os.scandir(runs_dir) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except OSError:
        return
    for name in names:
        folder = RunFolder(runs_dir / name)
        if folder.config.exists() or folder.events.exists():
            yield folder


def _marks(folder: RunFolder) -> Marks:
    """What changes when anything that a list shows does."""
    return (folder.is_running(), *(_touched(path) for path in (folder.config, folder.events, folder.metrics)))


def _touched(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def examined(folder: RunFolder) -> Listed:
    """One run as it stands; whatever its files hold, it gets its line, if only to say that it is damaged."""
    try:
        found = overview(folder)
        damage = _damage(folder, found)
        if found.dataset is None and not damage:
            found = _from_settings(folder, found)
    except SettingsError as error:
        found, damage = _nothing(folder, "damaged"), f"config.yaml: {error.faults[0].what}"
    # Foreign files can hold anything at all; a list that breaks on one of them shows none.
    except Exception as error:
        found, damage = _nothing(folder, "damaged"), f"{type(error).__name__}: {error}"
    return _listed(folder, replace(found, state="damaged") if damage else found, damage)


def _damage(folder: RunFolder, found: Overview) -> str:
    if not folder.config.is_file():
        return "config.yaml is missing"
    if folder.events.exists() and not os.access(folder.events, os.R_OK):
        return "events.jsonl may not be read"
    if found.dataset is None and (size := (_touched(folder.events) or (0, 0))[1]):
        return f"events.jsonl holds {size:,} bytes and no start of a run"
    return ""


def _from_settings(folder: RunFolder, found: Overview) -> Overview:
    """A run that no worker has taken up says what it is in its settings alone."""
    settings = load_preset(str(folder.config))
    dataset = settings.dataset
    return replace(
        found,
        dataset=dataset.name,
        imbalance_factor=dataset.imbalance_factor,
        ipc=settings.ipc,
        method=settings.method,
        seed=settings.seed,
    )


def _nothing(folder: RunFolder, state: str) -> Overview:
    nothing = dict.fromkeys(
        ("stage", "dataset", "imbalance_factor", "ipc", "method", "accuracy_mean", "accuracy_std"), None
    )
    return Overview(name=folder.name, state=state, changed=last_change(folder), path=str(folder.root), **nothing)


def _listed(folder: RunFolder, found: Overview, damage: str = "") -> Listed:
    created = _touched(folder.config)
    return Listed(found, created[0] / 1e9 if created else found.changed, damage)
