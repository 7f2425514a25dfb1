"""`sweep`: many runs from one file, by several workers; and what `resume`, `show`, `stop` and `estimate` do with one.

How cells are run is chosen in `_run`: by workers of this machine, or as tasks of a Ray cluster (engine/cluster).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer
from rich.table import Table

from engine.run.errors import BAD_INPUT, DONE, FAILED, STOPPED, InputError, escaped
from engine.run.folder import RunFolder, default_runs_dir
from engine.run.locks import holder, is_held
from engine.run.regular_files import read_regular
from engine.sweep.cells import SweepFolder, statuses
from engine.sweep.grid import Cell, Sweep, load_sweep, only_cells, sweep_files
from ltdd_tui.cli.cluster import Cluster, DriverLines, Ranks, Threads, driver_options
from ltdd_tui.cli.options import After, AsJson, Detach, Device, Overrides, RunsDir, SameBytes
from ltdd_tui.cli.output import plain_table, print_data, print_json, print_note
from ltdd_tui.cli.progress import AGAIN, caught_signals, exit_code_after, exit_code_of
from ltdd_tui.formatting import duration, percent
from ltdd_tui.launch.machine import device_here
from ltdd_tui.launch.sweeps import Workers, check_data, checked_jobs, cost_of, folder_of, workers_here, write_sweep
from ltdd_tui.runs import manage, worker
from ltdd_tui.runs.find import find_run_or_sweep, find_sweep_folder
from ltdd_tui.runs.sweeps import FAILED as FAILED_STATES
from ltdd_tui.runs.sweeps import LEFT, SEED, CellState, SweepReader, SweepTable, failure_lines, tabulate
from ltdd_tui.runs.worker import WorkerProcess

POLL_SECONDS = 0.3
MOST_FAILURES = 10


def complete_sweep(incomplete: str) -> list[str]:
    """The names of shipped sweeps and the user's own that begin with `incomplete`; for shell completion."""
    return [name for name in sweep_files() if name.startswith(incomplete)]


def sweep(
    given: Annotated[
        str,
        typer.Argument(
            metavar="SWEEP",
            help="a sweep's name (digits, paper-cifar10-lt ...), a YAML file, or the folder of one that has begun",
            autocompletion=complete_sweep,
        ),
    ],
    runs_dir: RunsDir,
    overrides: Overrides = None,
    name: Annotated[str | None, typer.Option("--name", help="the sweep's folder; by default the file's name")] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="some cells: method=ltdd,dm,ipc=10; may be repeated")
    ] = None,
    jobs: Annotated[
        str, typer.Option("--jobs", help="cells at a time: a number, or auto", callback=checked_jobs)
    ] = "auto",
    device: Device = "auto",
    cluster: Cluster = None,
    threads: Threads = None,
    ranks: Ranks = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the cells and their cost; start nothing")] = False,
    as_json: AsJson = False,
    detach: Detach = False,
    after: After = None,
    same_bytes: SameBytes = None,
) -> None:
    """Run a grid of settings, a cell for each combination, and print the table. What is finished is not run again."""
    folder = find_sweep_folder(given, runs_dir) if given not in sweep_files() else None
    if folder and (overrides or name is not None):
        raise InputError("a sweep that has begun keeps its settings", str(folder.root), "leave --set and --name out")
    chosen = folder.sweep() if folder else load_sweep(given, overrides or [])
    folder = folder or folder_of(chosen, runs_dir, name)
    promised = folder.same_bytes if same_bytes is None else same_bytes
    on = driver_options(cluster, threads, ranks, jobs, after, bool(promised))
    if dry_run:
        print_cost(chosen, only_cells(chosen, only or ()), folder, jobs, device, as_json)
        return
    behind = [find_run_or_sweep(other, runs_dir) for other in after or []]
    # What was refused for its origin is tried again where that is allowed now.
    again = same_bytes is False
    _run(folder, chosen, only or (), jobs, device, as_json, detach, behind, same_bytes, again, cluster=on)


def resume_sweep(
    folder: SweepFolder,
    device: str,
    as_json: bool,
    detach: bool,
    behind: Sequence[RunFolder] = (),
    same_bytes: bool | None = None,
) -> None:
    """Goes on with a sweep; cells that failed are tried again."""
    _run(folder, folder.sweep(), (), "auto", device, as_json, detach, behind, same_bytes, failed=True)


