"""The driver of a sweep on more than one machine, by Ray Core: experts, networks of the teacher and cells are tasks.

A task is a function of settings into files: of the cache, or of a cell's run folder. The driver submits tasks, and
writes what comes back into the sweep's folder and the cache. These files stay the truth, so a task may be done twice,
on any node, and a sweep may go on without a cluster.

`python -m engine.cluster.driver FOLDER --address A` does the sweep. Exit codes are those of engine/sweep/supervisor.py.

Experts and networks of the teacher come first; a cell is submitted once those that it needs are there. What the cells'
run folders say is the truth: a driver that is started again submits the cells that are not finished.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.cluster.nodes import Node, ask_nodes, connected, last_line, marked, refuse_unfit, versions_here
from engine.cluster.tasks import (
    Board,
    CellTask,
    Files,
    Outcome,
    Place,
    held_soon,
    packed,
    read_files,
    request_stop,
    run_cell,
    run_gang,
    train_experts,
    train_teacher,
    unpack,
    write_files,
)
from engine.distributed import Gang
from engine.run.auto_settings import config_text
from engine.run.errors import DONE, FAILED, STOPPED, LtddError, StopSignals, escaped
from engine.run.event_log import EventLog
from engine.run.events import RunBroke
from engine.run.expert_cache import (
    ABOUT,
    NO_EPOCHS,
    cached_folders,
    classifier_epochs,
    classifiers_trained_alike,
    epochs_kept,
    expert_file,
    experts_root,
    representation_epochs,
    teachers_trained_alike,
    trained_alike,
)
from engine.run.folder import cache_root, write_atomically
from engine.run.locks import LockHeld, exclusive
from engine.run.settings import RunSettings, settings_hash
from engine.sweep.cells import SweepFolder, WorkerKind, in_order, statuses
from engine.sweep.grid import Cell, only_cells
from engine.sweep.supervisor import HELD

POLL_SECONDS = 1.0
RETRIES = 3
"""How often Ray does a task again whose node or process died."""


@dataclass
class Shared:
    """What several cells need: experts of a data set, or networks of a teacher. `settings`: those that ask for most."""

    settings: RunSettings
    count: int = 0
    waiting: int = 0
    parts: list[tuple[dict[str, int], Any]] = field(default_factory=list)

    def send(self, files: Files, ref: Any) -> None:
        """The cells that need it get these files, which the Ray object `ref` holds."""
        self.parts.append(({name: len(content) for name, content in files.items()}, ref))


def shared_keys(settings: RunSettings) -> dict[str, tuple[str, int]]:
    """What a cell shares with others, by the function that makes it: a hash, and how many of it the cell needs.

    Cells of one hash need the same ones, up to their number and the epochs that are kept.
    """
    keys = {}
    images = settings.dataset, settings.validation.sets_apart, settings.seed, settings.compile
    if settings.trains_experts and settings.experts.imported is None:
        own = *images, trained_alike(settings), classifiers_trained_alike(settings)
        keys["experts"] = settings_hash(*own), settings.experts.num_experts
    if settings.trains_teacher:
        keys["teacher"] = settings_hash(*images, teachers_trained_alike(settings)), settings.teacher.networks
    return keys


def plan(cells: Iterable[Cell]) -> dict[str, dict[str, Shared]]:
    """What has to be made before the cells, by kind and hash, with the settings of the cell that needs most of it."""
    made: dict[str, dict[str, Shared]] = {"experts": {}, "teacher": {}}
    for cell in cells:
        own = cell.settings
        for kind, (key, count) in shared_keys(own).items():
            shared = made[kind].setdefault(key, Shared(own))
            shared.count = max(shared.count, count)
            shared.settings = _most_of(shared.settings, own)
    return made


def _most_of(one: RunSettings, other: RunSettings) -> RunSettings:
    """Settings that need all epochs of experts, of both kinds, that one of the two needs."""
    both = sorted((one, other), key=lambda settings: settings.trains_classifier_experts)
    kept = max(map(representation_epochs, both))
    read = max((classifier_epochs(settings) for settings in both if settings.trains_classifier_experts), default=1)
    matching = {"expert_epochs": read, "max_start_epoch": max(1, kept - read + 1)}
    return both[1].model_copy(update={"matching": both[1].matching.model_copy(update=matching)})


@dataclass(frozen=True)
class Resources:
    """What one task takes. threads: of each process, fixed, since the bytes of a run depend on them."""

    threads: int
    gpus: int
    ranks: int

    @property
    def options(self) -> dict[str, Any]:
        """Ray's options of one process."""
        return {"num_cpus": self.threads, "num_gpus": self.gpus}

    @property
    def environment(self) -> dict[str, Any]:
        """Ray sets OMP_NUM_THREADS itself, to the CPUs of a task, or to 1: it is said here, and is in the manifest."""
        return {"env_vars": {"OMP_NUM_THREADS": str(self.threads)}}


