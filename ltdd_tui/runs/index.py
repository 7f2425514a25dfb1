"""The runs and sweeps below a folder, each with its status in one line."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from engine.run.errors import SettingsError
from engine.run.events import ExpertEpoch, MatchingStep, RunStarted, Stamped, decode, type_name
from engine.run.folder import RunFolder
from engine.run.locks import is_held
from engine.run.manifest import newer_version
from engine.run.metrics import Figures, Metrics, readable_metrics, sound_metrics
from engine.run.presets import load_preset
from engine.run.regular_files import open_regular
from engine.sweep.cells import SweepFolder
from engine.sweep.grid import read_grid
from ltdd_tui.formatting import factor_name, first_few, percent_done, short_verdict, stage_name
from ltdd_tui.runs.feed import MOST_LOOKS, events_size
from ltdd_tui.runs.find import last_change
from ltdd_tui.runs.notes import read_notes
from ltdd_tui.runs.overall_progress import overall_progress
from ltdd_tui.runs.stages import planned_stages
from ltdd_tui.runs.state import RunState, agreeing_with_files, crashed_if_worker_died, fold, lost_result

HEAD_BYTES = 1 << 14
TAIL_BYTES = 1 << 16
# Of a run at work, so that the end holds the last progress of its stage: a group of experts tells many epochs first.
WORKING_TAIL_BYTES = 1 << 20
# As many experts may be trained at once (engine/training/groups.py), each with epochs of its own.
EPOCHS_KEPT = 16
# What a RunStarted and an Overview both say of a run.
CELL_FIELDS = ("dataset", "imbalance_factor", "ipc", "method", "seed")
STEP, EPOCH = (f'"type":"{type_name(kind)}"' for kind in (MatchingStep, ExpertEpoch))

# ---------------------------------------------------------------------------------------------------------------------
# One run in one line of a list


@dataclass(frozen=True)
class Overview:
    """A run in one line of a list. Accuracy in percent, where there is a result; `check_mean` is the latest check's.

    `changed` is when its events last changed, in seconds since 1970. `progress` is how far the whole run is, from 0 to
    1, or the further evaluation of a finished one; `seconds_left` what that still takes, where it is known.
    `interrupted` is the stage of a finished run that a worker ended in, without finishing it. `tags` and `note` are a
    person's own. `labels` is the label regime of these accuracies; `accuracies` are the final ones by regime, each with
    its standard deviation, where there is another regime than `stored`. `queued_behind` are the runs that the worker
    of a queued one waits for. `seconds` is the work that a finished one took, `failure` why a failed one failed.
    `lost`: what is wrong with the result of one that was done, and is stopped without it, or with the events of one.
    `cells` is of a sweep alone: how many of its cells are done, and how many it has. `verdict` is what a finished run
    says should be used, `check_on` whether checks are on test or validation images. `diverged`: whether networks of the
    final evaluation did, which spoils its accuracy.
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
    seconds_left: float | None = None
    interrupted: str | None = None
    tags: tuple[str, ...] = ()
    note: str = ""
    labels: str = "stored"
    accuracies: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    queued_behind: tuple[str, ...] = ()
    seconds: float | None = None
    failure: str = ""
    lost: str = ""
    cells: tuple[int, int] | None = None
    verdict: str = ""
    check_on: str = "test"
    diverged: bool = False

    @property
    def regimes(self) -> tuple[str, ...]:
        """The label regimes of its final accuracies, or of the checks before there are any."""
        return tuple(self.accuracies) or (self.labels,)

    @property
    def status(self) -> str:
        """The state and how far it is: `running 43 %`, or `done, evaluate 30 %` while a finished run is evaluated."""
        if self.state == "queued" and self.queued_behind:
            return f"queued behind {' '.join(first_few(self.queued_behind, 1))}"
        if self.cells:
            return f"{self.state} {self.cells[0]}/{self.cells[1]}"
        percent = "" if self.progress is None else f" {percent_done(self.progress)}"
        if self.state == "done" and self.stage:
            return f"done, {stage_name(self.stage.partition(' ')[0])}{percent}"
        if self.lost and self.state in ("done", "stopped"):
            return f"{self.state}, {'events' if self.state == 'done' else 'result'} damaged"
        if self.interrupted:
            return f"{self.state}, {stage_name(self.interrupted)} interrupted"
        return f"{self.state}{percent}"

    @property
    def cell(self) -> str:
        """Data set, imbalance factor and IPC."""
        if self.cells:
            return f"sweep of {self.cells[1]} cells"
        return f"{self.dataset} IF {factor_name(self.imbalance_factor)} IPC {self.ipc}" if self.dataset else "?"