def watch_sweep(folder: SweepFolder, as_json: bool) -> int:
    """Tells cells as they end while workers are at work, then prints the table; leaving it stops nothing."""
    watched = SweepWatch(folder, folder.sweep().cells)
    with caught_signals() as signals:
        while folder.is_running() and not signals:
            watched.tell()
            time.sleep(POLL_SECONDS)
    if signals:
        print_note(f"detached; {folder.name} goes on")
        return DONE if signals[-1] == signal.SIGINT else exit_code_after(signals)
    watched.tell()
    print_table(watched.table(), as_json)
    return DONE


def stop_sweep(folder: SweepFolder, wait: bool, now: bool) -> None:
    """Asks all workers to stop at their next safe points, or with `now` ends them at once."""
    if not folder.is_running() and not folder.cells_at_work():
        raise InputError("no worker is at work on this sweep", str(folder.root), "`ltdd-tui resume` goes on with it")
    if now:
        _kill_workers(folder)
    else:
        folder.stop_request.touch()
        print_note(f"{folder.name} will stop at the next safe points of its cells")
    while wait and (folder.is_running() or folder.cells_at_work()):
        time.sleep(POLL_SECONDS)


def _kill_workers(folder: SweepFolder) -> None:
    """Ends all workers at once, also those that a dead supervisor has left; raises as `worker.stop_now`."""
    if folder.is_running():
        worker.kill(worker.pid_here(RunFolder(folder.root)))
        worker.wait_for_end(RunFolder(folder.root))
    # Again and again: one that is left may begin with the next cell meanwhile.
    while left := folder.cells_at_work():
        machine, pid = left[0].holder() or ("", 0)
        with contextlib.suppress(OSError):
            if machine == os.uname().nodename and worker.has_in_command(folder.root, pid):
                os.kill(pid, signal.SIGKILL)  # it leads no group of its own
        worker.wait_for_end(left[0])
        if left[0].is_running():
            pid = worker.pid_here(left[0])
            raise InputError("its worker cannot be found", str(left[0].root), f"the process {pid} is another one")


def _run(
    folder: SweepFolder,
    whole: Sweep,
    only: Sequence[str],
    jobs: str,
    device: str,
    as_json: bool,
    detach: bool,
    behind: Sequence[RunFolder] = (),
    same_bytes: bool | None = None,
    failed: bool = False,
    cluster: Sequence[str] = (),
) -> None:
    """Does the cells by workers of this machine, and exits as the sweep ends; with `detach`, returns at once.

    The folder of a sweep that has not begun is made once nothing refuses it. cluster: as of `worker.start_sweep`.
    """
    manage.check_queue(RunFolder(folder.root), behind)
    cells, own = only_cells(whole, only), Workers(0, device, 0)
    if not cluster:  # whose nodes are asked for the data themselves
        check_data(cells)
        own = workers_here(folder, whole, cells, device, jobs)
        for note in own.notes:
            print_note(f"warning: {note}")
    write_sweep(folder, whole)
    if same_bytes is not None and not folder.is_running():
        folder.promise_same_bytes(same_bytes)
    watched = SweepWatch(folder, cells)
    if all(cell.state == "done" for cell in watched.table().cells):
        print_table(watched.table(), as_json)
        return

    def start() -> WorkerProcess:
        return worker.start_sweep(folder, own.device, own.jobs, own.threads, only, failed, behind, cluster)

    at_once = "on a cluster" if cluster else f"{own.jobs} at a time"
    plan = f"{folder.name}: {len(cells):,} cells, {at_once}: {folder.root}"
    if not detach:
        raise typer.Exit(_follow(watched, start, plan, as_json, DriverLines(folder).tell if cluster else watched.tell))
    start()
    print_note(plan)
    print_note(f"it runs on; `ltdd-tui show {folder.cli_name}` shows it, `ltdd-tui stop {folder.cli_name}` stops it")


