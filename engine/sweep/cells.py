"""What the run folders of a sweep say: the state of each cell, and the order in which workers take them. No torch.

The folders are all there is to know: a cell is finished once its run has a result, and waits while it has no folder.
A folder whose settings are not those of the sweep is not the cell: nothing of it counts, and nothing is done in it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engine.run.errors import Fault, InputError, SettingsError
from engine.run.events import (
    Checkpointed,
    ExpertDone,
    RunBroke,
    RunFinished,
    RunStarted,
    RunStopped,
    Stamped,
    decode,
    type_name,
)
from engine.run.expert_cache import classifier_epochs, representation_epochs, trained_alike
from engine.run.folder import JSON_OBJECT, RunFolder, cli_name, read_typed, write_json
from engine.run.locks import is_held
from engine.run.manifest import read_manifest
from engine.run.metrics import readable_metrics
from engine.run.presets import load_preset
from engine.run.regular_files import open_regular, read_regular
from engine.run.settings import RunSettings, settings_hash
from engine.sweep.grid import FILE, Cell, Sweep, load_sweep

State = Literal["waiting", "running", "finished", "failed", "stopped"]


class SweepFolder:
    """A sweep's folder: sweep.yaml, and a run folder for each cell that a worker has begun with.

    Creating the object touches nothing.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).absolute()
        self.name = self.root.name
        self.file = self.root / FILE
        # Held by whoever starts its workers (engine/sweep/supervisor.py), and what these print beside the runs.
        self.lock = self.root / "lock"
        self.console = self.root / "console.log"
        self.stop_request = self.root / "stop"
        # The device and threads of its workers, written by the first one; and whether same bytes are promised.
        self.workers = self.root / "workers.json"
        # The names of the runs that it waits for, while it is held and has begun with no cell.
        self.queue = self.root / "queue"

    @property
    def cli_name(self) -> str:
        """What a person calls it by at a shell."""
        return cli_name(self.root)

    def exists(self) -> bool:
        """Whether this is a sweep."""
        return self.file.is_file()

    def is_running(self) -> bool:
        """Whether a process looks after workers of this sweep."""
        return is_held(self.lock)

    def cells_at_work(self) -> list[RunFolder]:
        """The cells that workers hold, also those whose supervisor has died and left them behind."""
        with contextlib.suppress(OSError):
            paths = sorted(path.path for path in os.scandir(self.root) if path.is_dir())
            return [RunFolder(path) for path in paths if is_held(Path(path, "lock"))]
        return []

    def queued_behind(self) -> tuple[str, ...]:
        """The names of the runs that it waits for in the queue."""
        with contextlib.suppress(OSError):
            if self.queue.exists() and self.is_running():
                return tuple(read_regular(self.queue).decode(errors="replace").split("\n")[:-1])
        return ()

    def sweep(self) -> Sweep:
        """The sweep; raises SettingsError where its file is damaged, InputError where there is none."""
        if not self.exists():
            raise InputError("this is no sweep: it has no sweep.yaml", str(self.root))
        return load_sweep(str(self.root))

    def worker_kind(self) -> WorkerKind | None:
        """What its first worker computed with; None before that. Raises InputError where the file is damaged."""
        match self._noted():
            case {"device": str(device), "threads": int(threads)} if threads > 0:
                return WorkerKind(device, threads)
        return None

    def keep_worker_kind(self, own: WorkerKind) -> None:
        """Lets all workers compute with the same as the first: the bytes of a run depend on it.

        Raises InputError for another one.
        """
        kept = self.worker_kind()
        if kept is None:
            noted = self._noted() | {"device": own.device, "threads": own.threads}
            write_json(self.workers, noted, sealed=True)
        elif kept != own:
            what = f"this sweep was begun on {kept}, and this would be {own}: its cells could not be compared"
            hint = "leave --device and --threads out, or start another sweep with --name"
            raise InputError(what, str(self.workers), hint)

    @property
    def same_bytes(self) -> bool | None:
        """Whether its cells refuse what is of another origin (engine/run/manifest.py); None where nobody said it."""
        promise = self._noted().get("same_bytes")
        return promise if isinstance(promise, bool) else None

    def promise_same_bytes(self, promise: bool) -> None:
        """Notes it for all cells that are begun or gone on with from now on."""
        write_json(self.workers, self._noted() | {"same_bytes": promise}, sealed=True)

    def _noted(self) -> dict[str, Any]:
        noted = read_typed(self.workers, JSON_OBJECT)
        if noted is None and self.workers.exists():
            hint = "delete it, and give --device and --same-bytes as before"
            raise InputError("the file is damaged: what the sweep was begun with is not known", str(self.workers), hint)
        return noted or {}

    def run(self, cell: Cell) -> RunFolder:
        """The cell's run folder, which need not be there yet."""
        return RunFolder(self.root / cell.name)


@dataclass(frozen=True)
class WorkerKind:
    """What a worker computes with: cpu or cuda, and its threads."""

    device: str
    threads: int

    def __str__(self) -> str:
        return f"{self.device} with {self.threads} thread{'s' * (self.threads != 1)}"


@dataclass(frozen=True)
class CellStatus:
    """A cell with what its run folder says.

    faults: why it failed. deaths: how many worker processes in a row died while they ran the cell, before a new
    checkpoint or expert; the last one counts in any case. ended: when it began or ended last, in seconds since 1970, or
    0. pid: of the process that began with it last, or 0. accuracy_mean and accuracy_std, in percent: of the final set,
    over the networks of this one run. foreign: whether what lies in the place of its folder is not the cell, so that no
    worker may do anything there.
    """

    cell: Cell
    folder: RunFolder
    state: State
    faults: tuple[Fault, ...] = ()
    deaths: int = 0
    ended: float = 0.0
    pid: int = 0
    accuracy_mean: float | None = None
    accuracy_std: float | None = None
    foreign: bool = False