def overview(folder: RunFolder) -> Overview:
    """One run in a line, from the two ends of its events, so that a list of long runs stays quick."""
    for _ in range(MOST_LOOKS):
        size, alive = events_size(folder), folder.is_running()
        started, state = _started_and_last_state(folder, WORKING_TAIL_BYTES if alive else TAIL_BYTES)
        if alive or size == events_size(folder):
            break
    metrics = readable_metrics(folder)
    state, lost = (state, None) if alive else agreeing_with_files(state, folder)
    if state.status == "waiting":
        # The end of a long file may hold no start and no end.
        state.status = "done" if metrics else "running" if started or alive else "waiting"
    state = crashed_if_worker_died(state, alive)
    # Also of a finished run: it may be evaluated on further networks.
    overall = overall_progress(state, time.time()) if alive else None
    left_off = [stage.name for stage in state.stages.by_name.values() if stage.status == "interrupted"]
    sound = sound_metrics(metrics)[0]
    final, verdict = sound.final, sound.verdict
    checks = state.evaluated("check")
    return replace(
        _blank(folder, state.status),
        stage=f"{overall.stage.name} {round(overall.stage.done, 1):g}/{overall.stage.total}" if overall else None,
        accuracy_mean=final.accuracy_mean if final else None,
        accuracy_std=_spread(final) if final else None,
        labels=sound.labels or state.regimes[0],
        accuracies=_by_regime(sound),
        progress=overall.share if overall else None,
        seconds_left=overall.seconds_left if overall else None,
        interrupted=left_off[-1] if left_off and state.status == "done" else None,
        check_mean=checks[-1].accuracy_mean if checks else None,
        check_on=checks[-1].tested_on if checks else "test",
        diverged=bool(final and final.diverged),
        verdict=short_verdict(verdict.use if verdict else None),
        queued_behind=state.queued_behind if state.status == "queued" else (),
        seconds=sum((sound.stage_seconds or {}).values()) or None,
        failure=state.failures[0].what if state.status == "failed" and state.failures else "",
        lost=lost.note if lost else "",
        **{name: getattr(started, name) for name in CELL_FIELDS if started},
    )


def _by_regime(metrics: Metrics) -> dict[str, tuple[float | None, float | None]]:
    """The final accuracies by label regime, where there is another than `stored`."""
    regimes = metrics.regimes or {}
    if regimes.keys() <= {"stored"}:
        return {}
    finals = {labels: figures.final for labels, figures in regimes.items() if figures.final}
    return {labels: (final.accuracy_mean, _spread(final)) for labels, final in finals.items()}


def _spread(figures: Figures) -> float | None:
    """The standard deviation over networks; one network has none."""
    return None if figures.repeats == 1 else figures.accuracy_std


def _started_and_last_state(folder: RunFolder, tail_bytes: int) -> tuple[RunStarted | None, RunState]:
    """The first RunStarted of the file, and the state that its last lines give."""
    try:
        with open_regular(folder.events) as file:
            head = file.read(HEAD_BYTES)
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - tail_bytes))
            tail = file.read()
    except OSError:
        return None, RunState()
    lines = tail.decode("utf-8", errors="replace").split("\n")[0 if size <= tail_bytes else 1 : -1]
    # Nearly all lines are matching steps and epochs. Only the last ones tell how far the run is: the rest need not be
    # decoded.
    steps, epochs = ([place for place, line in enumerate(lines) if kind in line] for kind in (STEP, EPOCH))
    passed = {*steps[:-1], *epochs[:-EPOCHS_KEPT]}
    kept = [line for place, line in enumerate(lines) if place not in passed]
    # A list shows no warnings about lines that cannot be read.
    state = fold(RunState(), [item for line in kept if isinstance(item := decode(line), Stamped)])
    started = state.started
    for line in head.decode("utf-8", errors="replace").split("\n")[:-1]:
        item = decode(line)
        if isinstance(item, Stamped) and isinstance(item.event, RunStarted):
            started = item.event
            break
    if started:
        _add_start(state, started)
    return started, state


def _add_start(state: RunState, started: RunStarted) -> None:
    """Takes in what the end of a long file no longer tells: which stages there are, and that the present one began."""
    state.started = state.started or started
    state.stages.plan(planned_stages(started))
    stage = next(
        (one for one in reversed(state.stages.by_name.values()) if one.status == "pending" and one.samples), None
    )
    if stage and state.stages.current is None:
        stage.status, stage.total = "running", stage.total or started.iterations
        stage.reached, state.stages.running = stage.share, stage.name


