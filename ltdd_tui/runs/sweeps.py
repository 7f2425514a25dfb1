"""A sweep as a table that fills in: every cell with the state of its run, and means over seeds."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from engine.run.folder import RunFolder
from engine.sweep.cells import SweepFolder, foreign_faults
from engine.sweep.grid import Cell, Sweep, load_sweep
from ltdd_tui.formatting import factor_name, first_few, mean_and_std
from ltdd_tui.runs.index import RunEntry, RunIndex
from ltdd_tui.runs.tables import Table, TableFormat

METHOD, SEED = "method", "seed"
AT_WORK, FAILED = {"running", "starting"}, {"failed", "damaged"}
LEFT = {"waiting", "queued", "stopped", "crashed"}
"""States of a cell that a worker still takes. One whose worker process died is tried again, and fails in the end."""
# What such a key is called above its values; a method and a network are known by their own names.
TITLES = {"dataset.imbalance_factor": "IF", "ipc": "IPC", METHOD: "", "dataset.name": "", "experts.network": ""}


@dataclass(frozen=True)
class CellState:
    """A cell of a sweep, and its run as the list of runs shows it; None while it has no run folder.

    `foreign` says why what lies in the place of its folder is not this cell, empty where it is.
    """

    cell: Cell
    folder: RunFolder
    entry: RunEntry | None
    foreign: str = ""

    @cached_property
    def state(self) -> str:
        """What its run folder says: waiting, queued, starting, running, stopped, failed, crashed, damaged or done.

        It agrees with what a worker of the sweep thinks of it (engine/sweep/cells.py).
        """
        if self.foreign:
            return "failed"
        # Without settings, as a full disk leaves it, a cell has not begun.
        if self.entry is None or (self.entry.damage and not self.folder.exists()):
            return "waiting"
        state = self.entry.run.state
        return "stopped" if state == "done" and not self.folder.distilled.exists() else state

    @property
    def accuracy(self) -> float | None:
        """The final accuracy in percent, once it is done."""
        return self.entry.run.accuracy_mean if self.entry and self.state == "done" else None

    @property
    def progress(self) -> float:
        """How much of it is done, from 0 to 1, while it is at work."""
        return (self.entry.run.progress or 0.0) if self.entry and self.state in AT_WORK else 0.0

    @property
    def reason(self) -> str:
        """Why it failed."""
        return self.foreign or ((self.entry.run.failure or self.entry.damage) if self.entry else "")

    @property
    def seconds(self) -> float | None:
        """The work that it took, once it is done."""
        return self.entry.run.seconds if self.entry and self.state == "done" else None


@dataclass(frozen=True)
class SeedGroup:
    """The cells that differ in their seed alone: one place of the table. Accuracies in percent, over those done."""

    row: str
    column: tuple[str, ...]
    cells: tuple[CellState, ...]

    @cached_property
    def accuracies(self) -> list[float]:
        return [cell.accuracy for cell in self.cells if cell.accuracy is not None]

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.accuracies) if self.accuracies else None

    @property
    def std(self) -> float | None:
        """The sample standard deviation over seeds; None of one seed."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    @property
    def figure(self) -> str:
        """Mean and standard deviation, with `n` where not all seeds are done; empty where none is."""
        if self.mean is None:
            return ""
        n = len(self.accuracies)
        return mean_and_std(self.mean, self.std, n) + (f" (n={n})" if n < len(self.cells) else "")

    def first(self, states: set[str]) -> CellState | None:
        """The first cell in one of these states."""
        return next((cell for cell in self.cells if cell.state in states), None)


@dataclass(frozen=True)
class SweepTable:
    """All cells of a sweep: `groups` by row and column, `best` the row of the highest mean of each column.

    `working` is whether its workers are at work, or about to be, once no worker is at work on the runs `queued_behind`;
    they do `at_once` cells at once. `estimated` are the seconds that cells should take, by name, where they are known.
    """

    rows: tuple[str, ...] = ()
    columns: tuple[tuple[str, ...], ...] = ()
    groups: Mapping[tuple[str, tuple[str, ...]], SeedGroup] = field(default_factory=dict)
    cells: tuple[CellState, ...] = ()
    working: bool = False
    at_once: int = 1
    queued_behind: tuple[str, ...] = ()
    estimated: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def best(self) -> dict[tuple[str, ...], str]:
        best = dict[tuple[str, ...], tuple[float, str]]()
        for (row, column), group in self.groups.items():
            if group.mean is not None:
                best[column] = max(best.get(column, (group.mean, row)), (group.mean, row))
        return {column: row for column, (_, row) in best.items()}

    @cached_property
    def counts(self) -> Counter[str]:
        """How many cells are in each state, where a damaged one has failed."""
        return Counter("failed" if cell.state in FAILED else cell.state for cell in self.cells)

    @cached_property
    def share(self) -> float:
        """How much of the sweep is over, from 0 to 1: a cell at work counts by its progress."""
        progress = (1.0 if own.state in {"done", *FAILED} else own.progress for own in self.cells)
        return sum(progress) / len(self.cells) if self.cells else 0.0

    @cached_property
    def failures(self) -> list[CellState]:
        return [cell for cell in self.cells if cell.state in FAILED]

    @cached_property
    def seconds_left(self) -> float | None:
        """What the cells at work and those that wait will take, as many at once as until now; None where unknown.

        A cell that has not begun takes as long as those of its row took, else as estimated, else as all that are done.
        """
        took: dict[str, list[float]] = {}
        for (row, _), group in self.groups.items():
            took.setdefault(row, []).extend(cell.seconds for cell in group.cells if cell.seconds is not None)
        if not (of_all := [seconds for of_row in took.values() for seconds in of_row] or [*self.estimated.values()]):
            return None
        left = 0.0
        for (row, _), group in self.groups.items():
            of_row, mean = took[row], statistics.fmean(took[row] or of_all)
            for cell in group.cells:
                whole = mean if of_row else self.estimated.get(cell.cell.name, mean)
                if cell.state in AT_WORK and cell.entry:
                    own = cell.entry.run.seconds_left
                    left += whole * (1 - cell.progress) if own is None else own
                elif cell.state in LEFT:
                    left += whole
        return left / max(self.at_once, self.counts["running"])


