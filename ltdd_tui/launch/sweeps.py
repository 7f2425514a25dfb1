"""The folder of a new sweep, how many of its cells are done at once, and what they cost."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

from engine.run.device_profiles import Device, usable_cores
from engine.run.errors import Fault, InputError, shortened
from engine.run.estimate import Estimate, estimate_or_none
from engine.run.expert_cache import CachedExperts, cached_experts, classifiers_trained_alike, teachers_trained_alike
from engine.run.folder import RunFolder, write_atomically
from engine.run.regular_files import read_regular
from engine.run.settings import RunSettings, settings_hash
from engine.run.validation import check_runnable, data_faults
from engine.sweep.cells import SweepFolder, WorkerKind, in_order, shared_by
from engine.sweep.grid import Cell, Sweep, only_cells, sweep_files
from engine.sweep.supervisor import threads_of
from ltdd_tui.formatting import duration
from ltdd_tui.launch import machine
from ltdd_tui.launch.machine import Needs, device_here, needs_of
from ltdd_tui.runs import manage, worker
from ltdd_tui.runs.worker import WorkerProcess

MEMORY_SHARE = 0.8
"""Of the machine's memory, what workers may take together."""
MOST_JOBS = 1024


def folder_of(sweep: Sweep, runs_dir: Path, name: str | None) -> SweepFolder:
    """The folder of a sweep, which is there where the sweep has begun with the same settings.

    Raises InputError for a name that is no folder's name, or that another sweep or a run has.
    """
    name = sweep.name if name is None else name
    manage.check_name(name)
    folder = SweepFolder(runs_dir / name)
    if not folder.exists():
        manage.check_free(name, runs_dir)
    elif read_regular(folder.file) != sweep.resolved.encode():
        hint = f"`ltdd-tui resume {folder.cli_name}` goes on with that one; another --name starts a new one"
        raise InputError(f"there is a sweep {name!r} with other settings already", str(folder.root), hint)
    return folder


def write_sweep(folder: SweepFolder, sweep: Sweep) -> None:
    """Makes the folder of a sweep that has not begun, once nothing refuses it; raises InputError where it cannot."""
    if folder.exists():
        return
    try:
        write_atomically(folder.file, sweep.resolved)
    except OSError as error:
        # A folder without its file is no sweep, and would only keep the name.
        with contextlib.suppress(OSError):
            folder.root.rmdir()
        raise InputError(f"the sweep's folder cannot be made: {error.strerror}", str(folder.root)) from None


def known_sweeps() -> tuple[dict[str, str], list[Fault]]:
    """The shipped sweeps and the user's own by name, with the first sentence of the comment in their files.

    With the faults of files that cannot be read, which are left out.
    """
    about, faults = dict[str, str](), list[Fault]()
    for name, path in sweep_files().items():
        try:
            lines = read_regular(path).decode(errors="replace").splitlines()
        except OSError as error:
            faults.append(Fault(f"cannot be read: {error.strerror}", str(path)))
            continue
        comment = " ".join(line.lstrip("# ") for line in takewhile(lambda line: line.startswith("#"), lines))
        about[name] = comment.partition(". ")[0].rstrip(".")
    return about, faults


def cost_text(sweep: Sweep, device_name: str) -> str:
    """How many cells a sweep has, how many are done at once here, and what that takes."""
    device = device_here(device_name)
    cost = cost_of(sweep.cells, device)
    jobs = jobs_here("auto", device, len(sweep.cells), cost.memory_gib)
    lines = [f"{len(sweep.cells):,} cells: {', '.join(f'{len(values)} x {key}' for key, values in sweep.grid.items())}"]
    lines.append(
        f"{duration(cost.total_seconds, 'estimate')} one after another on {device.name}, {jobs} at a time here"
    )
    lines.append(f"{cost.memory_gib:.1f} GiB of memory for each at once")
    if cost.unknown:
        lines.append(f"{cost.unknown:,} cells without an estimate")
    return "\n".join(lines)


