"""The runs below a folder: which there are, how each one stands, and which one a name means."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from engine.run.errors import InputError, SettingsError
from engine.run.events import ExpertEpoch, MatchingStep, RunStarted, Stamped, decode, type_name
from engine.run.folder import RunFolder
from engine.run.metrics import readable_metrics
from engine.run.presets import load_preset
from ltdd_tui.formatting import factor_name
from ltdd_tui.runs.feed import Feed
from ltdd_tui.runs.state import RunState, Stage, fold, with_worker

HEAD_BYTES = 1 << 14
TAIL_BYTES = 1 << 16
STEP, EPOCH = (f'"type":"{type_name(kind)}"' for kind in (MatchingStep, ExpertEpoch))


def default_runs_dir() -> Path:
    """Where runs lie unless --runs-dir says otherwise: `$LTDD_RUNS_DIR`, else `runs` here."""
    return Path(os.environ.get("LTDD_RUNS_DIR") or "runs")


def folder_of_runs(path: Path) -> Path:
    """The path, which need not be there yet; raises InputError where it can hold no runs."""
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
        return _newest(runs_dir)
    for path in (runs_dir / run, Path(run)) if run else ():
        # A name may be longer than the system allows.
        with contextlib.suppress(OSError, ValueError):
            if (folder := RunFolder(path)).exists():
                return folder
    raise InputError(f"there is no run {run!r}", str(runs_dir), _known(runs_dir, run))


def _newest(runs_dir: Path) -> RunFolder:
    folders = list(run_folders(runs_dir))
    if not folders:
        raise InputError("there are no runs yet", str(runs_dir), "`ltdd-tui run quickstart` makes one")
    return max(folders, key=last_change)


def _known(runs_dir: Path, wanted: str) -> str:
    import difflib

    names = [folder.name for folder in run_folders(runs_dir)]
    near = difflib.get_close_matches(wanted, names, 1)
    return f"did you mean {near[0]!r}?" if near else "`ltdd-tui runs` lists them; --runs-dir looks elsewhere"


def run_folders(runs_dir: Path) -> Iterator[RunFolder]:
    """Every run below `runs_dir`, by name; nothing where there is no such folder."""
    if runs_dir.is_dir():
        yield from (folder for path in sorted(runs_dir.iterdir()) if (folder := RunFolder(path)).exists())


def last_change(folder: RunFolder) -> float:
    """When the run last said something, in seconds since 1970."""
    for path in (folder.events, folder.config):
        with contextlib.suppress(OSError):
            return path.stat().st_mtime
    return 0.0


def replayed(folder: RunFolder) -> RunState:
    """The state of a run by all of its events up to now."""
    alive = folder.is_running()
    return with_worker(fold(RunState(), Feed(folder.events).read_all()), alive)


@dataclass(frozen=True)
class Overview:
    """A run in one line of a list. Accuracy in percent, where there is a result; `check_mean` is the latest check's.

    `progress` is how far the present stage is, from 0 to 1.
    """

    name: str
    state: str
    stage: str | None
    dataset: str | None
    imbalance_factor: float | str | None
    ipc: int | None
    method: str | None
    accuracy_mean: float | None
    accuracy_std: float | None
    changed: float
    path: str
    progress: float | None = None
    check_mean: float | None = None
    seed: int | None = None

    @property
    def cell(self) -> str:
        """Data set, imbalance factor and IPC."""
        return f"{self.dataset} IF {factor_name(self.imbalance_factor)} IPC {self.ipc}" if self.dataset else "?"


def overview(folder: RunFolder) -> Overview:
    """How a run stands, from the two ends of its events, so that a list of long runs stays quick."""
    alive = folder.is_running()
    started, state = _ends(folder)
    metrics = readable_metrics(folder)
    status = state.status
    if status == "waiting":
        # The end of a long file may hold no start and no end.
        status = "done" if metrics else "running" if started or alive else "waiting"
    if status == "running" and not alive:
        status = "crashed"
    # Also of a finished run: it may be evaluated on further networks.
    stage = _stage_under_way(state, started) if alive else None
    final = metrics.get("final") or {}
    return Overview(
        folder.name,
        status,
        f"{stage.name} {stage.done:g}/{stage.total}" if stage else None,
        started.dataset if started else None,
        started.imbalance_factor if started else None,
        started.ipc if started else None,
        started.method if started else None,
        final.get("accuracy_mean"),
        final.get("accuracy_std"),
        last_change(folder),
        str(folder.root),
        min(1.0, stage.done / stage.total) if stage and stage.total else None,
        _latest_check(state),
        started.seed if started else None,
    )


def _stage_under_way(state: RunState, started: RunStarted | None) -> Stage | None:
    """The present stage, also where the end of a long file tells only of its progress and no longer of its start."""
    if state.stages.current:
        return state.stages.current
    told = [stage for stage in state.stages.by_name.values() if stage.status == "pending" and stage.samples]
    if not told:
        return None
    return replace(told[-1], total=told[-1].total or (started.iterations if started else 0))


def _latest_check(state: RunState) -> float | None:
    checks = [event for event in state.evaluations.values() if event.subject == "check"]
    return checks[-1].accuracy_mean if checks else None


def _ends(folder: RunFolder) -> tuple[RunStarted | None, RunState]:
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
    state = fold(RunState(), [item for line in _telling(lines) if isinstance(item := decode(line), Stamped)])
    return _first_start(head) or state.started, state


def _telling(lines: list[str]) -> Iterator[str]:
    """The lines without those of which only the last one tells how the run stands, and which are nearly all."""
    last_step = max((place for place, line in enumerate(lines) if STEP in line), default=None)
    for place, line in enumerate(lines):
        if EPOCH not in line and (STEP not in line or place == last_step):
            yield line


def _first_start(head: bytes) -> RunStarted | None:
    for line in head.decode("utf-8", errors="replace").split("\n")[:-1]:
        item = decode(line)
        if isinstance(item, Stamped) and isinstance(item.event, RunStarted):
            return item.event
    return None


def handle(folder: RunFolder) -> str:
    """What to call a run by: its name where the default place has it, else its path."""
    return folder.name if folder.root.parent == default_runs_dir().absolute() else str(folder.root)


# The list of runs, kept up to date: only what changed since the last look is read again, a little at a time.


Marks = tuple[object, ...]


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
        """The run's files."""
        return RunFolder(self.run.path)


def starting(listed: RunEntry) -> RunEntry:
    """The run as it is while its worker has been sent and its files do not say so yet."""
    at_rest = listed.run.state in {"waiting", "stopped", "failed", "crashed"}
    return replace(listed, run=replace(listed.run, state="starting")) if at_rest else listed


class RunIndex:
    """Looks through a folder of runs; `look` may be called from a thread, `listed` be read from any."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self.listed: tuple[RunEntry, ...] = ()
        self._marks: dict[str, Marks] = {}
        self._known: dict[str, tuple[Marks, RunEntry]] = {}
        self._unread: dict[str, RunEntry] = {}
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


def examined(folder: RunFolder) -> RunEntry:
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


def _listed(folder: RunFolder, found: Overview, damage: str = "") -> RunEntry:
    created = _touched(folder.config)
    return RunEntry(found, created[0] / 1e9 if created else found.changed, damage)
