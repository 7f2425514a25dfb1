"""What the run folders of a sweep say: the state of each cell, and the table of accuracies over seeds. No torch.

The folders are all there is to know: a cell is finished once its run has a result, and waits while it has no folder.
"""

from __future__ import annotations

import itertools
import os
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engine.run.errors import Fault, InputError
from engine.run.events import RunBroke, RunFinished, RunStarted, RunStopped, Stamped, decode, type_name
from engine.run.expert_cache import trained_alike
from engine.run.folder import RunFolder
from engine.run.metrics import readable_metrics, sample_std
from engine.run.settings import settings_hash
from engine.sweep.grid import FILE, Cell, Sweep, load_sweep

State = Literal["waiting", "running", "finished", "failed", "stopped"]
SEED = "seed"
TAIL_BYTES = 1 << 17


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

    def exists(self) -> bool:
        """Whether this is a sweep."""
        return self.file.is_file()

    def sweep(self) -> Sweep:
        """The sweep; raises SettingsError where its file is damaged, InputError where there is none."""
        if not self.exists():
            raise InputError("this is no sweep: it has no sweep.yaml", str(self.root))
        return load_sweep(str(self.root))

    def run(self, cell: Cell) -> RunFolder:
        """The cell's run folder, which need not be there yet."""
        return RunFolder(self.root / cell.name)


@dataclass(frozen=True)
class CellStatus:
    """A cell with what its run folder says.

    faults: why it failed. deaths: how often, since it last ended by itself, a worker process died while it ran the
    cell. ended: when it began or ended last, in seconds since 1970, or 0. accuracy_mean and accuracy_std, in percent:
    of the final set, over the networks of this one run.
    """

    cell: Cell
    folder: RunFolder
    state: State
    faults: tuple[Fault, ...] = ()
    deaths: int = 0
    ended: float = 0.0
    accuracy_mean: float | None = None
    accuracy_std: float | None = None


def statuses(folder: SweepFolder, cells: Sequence[Cell]) -> list[CellStatus]:
    """The state of each of these cells, in their order."""
    return [cell_status(cell, folder.run(cell)) for cell in cells]


def cell_status(cell: Cell, folder: RunFolder) -> CellStatus:
    """What the run folder of one cell says."""
    return CellStatus(cell, folder, "running") if folder.is_running() else at_rest(cell, folder)


def at_rest(cell: Cell, folder: RunFolder) -> CellStatus:
    """The same of a cell that no worker does, or whose lock the caller holds."""
    if not folder.exists():
        return CellStatus(cell, folder, "waiting")
    if folder.distilled.exists() and (metrics := readable_metrics(folder)):
        final = metrics["final"]
        mean, std = final.get("accuracy_mean"), final.get("accuracy_std")
        return CellStatus(cell, folder, "finished", accuracy_mean=mean, accuracy_std=std)
    faults, deaths, ended = list[Fault](), 0, 0.0
    for item in _last_events(folder):
        ended, event = ended or item.seconds, item.event
        if isinstance(event, RunBroke):
            faults.append(Fault(event.what, event.where, event.hint))
            continue
        if faults or not isinstance(event, RunStarted):
            break
        # No end follows this start.
        deaths += 1
    return CellStatus(cell, folder, "failed" if faults else "stopped", tuple(reversed(faults)), deaths, ended)


def _last_events(folder: RunFolder) -> Iterator[Stamped]:
    """The begins and ends of workers in the last part of the events, the latest first."""
    kinds = RunStarted, RunStopped, RunBroke, RunFinished
    marks = [f'"type":"{type_name(kind)}"' for kind in kinds]
    try:
        with open(folder.events, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return
    for line in reversed(lines):
        if any(mark in line for mark in marks):
            item = decode(line)
            if isinstance(item, Stamped) and isinstance(item.event, kinds):
                yield item


# ---- The order in which workers take cells ----


def shared_by(cell: Cell) -> str:
    """A hash that cells with the same data and experts have in common: the first one trains what the others reuse."""
    own = cell.settings
    return settings_hash(own.dataset, own.seed, trained_alike(own))


def in_order(cells: Sequence[Cell]) -> list[Cell]:
    """Cells that share experts in sequence; by seed, so that a whole table of the first seed comes first."""
    places: dict[str, int] = {}
    for cell in cells:
        places.setdefault(shared_by(cell), len(places))
    seeds = list(dict.fromkeys(cell.settings.seed for cell in cells))
    return sorted(cells, key=lambda cell: (seeds.index(cell.settings.seed), places[shared_by(cell)]))


# ---- The table: a row for each method, a column for each combination of the other values, means over seeds ----


@dataclass(frozen=True)
class Figure:
    """Accuracy in percent of cells that differ in their seed alone.

    mean and std (sample standard deviation) over the `n` finished cells of `of`; None without a finished one.
    states: how many cells are in each state.
    """

    mean: float | None
    std: float | None
    n: int
    of: int
    states: dict[State, int]


@dataclass(frozen=True)
class Table:
    """Accuracies of a sweep: `rows` are values of the key `row_key`, `columns` values of `column_keys`, in grid order.

    figures: by row and column.
    """

    row_key: str
    rows: list[Any]
    column_keys: list[str]
    columns: list[tuple[Any, ...]]
    figures: dict[tuple[int, int], Figure]


def table(sweep: Sweep, cells: Sequence[CellStatus]) -> Table:
    """The table of these cells; a row or column without any of them is left out.

    Rows are the methods, or else the values of the grid's first key; seeds are what a figure is the mean over.
    """
    keys = [key for key in sweep.grid if key != SEED] or list(sweep.grid)
    row_key = "method" if "method" in keys else keys[0]
    column_keys = [key for key in keys if key != row_key]
    own = {(repr(one.cell.values[row_key]), repr([one.cell.values[key] for key in column_keys])) for one in cells}
    rows = [value for value in sweep.grid[row_key] if repr(value) in {row for row, _ in own}]
    products = itertools.product(*(sweep.grid[key] for key in column_keys))
    columns = [values for values in products if repr(list(values)) in {column for _, column in own}]
    figures = {}
    for (r, row), (c, column) in itertools.product(enumerate(rows), enumerate(columns)):
        wanted = {row_key: row, **dict(zip(column_keys, column, strict=True))}
        members = [one for one in cells if all(one.cell.values[key] == value for key, value in wanted.items())]
        if members:
            figures[r, c] = _figure(members)
    return Table(row_key, rows, column_keys, columns, figures)


def _figure(cells: Sequence[CellStatus]) -> Figure:
    means = [one.accuracy_mean for one in cells if one.accuracy_mean is not None]
    states: dict[State, int] = {}
    for one in cells:
        states[one.state] = states.get(one.state, 0) + 1
    mean = statistics.fmean(means) if means else None
    return Figure(mean, sample_std(means) if means else None, len(means), len(cells), states)