def statuses(folder: SweepFolder, cells: Sequence[Cell]) -> list[CellStatus]:
    """The state of each of these cells, in their order."""
    return [cell_status(cell, folder.run(cell)) for cell in cells]


def cell_status(cell: Cell, folder: RunFolder) -> CellStatus:
    """What the run folder of one cell says."""
    return CellStatus(cell, folder, "running") if folder.is_running() else at_rest(cell, folder)


def at_rest(cell: Cell, folder: RunFolder) -> CellStatus:
    """The same of a cell that no worker does, or whose lock the caller holds."""
    if foreign := foreign_faults(cell, folder):
        return CellStatus(cell, folder, "failed", foreign, foreign=True)
    if not folder.exists():
        return CellStatus(cell, folder, "waiting")
    if folder.distilled.exists() and (metrics := readable_metrics(folder)):
        final = metrics["final"]
        mean, std = final.get("accuracy_mean"), final.get("accuracy_std")
        return CellStatus(cell, folder, "finished", accuracy_mean=mean, accuracy_std=std)
    marks = _marks(folder)
    events = [item for item in marks if isinstance(item.event, BEGINS_AND_ENDS)]
    ended = events[0].seconds if events else 0.0
    pid = next((item.event.pid for item in events if isinstance(item.event, RunStarted)), 0)
    broke = [item.event for item in itertools.takewhile(lambda item: isinstance(item.event, RunBroke), events)]
    faults = tuple(
        Fault(event.what, event.where, event.hint) for event in reversed(broke) if isinstance(event, RunBroke)
    )
    # Starts that neither an end nor progress follows: a person may kill the workers of a long cell again and again.
    deaths = len(list(itertools.takewhile(lambda item: isinstance(item.event, RunStarted), marks)))
    if events and isinstance(events[0].event, RunStarted):
        deaths = max(deaths, 1)
    return CellStatus(cell, folder, "failed" if faults else "stopped", faults, deaths, ended, pid)


_compared: dict[Path, tuple[tuple[int, int], RunSettings, tuple[Fault, ...]]] = {}
# By config.yaml, with its time and size: to read it takes 10 ms, and workers look at hundreds of cells after each.


def foreign_faults(cell: Cell, folder: RunFolder) -> tuple[Fault, ...]:
    """Why what lies in the place of the cell's folder is not this cell; nothing where it is, or nothing is there."""
    try:
        stat = folder.config.stat()
    except NotADirectoryError:
        return (Fault("a file is in the place of the cell's folder", str(folder.root), "delete or rename it"),)
    except OSError:
        return ()
    looked_at = stat.st_mtime_ns, stat.st_size
    known = _compared.get(folder.config)
    if known is None or known[:2] != (looked_at, cell.settings):
        known = _compared[folder.config] = looked_at, cell.settings, _settings_faults(cell, folder)
    return known[2]


def _settings_faults(cell: Cell, folder: RunFolder) -> tuple[Fault, ...]:
    with contextlib.suppress(OSError):
        # What a worker began with, where config.yaml is no newer than that.
        if read_manifest(folder).settings_hash == settings_hash(cell.settings) and (
            folder.config.stat().st_mtime_ns < folder.manifest.stat().st_mtime_ns
        ):
            return ()
    try:
        # Older files lack newer settings, which have their defaults then.
        same = load_preset(str(folder.config), quiet=True) == cell.settings
    except SettingsError as error:
        return tuple(error.faults)
    hint = "delete its folder, or start the sweep under another --name"
    return () if same else (Fault("its settings are not those of the sweep", str(folder.config), hint),)


BEGINS_AND_ENDS = RunStarted, RunStopped, RunBroke, RunFinished


def _marks(folder: RunFolder) -> list[Stamped]:
    """When workers began with the run, what they made that the next one reuses, and how they ended; latest first."""
    kinds = *BEGINS_AND_ENDS, Checkpointed, ExpertDone
    marks = [f'"type":"{type_name(kind)}"'.encode() for kind in kinds]
    try:
        with open_regular(folder.events) as lines:
            marked = [line for line in lines if any(mark in line for mark in marks)]
    except OSError:
        return []
    found = (decode(line.decode(errors="replace")) for line in reversed(marked))
    stamped = (item for item in found if isinstance(item, Stamped) and isinstance(item.event, kinds))
    return [item for item in stamped if not (isinstance(item.event, ExpertDone) and item.event.cached)]


# ---- The order in which workers take cells ----


def shared_by(cell: Cell) -> str:
    """A hash that cells with the same data and experts have in common: the first one trains what the others reuse."""
    own = cell.settings
    return settings_hash(own.dataset, own.validation.sets_apart, own.seed, trained_alike(own))


def in_order(cells: Sequence[Cell]) -> list[Cell]:
    """Cells that share experts in sequence, by seed, so that a whole table of the first seed comes first.

    Among cells that share experts, those that need most of them come first: else experts would be trained again.
    """
    places: dict[str, int] = {}
    for cell in cells:
        places.setdefault(shared_by(cell), len(places))
    seeds = list(dict.fromkeys(cell.settings.seed for cell in cells))
    return sorted(
        cells, key=lambda cell: (seeds.index(cell.settings.seed), places[shared_by(cell)], *_needs_less(cell))
    )


def _needs_less(cell: Cell) -> tuple[int, int]:
    """Sorts the cell before those of the same experts that need fewer epochs of them, or fewer kinds."""
    own = cell.settings
    representation = representation_epochs(own) if own.trains_experts else 0
    return -representation, -classifier_epochs(own) if own.trains_classifier_experts else 0
