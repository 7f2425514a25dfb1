"""The runs below a folder: which there are, the status of each, and which one a name means."""

from __future__ import annotations

import contextlib
import difflib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from engine.run.errors import InputError, SettingsError
from engine.run.events import ExpertEpoch, MatchingStep, RunStarted, Stamped, decode, type_name
from engine.run.folder import RunFolder, expanded
from engine.run.metrics import readable_metrics
from engine.run.presets import load_preset
from ltdd_tui.formatting import factor_name
from ltdd_tui.runs.feed import events_size
from ltdd_tui.runs.live import RunStateReader
from ltdd_tui.runs.state import RunState, Stage, crashed_if_worker_died, fold

HEAD_BYTES = 1 << 14
TAIL_BYTES = 1 << 16
# What a RunStarted and an Overview both say of a run.
CELL_FIELDS = ("dataset", "imbalance_factor", "ipc", "method", "seed")
STEP, EPOCH = (f'"type":"{type_name(kind)}"' for kind in (MatchingStep, ExpertEpoch))

# ---------------------------------------------------------------------------------------------------------------------
# Where runs are, and which one a name means


def default_runs_dir() -> Path:
    """Where runs lie unless --runs-dir says otherwise: `$LTDD_RUNS_DIR`, else `runs` here."""
    return expanded(os.environ.get("LTDD_RUNS_DIR") or "runs")


def folder_of_runs(path: Path) -> Path:
    """The path as it is meant, which need not be there yet; raises InputError where it can hold no runs."""
    path = expanded(str(path))
    if path.exists() and not path.is_dir():
        raise InputError(
            "this is a file, and no folder that holds runs",
            str(path),
            "--runs-dir or LTDD_RUNS_DIR names another place",
        )
    return path


def find_run(run: str, runs_dir: Path) -> RunFolder:
    """The run of a name, of a path, or the newest for `last`; raises InputError where there is none."""
    if run == "last":
        if newest := max(run_folders(runs_dir), key=last_change, default=None):
            return newest
        raise InputError("there are no runs yet", str(runs_dir), "`ltdd-tui run quickstart` makes one")
    for path in (expanded(str(runs_dir / run)), expanded(run)) if run else ():
        # A name may be longer than the system allows.
        with contextlib.suppress(OSError, ValueError):
            if (folder := RunFolder(path)).exists():
                return folder
    similar = difflib.get_close_matches(run, [folder.name for folder in run_folders(runs_dir)], 1)
    hint = f"did you mean {similar[0]!r}?" if similar else "`ltdd-tui runs` lists them; --runs-dir looks elsewhere"
    raise InputError(f"there is no run {run!r}", str(runs_dir), hint)


def run_folders(runs_dir: Path) -> Iterator[RunFolder]:
    """Every run below `runs_dir`, by name; nothing where there is no such folder."""
    if runs_dir.is_dir():
        yield from (folder for path in sorted(runs_dir.iterdir()) if (folder := RunFolder(path)).exists())


def last_change(folder: RunFolder) -> float:
    """When the run's events last changed, or else its settings, in seconds since 1970."""
    for path in (folder.events, folder.config):
        with contextlib.suppress(OSError):
            return path.stat().st_mtime
    return 0.0


def cli_name(folder: RunFolder) -> str:
    """What to call a run by: its name where the default place has it, else its path."""
    return folder.name if folder.root.parent == default_runs_dir().absolute() else str(folder.root)


# ---------------------------------------------------------------------------------------------------------------------
# One run in one line of a list


def replayed(folder: RunFolder) -> RunState:
    """The state of a run by all of its events up to now."""
    reader = RunStateReader(folder)
    reader.skip_old()
    return reader.seen_state


@dataclass(frozen=True)
class Overview:
    """A run in one line of a list. Accuracy in percent, where there is a result; `check_mean` is the latest check's.

    `changed` is when its events last changed, in seconds since 1970; `progress` how far its stage is, from 0 to 1.
    """

    name: str
    state: str
    stage: str | None = None
    dataset: str | None = None
    imbalance_factor: float | str | None = None
    ipc: int | None = None
    method: str | None = None
    accuracy_mean: float | None = None
    accuracy_std: float | None = None
    changed: float = 0.0
    path: str = ""
    progress: float | None = None
    check_mean: float | None = None
    seed: int | None = None

    @property
    def cell(self) -> str:
        """Data set, imbalance factor and IPC."""
        return f"{self.dataset} IF {factor_name(self.imbalance_factor)} IPC {self.ipc}" if self.dataset else "?"