class SweepWatch:
    """Tells cells as they end, in lines on stderr."""

    def __init__(self, folder: SweepFolder, cells: Sequence[Cell]) -> None:
        self.folder, self._cells = folder, cells
        self._reader = SweepReader(RunFolder(folder.root), cells)
        over = self._over()
        # A failed cell may be tried again.
        self._told = {(cell.cell.name, cell.state) for cell in over}
        self._ended = {cell.cell.name for cell in over if cell.state == "done"}

    def table(self) -> SweepTable:
        """The table of the cells as they are now."""
        while not self._reader.look():
            pass
        return self._reader.table

    def _over(self) -> list[CellState]:
        # One that crashed is resumed by another worker.
        return [cell for cell in self.table().cells if cell.state in ("done", "failed")]

    def tell(self) -> None:
        """Prints a line for each cell that has ended since the last look."""
        over = self._over()
        for cell in over:
            if (cell.cell.name, cell.state) in self._told:
                continue
            self._told.add((cell.cell.name, cell.state))
            took = f", {duration(cell.seconds)}" if cell.seconds else ""
            how = f"{percent(cell.accuracy)} %{took}" if cell.state == "done" else f"failed: {cell.reason}"
            left = self._reader.table.seconds_left if len(over) < len(self._cells) else None
            left_words = f"; about {duration(left, 'estimate')} left" if left else ""
            self._ended.add(cell.cell.name)
            number = len(self._ended)
            print_note(escaped(f"[{number}/{len(self._cells)}] {cell.cell.name}: {how}{left_words}"))


def _follow(
    watched: SweepWatch, start: Callable[[], WorkerProcess], plan: str, as_json: bool, tell: Callable[[], None]
) -> int:
    """Tells the plan, calls `tell` until the workers have ended, prints the table, and returns the exit code.

    Where another program started the sweep in the same moment, only that is said.
    The first Ctrl-C or SIGTERM asks all workers to stop at their next safe points, the second kills them.
    """
    handled, begun, lock = 0, False, watched.folder.lock
    with caught_signals() as signals:
        own = start()
        while True:
            ended = (code := own.process.poll()) is not None
            held = is_held(lock) and (holder(lock) or ("", own.process.pid))[1] == own.process.pid
            if not begun and (held or (ended and code != BAD_INPUT)):
                begun = True
                print_note(plan)
            if begun:
                tell()
            if len(signals) > handled:
                if handled == 0:
                    watched.folder.stop_request.touch()
                    print_note(f"stopping at the next safe points; {AGAIN[signals[0]]} again kills the workers")
                if len(signals) > 1:
                    worker.kill(own.process.pid)
                handled = len(signals)
            if ended:
                break
            time.sleep(POLL_SECONDS)
    if not begun:
        print_note(own.last_output())
        return exit_code_of(own.process.returncode)
    table, code = watched.table(), own.process.returncode
    print_table(table, as_json)
    hint = f"`ltdd-tui resume {watched.folder.cli_name}`"
    if signals or code == STOPPED:
        print_note(f"{'killed' if len(signals) > 1 else 'stopped'}; {hint} goes on from there")
        return exit_code_after(signals)
    cells_left = any(cell.state in LEFT for cell in table.cells)
    if code not in (DONE, FAILED) or (code == FAILED and cells_left):  # all workers ended before their work
        print_note("\n".join(filter(None, (own.last_output(), f"{hint} goes on from what is finished"))))
        return exit_code_of(code)
    if table.failures:
        print_note(f"{len(table.failures):,} cells failed; {hint} tries them again")
    return int(code)


# ---- What is printed of a sweep ----


def show_sweep(folder: SweepFolder, as_json: bool) -> None:
    """Prints the table of a sweep, as far as it is."""
    watched = SweepWatch(folder, folder.sweep().cells)
    print_table(watched.table(), as_json)


def print_table(table: SweepTable, as_json: bool) -> None:
    """Prints means over seeds to stdout, as a table or JSON; to stderr how many cells there are and why some failed."""
    if as_json:
        print_json(_as_plain(table))
    else:
        titles = [", ".join(column) for column in table.columns]
        shown = plain_table("", *titles, right=titles)
        for row in table.rows:
            shown.add_row(row, *(_figure(table, row, column) for column in table.columns))
        print_data(shown)
    counts = ", ".join(f"{count:,} {state}" for state, count in table.counts.items())
    print_note(f"accuracy in percent, mean and standard deviation over seeds; {len(table.cells):,} cells: {counts}")
    for line in failure_lines(table, MOST_FAILURES):
        print_note(escaped(f"failed: {line}"))


