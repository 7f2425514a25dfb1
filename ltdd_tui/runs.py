"""The runs below a folder: which there are, how each one stands, and which one a name means."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.run.errors import InputError
from engine.run.events import ExpertEpoch, MatchingStep, RunStarted, Stamped, decode, type_name
from engine.run.folder import RunFolder
from ltdd_tui.feed import Feed
from ltdd_tui.sound import are_percents
from ltdd_tui.stages import Stage
from ltdd_tui.state import RunState, fold, with_worker
from ltdd_tui.wording import factor_name

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


def readable_metrics(folder: RunFolder) -> dict[str, Any]:
    """The metrics of a finished run; empty where there are none, or where they are damaged."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(folder.metrics.read_text())
        return found if isinstance(found, dict) and _is_figure(found.get("final")) else {}
    return {}


def _is_figure(final: Any) -> bool:
    """Whether a list can show it; a figure that is not finite was written as null."""
    if not isinstance(final, dict):
        return False
    figures = [final.get(key) for key in ("accuracy_mean", "accuracy_std")]
    return all(value is None or (isinstance(value, float | int) and are_percents(value)) for value in figures)


def handle(folder: RunFolder) -> str:
    """What to call a run by: its name where the default place has it, else its path."""
    return folder.name if folder.root.parent == default_runs_dir().absolute() else str(folder.root)