def overview(folder: RunFolder) -> Overview:
    """One run in a line, from the two ends of its events, so that a list of long runs stays quick."""
    while True:
        size, alive = events_size(folder), folder.is_running()
        started, state = _started_and_last_state(folder)
        if alive or size == events_size(folder):
            break
    metrics = readable_metrics(folder)
    if state.status == "waiting":
        # The end of a long file may hold no start and no end.
        state.status = "done" if metrics else "running" if started or alive else "waiting"
    state = crashed_if_worker_died(state, alive)
    # Also of a finished run: it may be evaluated on further networks.
    stage = _stage_under_way(state, started) if alive else None
    final = metrics.get("final") or {}
    checks = state.evaluated("check")
    return replace(
        _blank(folder, state.status),
        stage=f"{stage.name} {stage.done:g}/{stage.total}" if stage else None,
        accuracy_mean=final.get("accuracy_mean"),
        accuracy_std=final.get("accuracy_std"),
        progress=min(1.0, stage.done / stage.total) if stage and stage.total else None,
        check_mean=checks[-1].accuracy_mean if checks else None,
        **{name: getattr(started, name) for name in CELL_FIELDS if started},
    )


def _stage_under_way(state: RunState, started: RunStarted | None) -> Stage | None:
    """The present stage, also where the end of a long file tells only of its progress and no longer of its start."""
    if state.stages.current:
        return state.stages.current
    progressing = [stage for stage in state.stages.by_name.values() if stage.status == "pending" and stage.samples]
    if not progressing:
        return None
    return replace(progressing[-1], total=progressing[-1].total or (started.iterations if started else 0))


def _started_and_last_state(folder: RunFolder) -> tuple[RunStarted | None, RunState]:
    """The first RunStarted of the file, and the state that its last lines give."""
    try:
        with open(folder.events, "rb") as file:
            head = file.read(HEAD_BYTES)
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - TAIL_BYTES))
            tail = file.read()
    except OSError:
        return None, RunState()
    lines = tail.decode("utf-8", errors="replace").split("\n")[0 if size <= TAIL_BYTES else 1 : -1]
    # Nearly all lines are matching steps and epochs. Of the steps only the last tells how far the run is, and of the
    # epochs none: the rest need not be decoded.
    last_step = max((place for place, line in enumerate(lines) if STEP in line), default=None)
    kept = [line for place, line in enumerate(lines) if EPOCH not in line and (STEP not in line or place == last_step)]
    # A list shows no warnings about lines that cannot be read.
    state = fold(RunState(), [item for line in kept if isinstance(item := decode(line), Stamped)])
    for line in head.decode("utf-8", errors="replace").split("\n")[:-1]:
        item = decode(line)
        if isinstance(item, Stamped) and isinstance(item.event, RunStarted):
            return item.event, state
    return state.started, state


# ---------------------------------------------------------------------------------------------------------------------
# The list of runs, kept up to date: only what changed since the last look is read again, a little at a time

FileStats = tuple[object, ...]


@dataclass(frozen=True)
class RunEntry:
    """A run as a list shows it. `damage` says what is wrong with its files, empty where nothing is.

    `created` is when its settings were written, in seconds since 1970; `read` is false until the first look.
    """

    run: Overview
    created: float
    damage: str = ""
    read: bool = True

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.run.path)


def starting(entry: RunEntry) -> RunEntry:
    """The run as it is while a worker that was launched has not begun and its files do not say so yet."""
    at_rest = entry.run.state in {"waiting", "stopped", "failed", "crashed"}
    return replace(entry, run=replace(entry.run, state="starting")) if at_rest else entry