def _figure(table: SweepTable, row: str, column: tuple[str, ...]) -> str:
    """One figure; the state of the cells where none is done."""
    group = table.groups.get((row, column))
    if group is None:
        return ""
    return group.figure or (group.cells[0].state if len({cell.state for cell in group.cells}) == 1 else "-")


def _as_plain(table: SweepTable) -> dict[str, Any]:
    """The table and its cells as JSON: a figure is the mean over the seeds that are done."""
    figures = [
        {
            "row": row,
            "column": list(column),
            "values": {key: value for key, value in group.cells[0].cell.values.items() if key != SEED},
            "accuracy_mean": group.mean,
            "accuracy_std": group.std,
            "n": len(group.accuracies),
            "cells": len(group.cells),
        }
        for (row, column), group in table.groups.items()
    ]
    cells = [
        {
            "name": cell.cell.name,
            "values": cell.cell.values,
            "state": cell.state,
            "accuracy": cell.accuracy,
            "seconds": cell.seconds,
            "failure": cell.reason if cell.state in FAILED_STATES else None,
        }
        for cell in table.cells
    ]
    return {"rows": list(table.rows), "columns": list(map(list, table.columns)), "figures": figures, "cells": cells}


def estimate_sweep(given: str, overrides: list[str], device: str, as_json: bool) -> None:
    """Prints the cost of what is left to do of a sweep: of its name, its file, or its folder."""
    sweep = load_sweep(given, overrides)
    runs_dir = default_runs_dir()
    begun = find_sweep_folder(given, runs_dir) or find_sweep_folder(sweep.name, runs_dir)
    same = begun is not None and read_regular(begun.file) == sweep.resolved.encode()
    folder = begun if begun and same else SweepFolder(runs_dir / sweep.name)
    print_cost(sweep, sweep.cells, folder, "auto", device, as_json)


def print_cost(sweep: Sweep, cells: Sequence[Cell], folder: SweepFolder, jobs: str, device: str, as_json: bool) -> None:
    """Prints what these cells of a sweep cost, as far as they are not finished: by row and column, and in all."""
    own = workers_here(folder, sweep, cells, device, jobs)
    profile = device_here(own.device)
    finished = [status.cell.name for status in statuses(folder, cells) if status.state == "finished"]
    cost = cost_of(cells, profile, finished)
    if as_json:
        left = [cell for cell in cells if cell.name not in finished]
        by_cell = [{"name": cell.name, "values": cell.values, "seconds": cost.seconds.get(cell.name)} for cell in left]
        whole = {"total_seconds": cost.total_seconds, "jobs": own.jobs, "memory_gib": cost.memory_gib}
        print_json({"device": profile.name, **whole, "finished": finished, "cells": by_cell})
        return
    shown = replace(sweep, cells=tuple(cells))
    print_data(_cost_table(tabulate(shown, folder.root, ()), cost.seconds))
    print_data("")
    unknown = f" ({cost.unknown:,} cells without an estimate)" if cost.unknown else ""
    print_data(
        f"{len(cells):,} cells, {cost.done:,} of them finished; the others take"
        f" {duration(cost.total_seconds, 'estimate')} one after another on {profile.name}{unknown}, and"
        f" {cost.memory_gib:.1f} GiB each; {own.jobs} at a time here"
    )
    print_note("experts, teachers, random images and equal starts are counted once, for the first cell that needs them")


def _cost_table(table: SweepTable, seconds: Mapping[str, float]) -> Table:
    """At each place the number of cells that are left, and the time that they take one after another."""
    titles = [", ".join(column) for column in table.columns]
    shown = plain_table("", *titles, right=titles)
    for row in table.rows:
        groups = [table.groups.get((row, column)) for column in table.columns]
        left = [
            [seconds[own.cell.name] for own in group.cells if own.cell.name in seconds] if group else []
            for group in groups
        ]
        shown.add_row(row, *(f"{len(own)} in {duration(sum(own), 'estimate')}" if own else "" for own in left))
    return shown