def begin_sweep(
    folder: SweepFolder,
    device_name: str,
    only: Sequence[str] = (),
    behind: Sequence[RunFolder] = (),
    new: Sweep | None = None,
) -> WorkerProcess:
    """Starts or resumes the workers of a sweep, as many as this machine has room for; failed cells are tried again.

    They wait for the runs `behind` which the sweep is queued. new: a sweep whose folder may not be there yet. Raises
    SettingsError or InputError, and leaves no folder behind then.
    """
    sweep = new or folder.sweep()
    cells = only_cells(sweep, only)
    check_data(cells)
    own = workers_here(folder, sweep, cells, device_name)
    write_sweep(folder, sweep)
    return worker.start_sweep(folder, own.device, own.jobs, own.threads, only, True, behind)


def resume(folder: RunFolder, device: str, behind: Sequence[RunFolder] = ()) -> WorkerProcess:
    """Starts what goes on with a run or a sweep; raises as `begin_sweep`."""
    manage.check_queue(folder, behind)
    sweep = SweepFolder(folder.root)
    if sweep.exists():
        return begin_sweep(sweep, device, (), behind)
    machine.check_rest(folder, device)
    return worker.start(folder, device, behind)


@dataclass(frozen=True)
class Workers:
    """The workers of a sweep on this machine: how many at once, their device, and the threads of each.

    notes: what of memory or disk may be too little.
    """

    jobs: int
    device: str
    threads: int
    notes: tuple[str, ...] = ()


def workers_here(
    folder: SweepFolder, sweep: Sweep, cells: Sequence[Cell], device_name: str, jobs: str = "auto"
) -> Workers:
    """The workers that do some cells of a sweep; its first start decides device and threads, for all of its cells.

    Raises InputError for a device that the sweep was not begun on, or where memory or disk are too small.
    """
    kept = folder.worker_kind()
    if kept is None:
        device = device_here(device_name)
        memory = cost_of(sweep.cells, device).memory_gib
        # Not of these cells alone: the bytes of a cell must not depend on which others were asked for with it.
        threads = threads_of(jobs_here(jobs, device, len(sweep.cells), memory))
        at_once = jobs_here(jobs, device, len(cells), memory, threads)
        return Workers(at_once, device_name, threads, _checked_room(folder, cells, device, at_once))
    name = kept.device if device_name == "auto" else device_name
    device = device_here(name)
    folder.keep_worker_kind(WorkerKind(device.kind, kept.threads))
    memory = cost_of(cells, device).memory_gib
    at_once = jobs_here(jobs, device, len(cells), memory, kept.threads)
    return Workers(at_once, name, kept.threads, _checked_room(folder, cells, device, at_once))


def _checked_room(folder: SweepFolder, cells: Sequence[Cell], device: Device, at_once: int) -> tuple[str, ...]:
    """As `machine.check_room`, of the cells that are not finished."""
    needs = cost_of(cells, device, [cell.name for cell in cells if folder.run(cell).metrics.exists()]).needs
    together = replace(needs, memory_gib=at_once * needs.memory_gib)
    return tuple(machine.check_room(machine.rooms(together, device, folder.root)))


def check_data(cells: Sequence[Cell]) -> None:
    """Raises InputError for data of any cell that this machine lacks, or that are faulty."""
    faults, seen = [], set[str]()
    for cell in cells:
        own = cell.settings
        needs = settings_hash(own.dataset, own.initialize.start_set, own.experts.imported)
        if needs not in seen:
            faults += check_runnable(own) or data_faults(own.dataset, open_images=False)[0]
        seen.add(needs)
    if faults:
        raise InputError(list(dict.fromkeys(faults)))


def seconds_of_cells(folder: SweepFolder, device_name: str) -> dict[str, float]:
    """What each cell should take, by name, where it is known; raises SettingsError."""
    return cost_of(folder.sweep().cells, device_here(device_name)).seconds


@dataclass(frozen=True)
class SweepCost:
    """What is left to do of a sweep's cells, as far as it can be estimated.

    seconds: of each cell, by name, where it is known; what several cells share is counted at the first. memory_gib: of
    the largest cell. unknown: cells without an estimate. done: cells that are finished. needs: memory of one cell at a
    time, disk of all.
    """

    seconds: dict[str, float]
    memory_gib: float
    unknown: int
    done: int
    needs: Needs

    @property
    def total_seconds(self) -> float:
        """One cell after another."""
        return sum(self.seconds.values())