def run_on_cluster(
    folder: SweepFolder,
    address: str,
    threads: int = 0,
    ranks: int = 1,
    device: str = "auto",
    only: Sequence[str] = (),
    failed: bool = False,
) -> int:
    """Does a sweep's cells on a Ray cluster (`local`, `auto`, or an address such as ray://head:10001).

    threads: CPUs of each process; by default as many as those before had, else 1. ranks: processes that share a cell
    with several trajectories. failed: whether cells that failed are tried again. Returns exit codes as
    `engine.sweep.supervisor.supervise`. Raises InputError where Ray, the cluster or a node does not fit.
    """
    cells = only_cells(folder.sweep(), only)
    if kept := folder.worker_kind():
        threads, device = threads or kept.threads, kept.device if device == "auto" else device
    threads = threads or 1
    for cell in cells:
        if _ranks_of(cell, ranks) > 1:
            Gang(0, ranks).refuse_unequal_shares(cell.settings.trajectories)
    with exclusive(folder.lock, HELD, "`ltdd-tui show` shows it"), connected(address) as ray:
        here = versions_here(ray)
        # Two sweeps of the same name and settings share a cache.
        key = f"{folder.name}-{settings_hash(str(folder.root), folder.sweep().resolved, here)}"
        folders = [folder.root, cache_root()]
        with marked(folders, key) as mark:
            nodes = ask_nodes(ray, folders, key, mark, sorted(_needed_paths(cells)))
            gpus = int(device != "cpu" and any(node.gpus for node in nodes))
            refuse_unfit(nodes, here, threads, gpus, max((_ranks_of(cell, ranks) for cell in cells), default=1))
            folder.keep_worker_kind(WorkerKind("cuda" if gpus else "cpu", threads))
            shared = all({str(path) for path in folders} <= set(node.sees) for node in nodes)
            place = Place(str(folder.root), str(cache_root()), shared, key, mark)
            return _Driver(ray, folder, place, nodes, Resources(threads, gpus, ranks), device).run(cells, failed)


def _ranks_of(cell: Cell, ranks: int) -> int:
    return ranks if cell.settings.trajectories > 1 else 1


def _needed_paths(cells: Iterable[Cell]) -> set[str]:
    """Files of the user that each node must have."""
    paths = {path for cell in cells for path in (cell.settings.dataset.path, cell.settings.initialize.start_set)}
    return {path for path in paths if path}