def sweep_overview(folder: SweepFolder) -> Overview:
    """A sweep in one line: `starting` and `running` while its workers are there, then `done`, `failed` or `stopped`."""
    working, behind, states = folder.is_running(), folder.queued_behind(), Counter[str]()
    for path in os.scandir(folder.root):
        cell = RunFolder(path.path)
        if cell.exists():
            state = "running" if cell.is_running() else "done" if not lost_result(cell) else overview(cell).state
            states[state] += 1
    done, cells = states["done"], math.prod(map(len, read_grid(folder.file).values()))
    if working and not states["running"]:
        state = "queued" if behind else "starting"
    elif states["running"] or done == cells:
        state = "running" if states["running"] else "done"
    else:
        ends = ("failed", "crashed", "stopped")
        state = next((end for end in ends if states[end]), "stopped" if states else "waiting")
    progress = done / cells if state == "running" else None
    blank = _blank(RunFolder(folder.root), state)
    return replace(blank, method="sweep", progress=progress, cells=(done, cells), queued_behind=behind)


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
        self._folders: dict[str, RunFolder] = {}
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
        self._folders = folders = {folder.name: folder for folder in self._look_for_folders()}
        self._stats = {name: _file_stats(folder) for name, folder in folders.items()}
        self._entries = {name: self._entries.get(name) or (None, _unread(folder)) for name, folder in folders.items()}
        changed = [name for name, stats in self._stats.items() if self._entries[name][0] != stats]
        self._to_read = sorted(changed, key=lambda name: last_change(folders[name]))

    def _look_for_folders(self) -> Iterator[RunFolder]:
        """Every folder that is a run or was one, or a sweep; names with a dot in front are none."""
        names: list[str] = []
        with contextlib.suppress(OSError):
            names = sorted(name for name in os.listdir(self.runs_dir) if not name.startswith("."))
        # To make the paths of hundreds of runs takes longer than to look at their files.
        folders = (self._folders.get(name) or RunFolder(self.runs_dir / name) for name in names)
        return (folder for folder in folders if folder.config.exists() or folder.events.exists() or _is_sweep(folder))


def _is_sweep(folder: RunFolder) -> bool:
    return not folder.config.exists() and SweepFolder(folder.root).exists()


def _file_stats(folder: RunFolder) -> FileStats:
    """What changes when anything that a list shows does."""
    files: tuple[Path, ...] = (folder.config, folder.events, folder.metrics, folder.distilled, folder.notes)
    if _is_sweep(folder):
        files = ((sweep := SweepFolder(folder.root)).file, sweep.queue, folder.notes)
        # Not by RunFolder: the paths of hundreds of cells take longer to make than to look at.
        cells = [path.path for path in os.scandir(folder.root) if path.is_dir()]
        results = [Path(cell, "result", name) for cell in cells for name in ("metrics.json", "distilled.safetensors")]
        of_cells = (*(is_held(Path(cell, "lock")) for cell in cells), *map(_mtime_and_size, results))
        return (folder.is_running(), *of_cells, *(_mtime_and_size(path) for path in files))
    return (folder.is_running(), *(_mtime_and_size(path) for path in files))


def _mtime_and_size(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def examined(folder: RunFolder) -> RunEntry:
    """One run as it stands; whatever its files hold, it gets its line, if only to say that it is damaged."""
    try:
        if _is_sweep(folder):
            return _entry(folder, sweep_overview(SweepFolder(folder.root)))
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
    if newer := newer_version(folder):
        return newer
    if folder.events.exists() and not os.access(folder.events, os.R_OK):
        return "events.jsonl may not be read"
    # One that has waited in the queue alone has not started yet.
    if (
        run.dataset is None
        and run.state in {"waiting", "running"}
        and (size := (_mtime_and_size(folder.events) or (0, 0))[1])
    ):
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
    notes = read_notes(folder.notes)
    return Overview(
        folder.name, state, changed=last_change(folder), path=str(folder.root), tags=notes.tags, note=notes.note
    )


def _unread(folder: RunFolder) -> RunEntry:
    return replace(_entry(folder, _blank(folder, "...")), read=False)


def _entry(folder: RunFolder, run: Overview, damage: str = "") -> RunEntry:
    config = _mtime_and_size(folder.config)
    return RunEntry(run, config[0] / 1e9 if config else run.changed, damage)