def cost_of(cells: Sequence[Cell], device: Device, finished: Sequence[str] = (), with_cache: bool = True) -> SweepCost:
    """The cost of the cells that are not `finished`, in the order in which workers take them.

    with_cache: experts that are in the cache of this machine cost nothing.
    """
    seconds, memory, unknown, seen = dict[str, float](), 0.0, 0, set[str]()
    needs = list[Needs]()
    left = [cell for cell in in_order(cells) if cell.name not in finished]
    for cell in left:
        estimate = _estimate(cell, device, seen, with_cache)
        if estimate is None:
            unknown += 1
            continue
        own = estimate.total_seconds - estimate.baselines_seconds
        # Random images are trained on once for all methods, starts once for all that start alike.
        own += sum(estimate.baselines_seconds / 2 for key in _baseline_keys(cell.settings) if _is_new(key, seen))
        seconds[cell.name], memory = own, max(memory, estimate.memory_gib)
        needs.append(needs_of(estimate, device))
    of_memory = max(needs, key=lambda own: own.memory_gib, default=Needs(0.0, 0.0, 0.0, 0.0))
    disk = sum(own.runs_gib for own in needs), sum(own.cache_gib for own in needs)
    whole = Needs(of_memory.memory_gib, of_memory.mapped_gib, *disk)
    return SweepCost(seconds, memory, unknown, len(cells) - len(left), whole)


def _is_new(key: str, seen: set[str]) -> bool:
    new = key not in seen
    seen.add(key)
    return new


def _estimate(cell: Cell, device: Device, seen: set[str], with_cache: bool) -> Estimate | None:
    """The estimate of a cell after what cells before it have trained, and what is in the cache."""
    own, data = cell.settings, shared_by(cell)
    representation = f"representation {data}"
    keys = {
        "representation": representation if own.trains_experts else "",
        "classifier": settings_hash(data, classifiers_trained_alike(own)) if own.trains_classifier_experts else "",
        "teacher": settings_hash(own.dataset, own.seed, teachers_trained_alike(own)) if own.trains_teacher else "",
    }
    whole = CachedExperts(own.experts.num_experts, own.experts.num_experts, own.teacher.networks)
    new = {kind for kind, key in keys.items() if key and _is_new(key, seen)}
    cached = cached_experts(own, device.kind) if new and with_cache else CachedExperts()
    known = [getattr(cached if kind in new else whole, kind) for kind in keys]
    return estimate_or_none(own, device, None, CachedExperts(*known))


def _baseline_keys(own: RunSettings) -> tuple[str, str]:
    """What decides the networks that are trained on random images, and on the set that a run starts from."""
    recipe = (own.dataset, own.seed, own.ipc, own.evaluate, own.hard, own.online, own.experts.width, own.experts.depth)
    labels = own.teacher if own.teacher_labels_start or "online" in own.evaluate.labels else None
    judged = own.teacher if own.needs_teacher else own.traits.decoupled
    start = (own.initialize, own.starting_images, own.has_soft_labels, judged)
    return settings_hash("random", *recipe, labels), settings_hash("start", *recipe, labels, *start)


def checked_jobs(asked: str) -> str:
    """`auto` or a number of workers; raises InputError for anything else."""
    # Python converts no more than 4300 digits, and those of other scripts too.
    number = int(asked) if asked.isascii() and asked.isdecimal() and len(asked) <= len(str(MOST_JOBS)) else 0
    if asked != "auto" and not 1 <= number <= MOST_JOBS:
        what = f"auto or a number of workers is needed, this is {shortened(asked)!r}"
        raise InputError(what, "--jobs", f"at most {MOST_JOBS:,}")
    return asked


def jobs_here(asked: str, device: Device, cells: int, memory_gib: float, threads: int = 1) -> int:
    """How many cells are done at once: as asked, or as many as cores, memory and cells allow, on a GPU one.

    threads: of each worker, at least.
    """
    if asked != "auto":
        return int(asked)
    if device.kind != "cpu":
        return 1
    cores, room = max(1, len(usable_cores()) // threads), machine.memory_gib(device)
    by_memory = int(MEMORY_SHARE * room / memory_gib) if room and memory_gib else cores
    return max(1, min(cores, by_memory, cells))