class RunIndex:
    """Looks through a folder of runs; `look` may be called from a thread, `listed` be read from any."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self.listed: tuple[RunEntry, ...] = ()
        self._stats: dict[str, FileStats] = {}
        # What each run said when it was last read, and how its files were then; None while it was never read.
        self._entries: dict[str, tuple[FileStats | None, RunEntry]] = {}
        self._to_read: list[str] = []

    def look(self, budget_seconds: float = 0.1) -> bool:
        """Takes in what has changed, newest first, for about that long; returns whether that was all.

        What was left is taken up by the next look, which sees what has changed meanwhile only after that.
        """
        deadline = time.monotonic() + budget_seconds
        if not self._to_read:
            self._compare_stats()
        while self._to_read:
            name = self._to_read.pop()
            self._entries[name] = self._stats[name], examined(RunFolder(self.runs_dir / name))
            if time.monotonic() > deadline:
                break
        self.listed = tuple(entry for _, entry in self._entries.values())
        return not self._to_read

    def _compare_stats(self) -> None:
        """Finds out which runs there are, and whose files have changed."""
        folders = {folder.name: folder for folder in _folders(self.runs_dir)}
        self._stats = {name: _file_stats(folder) for name, folder in folders.items()}
        self._entries = {name: self._entries.get(name) or (None, _unread(folder)) for name, folder in folders.items()}
        changed = [name for name, stats in self._stats.items() if self._entries[name][0] != stats]
        self._to_read = sorted(changed, key=lambda name: last_change(folders[name]))


def _folders(runs_dir: Path) -> Iterator[RunFolder]:
    """Every folder that is a run or was one; names with a dot in front are no runs."""
    names: list[str] = []
    with contextlib.suppress(OSError):
        names = sorted(name for name in os.listdir(runs_dir) if not name.startswith("."))
    folders = (RunFolder(runs_dir / name) for name in names)
    return (folder for folder in folders if folder.config.exists() or folder.events.exists())


def _file_stats(folder: RunFolder) -> FileStats:
    """What changes when anything that a list shows does."""
    return (folder.is_running(), *(_mtime_and_size(path) for path in (folder.config, folder.events, folder.metrics)))


def _mtime_and_size(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def examined(folder: RunFolder) -> RunEntry:
    """One run as it stands; whatever its files hold, it gets its line, if only to say that it is damaged."""
    try:
        run = overview(folder)
        damage = _damage(folder, run)
        if run.dataset is None and not damage:
            run = _from_settings(folder, run)
    except SettingsError as error:
        run, damage = _blank(folder, "damaged"), f"config.yaml: {error.faults[0].what}"
    # Foreign files can hold anything at all; a list that breaks on one of them shows none.
    except Exception as error:
        run, damage = _blank(folder, "damaged"), f"{type(error).__name__}: {error}"
    return _entry(folder, replace(run, state="damaged") if damage else run, damage)


def _damage(folder: RunFolder, run: Overview) -> str:
    if not folder.config.is_file():
        return "config.yaml is missing"
    if folder.events.exists() and not os.access(folder.events, os.R_OK):
        return "events.jsonl may not be read"
    if run.dataset is None and (size := (_mtime_and_size(folder.events) or (0, 0))[1]):
        return f"events.jsonl holds {size:,} bytes and no start of a run"
    return ""


def _from_settings(folder: RunFolder, run: Overview) -> Overview:
    """A run that no worker has taken up says what it is in its settings alone."""
    settings = load_preset(str(folder.config))
    dataset = settings.dataset
    return replace(
        run,
        dataset=dataset.name,
        imbalance_factor=dataset.imbalance_factor,
        ipc=settings.ipc,
        method=settings.method,
        seed=settings.seed,
    )


def _blank(folder: RunFolder, state: str) -> Overview:
    """A line of which only the name is known."""
    return Overview(folder.name, state, changed=last_change(folder), path=str(folder.root))


def _unread(folder: RunFolder) -> RunEntry:
    return replace(_entry(folder, _blank(folder, "...")), read=False)


def _entry(folder: RunFolder, run: Overview, damage: str = "") -> RunEntry:
    config = _mtime_and_size(folder.config)
    return RunEntry(run, config[0] / 1e9 if config else run.changed, damage)