class _Driver:
    def __init__(
        self, ray: Any, folder: SweepFolder, place: Place, nodes: Sequence[Node], resources: Resources, device: str
    ) -> None:
        self._ray, self._folder, self._nodes, self._resources, self._device = ray, folder, nodes, resources, device
        self._place = place
        self._board = ray.remote(Board).options(num_cpus=0, max_restarts=-1, max_task_retries=-1).remote()
        self._shared: dict[Any, Shared] = {}  # tasks under way that make experts or networks
        self._cells: dict[Any, Cell] = {}  # tasks under way that do a cell
        self._begun: set[str] = set()
        self._requests, self._since = StopSignals(), time.monotonic()

    def run(self, cells: Sequence[Cell], failed: bool) -> int:
        """Submits and receives until all is done; returns the exit code."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _frame: self._requests.take(number))
        states = ("finished", "running") if failed else ("finished", "running", "failed")
        looked_at = statuses(self._folder, cells)
        over = {status.cell.name for status in looked_at if status.foreign or status.state in states}
        left = [cell for cell in in_order(cells) if cell.name not in over]
        cpus, gpus = (int(sum(getattr(node, of) for node in self._nodes)) for of in ("cpus", "gpus"))
        files = "are shared" if self._place.shared else "are sent"
        machines = f"{len(self._nodes)} nodes, {cpus} CPUs, {gpus} GPUs"
        say(f"{machines}; files {files}; {len(left)} of {len(cells)} cells are left to do")
        needs = self._submit_shared(left)
        while left or self._cells:
            if self._requests.numbers or self._folder.stop_request.exists():
                return self._stop()
            waits = {cell.name for cell in left if any(need.waiting for need in needs[cell.name])}
            for cell in left:
                if cell.name not in waits:
                    self._submit(cell, needs[cell.name])
            left = [cell for cell in left if cell.name in waits]
            self._receive()
        return DONE if all(status.state == "finished" for status in statuses(self._folder, cells)) else FAILED

    def _task(self, function: Any, **more: Any) -> Any:
        environment = {"runtime_env": self._resources.environment, "max_retries": RETRIES}
        return self._ray.remote(function).options(**self._resources.options, **environment, **more)

    def _submit_shared(self, cells: Sequence[Cell]) -> dict[str, list[Shared]]:
        """Submits what cells share; returns what each cell needs of it."""
        made = plan(cells)
        for kind, function in (("experts", train_experts), ("teacher", train_teacher)):
            for shared in made[kind].values():
                for numbers in self._portions(kind, self._send_cached(kind, shared)):
                    asked = numbers if kind == "experts" else numbers[0]
                    ref = self._task(function).remote(self._place, shared.settings, self._device, asked)
                    self._shared[ref] = shared
                    shared.waiting += 1
        if self._shared:
            say(f"{len(self._shared)} tasks train experts and teachers")
        needs = {}
        for cell in cells:
            needs[cell.name] = [made[kind][key] for kind, (key, _) in shared_keys(cell.settings).items()]
            if imported := cell.settings.experts.imported:
                needs[cell.name].append(self._imported(imported))
        return needs

    def _send_cached(self, kind: str, shared: Shared) -> list[int]:
        """Sends those experts or networks that are in the driver's cache, where files are sent; returns the others."""
        settings, missing = shared.settings, list[int]()
        folders = cached_folders(settings, "cuda" if self._resources.gpus else "cpu")
        wanted = [(folders.representation, representation_epochs(settings))]
        if settings.trains_classifier_experts:
            wanted.append((folders.classifier, classifier_epochs(settings)))
        if kind == "teacher":
            wanted = [(folders.teacher, NO_EPOCHS)]
        for number in range(shared.count):
            there = [
                folder for folder, epochs in wanted if folder and epochs_kept(expert_file(folder, number)) >= epochs
            ]
            if len(there) < len(wanted):
                missing.append(number)
            elif not self._place.shared:
                files = read_files([path for folder in there for path in (folder / ABOUT, expert_file(folder, number))])
                shared.send(files, self._ray.put(files))
        return missing

    def _portions(self, kind: str, missing: Sequence[int]) -> list[Sequence[int]]:
        """The numbers of experts or networks that each task makes: one, or on GPUs as many as keep each GPU busy."""
        gpus = int(sum(node.gpus for node in self._nodes)) if self._resources.gpus else len(missing)
        at_once = -(-len(missing) // max(1, gpus)) if kind == "experts" else 1
        return [missing[first : first + at_once] for first in range(0, len(missing), at_once)] if missing else []

    def _imported(self, key: str) -> Shared:
        """Experts that were trained elsewhere, as they lie in the driver's cache."""
        folder = experts_root() / key
        files = {} if self._place.shared else read_files([*folder.glob("*.json"), *folder.glob("*.safetensors")])
        shared = Shared(RunSettings())
        if files:
            shared.send(files, self._ray.put(files))
        return shared

    def _submit(self, cell: Cell, needs: Sequence[Shared]) -> None:
        run = self._folder.run(cell)
        begun = packed(run) if run.exists() and not self._place.shared else None
        parts = [part for need in needs for part in need.parts]
        task = CellTask(self._place, cell, self._device, begun, parts)
        if (ranks := _ranks_of(cell, self._resources.ranks)) > 1:
            options = {"num_cpus": 0, "max_retries": RETRIES}
            of_each = ranks, self._resources.options, self._resources.environment
            ref = self._ray.remote(run_gang).options(**options).remote(task, self._board, *of_each)
        else:
            ref = self._task(run_cell).remote(task, self._board)
        self._cells[ref] = cell

    def _receive(self) -> None:
        """Waits for a while for one task, and writes what came back."""
        done, _ = self._ray.wait([*self._shared, *self._cells], num_returns=1, timeout=POLL_SECONDS)
        for name, node in self._ray.get(self._board.read.remote()):
            say(f"{name}: {'begins again' if name in self._begun else 'running'} on {node}")
            self._begun.add(name)
        for ref in done:
            if ref in self._shared:
                self._receive_shared(ref)
            else:
                self._receive_cell(ref)

    def _receive_shared(self, ref: Any) -> None:
        shared = self._shared.pop(ref)
        shared.waiting -= 1
        try:
            files = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            # The cells will try it themselves, and say in their run folders what is wrong.
            say(f"experts or a teacher could not be trained by themselves: {last_line(error)}")
            return
        write_files(files)
        if files:
            shared.send(files, ref)
        if not self._shared:
            say(f"experts and teachers are there after {time.monotonic() - self._since:.1f} s")

    def _receive_cell(self, ref: Any) -> None:
        cell = self._cells.pop(ref)
        run = self._folder.run(cell)
        try:
            outcome: Outcome = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            kept = self._ray.get(self._board.kept.remote(cell.name))
            outcome = kept or Outcome("failed", "", note=last_line(error))
        if outcome.folder is not None:
            unpack(outcome.folder, run)
        status = next(iter(statuses(self._folder, [cell])))
        if outcome.note and status.state != "failed" and outcome.state == "failed":
            # Nobody else could tell it: the process or the node died, again and again.
            if not run.exists():
                write_atomically(run.config, config_text(cell.settings, cell.reasons))
            # Where the lock of the dead process does not get free, the line below tells it alone.
            with contextlib.suppress(LockHeld), held_soon(run), EventLog(run.events) as log:
                log.emit(RunBroke(outcome.note, f"node {outcome.node}" if outcome.node else "cluster"))
            status = next(iter(statuses(self._folder, [cell])))
        accuracy = "" if status.accuracy_mean is None else f", {status.accuracy_mean:.1f} %"
        why = status.faults[0].what if status.faults else outcome.note
        say(f"{cell.name}: {status.state}{accuracy}{why and f': {why}'}")

    def _stop(self) -> int:
        """Stops all cells at safe points, and receives how far they got; a second signal ends this at once."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        say("stopping at safe points; once more ends at once")
        self._folder.stop_request.touch()
        for ref in [*self._shared, *(ref for ref, cell in self._cells.items() if cell.name not in self._begun)]:
            self._ray.cancel(ref)
            self._shared.pop(ref, None)
            self._cells.pop(ref, None)
        if not self._place.shared:
            for node in self._nodes:
                there = NodeAffinitySchedulingStrategy(node.id, soft=True)
                self._ray.remote(request_stop).options(num_cpus=0, scheduling_strategy=there).remote(self._place)
        while self._cells and len(self._requests.numbers) < 2:
            self._receive()
        return STOPPED


def say(line: str) -> None:
    """A line of progress, on stderr."""
    print(f"{time.strftime('%H:%M:%S')} {escaped(line)}", file=sys.stderr, flush=True)


def main() -> int:
    """Reads the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m engine.cluster.driver")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--address", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--failed", action="store_true")
    own = parser.parse_args()
    try:
        folder = SweepFolder(own.folder)
        return run_on_cluster(folder, own.address, own.threads, own.ranks, own.device, own.only, own.failed)
    except LtddError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