def table_as(form: TableFormat, table: SweepTable) -> str:
    """The table as text: Markdown as it is shown, CSV with a line for each place and all digits."""
    if form == "csv":
        titles: tuple[str, ...] = ("row", "column", "mean", "std", "n", "cells")
        lines: list[tuple[str | float | None, ...]] = [
            (row, ", ".join(column), group.mean, group.std, len(group.accuracies), len(group.cells))
            for (row, column), group in table.groups.items()
        ]
    else:
        titles = ("", *(", ".join(column) for column in table.columns))
        groups = {row: [table.groups.get((row, column)) for column in table.columns] for row in table.rows}
        lines = [(row, *(group.figure if group else "" for group in own)) for row, own in groups.items()]
    written = Table(titles, tuple(lines))
    return written.as_csv() if form == "csv" else written.as_markdown()


def failure_lines(table: SweepTable, most: int) -> list[str]:
    """Why cells failed, the most frequent reason first, each with the cells, in at most so many lines and one more."""
    names: dict[str, list[str]] = {}
    for cell in table.failures:
        names.setdefault(cell.reason, []).append(cell.cell.name)
    by_count = sorted(names.items(), key=lambda pair: -len(pair[1]))
    return first_few([f"{' '.join(first_few(cells, 1))}: {reason}" for reason, cells in by_count], most)


def label(key: str, value: Any) -> str:
    """A value of the grid as it stands above a column: `IF 100`, `ltdd`, `lambda_cls 0.5`."""
    title = TITLES.get(key, key.rpartition(".")[2])
    text = factor_name(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
    return f"{title} {text}".strip()


def tabulate(sweep: Sweep, folder: Path, entries: Sequence[RunEntry], working: bool = False) -> SweepTable:
    """The table of a sweep in `folder`: rows are methods, or else the values of the grid's first key."""
    by_name = {entry.run.name: entry for entry in entries}
    others = [key for key in sweep.grid if key != SEED]
    row_key = METHOD if METHOD in others else others[0] if others else SEED
    column_keys = [key for key in others if key != row_key]
    grouped: dict[tuple[str, tuple[str, ...]], list[CellState]] = {}
    cells: list[CellState] = []
    for cell in sweep.cells:
        run, entry = RunFolder(folder / cell.name), by_name.get(cell.name)
        faults = foreign_faults(cell, run) if entry is None or entry.run.state not in AT_WORK else ()
        state = CellState(cell, run, entry, "; ".join(filter(None, (faults[0].what, faults[0].hint))) if faults else "")
        cells.append(state)
        row = label(row_key, cell.values[row_key])
        column = tuple(label(key, cell.values[key]) for key in column_keys) or ("accuracy %",)
        grouped.setdefault((row, column), []).append(state)
    groups = {place: SeedGroup(*place, tuple(of_place)) for place, of_place in grouped.items()}
    rows, columns = (tuple(dict.fromkeys(part)) for part in zip(*groups, strict=True))
    return SweepTable(rows, columns, groups, tuple(cells), working)


class SweepReader:
    """Reads a sweep's folder again and again; `look` may be called from a thread, `table` be read from any.

    Raises SettingsError where its sweep.yaml cannot be read. `estimated` may be set to what cells should take (seconds
    by name), for the time left.
    """

    def __init__(self, folder: RunFolder, only: Sequence[Cell] | None = None) -> None:
        """only: some of its cells, instead of all."""
        self.folder, self._only = folder, only
        self.table = SweepTable()
        self.estimated: Mapping[str, float] = {}
        self._index = RunIndex(folder.root)
        self._sweep: Sweep | None = None
        self._entries: tuple[RunEntry, ...] | None = None
        # What of the table changes without a cell: whether workers are there, what they wait for, estimates.
        self._beside: tuple[bool, tuple[str, ...], Mapping[str, float]] = (False, (), {})

    def look(self) -> bool:
        """Takes in what has changed, for a moment; returns whether that was all."""
        if self._sweep is None:
            self._sweep = load_sweep(str(self.folder.root))
            if self._only is not None:
                self._sweep = replace(self._sweep, cells=tuple(self._only))
        caught_up = self._index.look()
        working = self.folder.is_running() or self.folder.is_starting()
        beside = working, SweepFolder(self.folder.root).queued_behind(), self.estimated
        # Not the same tuple even where nothing changed, so compared by its entries.
        if (self._index.listed, *beside) != (self._entries, *self._beside):
            self._entries, self._beside = self._index.listed, beside
            table = tabulate(self._sweep, self.folder.root, self._entries, working)
            # A worker that is between two cells still counts.
            at_once = max(self.table.at_once if working else 1, table.counts["running"])
            self.table = replace(table, at_once=at_once, queued_behind=beside[1], estimated=beside[2])
        return caught_up
