"""A sweep: its table fills in while workers run its cells; a cell opens its run."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import DataTable, OptionList, Static

from engine.run.errors import LtddError
from engine.run.folder import RunFolder
from engine.sweep.cells import SweepFolder
from ltdd_tui.formatting import clean, duration, first_few, short_path
from ltdd_tui.launch.sweeps import begin_sweep, seconds_of_cells
from ltdd_tui.runs import worker
from ltdd_tui.runs.sweeps import SEED, CellState, SweepReader, SweepTable, failure_lines, table_as
from ltdd_tui.runs.tables import TableFormat
from ltdd_tui.runs.worker import WorkerHandles, launch_reader
from ltdd_tui.screens.actions import TABLE_KEYS, OpenCompare, OpenRun, RunActions, copy_table, end_announced
from ltdd_tui.screens.sweep.table import CellList, SweepGrid
from ltdd_tui.widgets.bars import gauge
from ltdd_tui.widgets.lines import ERROR
from ltdd_tui.widgets.panes import KeyFooter, TitleBar

LOOK_SECONDS = 2.0
MOST_FAILURES = 3
MOST_COMPARED = 6
NOT_READ = "reading the sweep ..."


def count_cells(table: SweepTable) -> str:
    """How many cells there are in each state that a person should know of."""
    counts = table.counts.copy()
    # What starts the workers is there, and none of them has begun.
    begins = table.working and not counts["running"]
    counts["starting"] += begins and not table.queued_behind
    queued = [f"queued behind {' '.join(first_few(table.queued_behind, 1))}"] if begins and table.queued_behind else []
    states = ("starting", "running", "queued", "failed", "crashed", "stopped")
    return ", ".join(
        [f"{counts['done']} of {len(table.cells)} cells done"]
        + queued
        + [f"{counts[state]} {state}" for state in states if counts[state]]
    )


class SweepScreen(RunActions):
    """The table of a sweep, why cells failed, and the cells at the cursor."""

    HELP: ClassVar[str] = """
    A **sweep** runs every cell of a grid: each method with each value of the other settings, and each seed. The table
    has a row for each method and a column for each combination of the other values, and fills in by itself.

    **A place of the table** is the mean accuracy in percent over seeds, with its standard deviation. `n2` behind it:
    two seeds are done so far. `*`: the best of its column. `►`: at work, with how much of the run is done. `×`: a cell
    failed. `·`: not begun. *crashed*: its worker process died; it is tried again, and fails after three times.

    **Below** stand the cells at the cursor, one for each seed. Enter goes there, and opens the run of a cell; escape
    goes back to the table. `c` compares the runs of this place, or with one seed those of the whole column.

    **Stop** (`s`) stops the workers at the next safe point, **Resume** (`r`) goes on: what is done is not run again,
    and what failed is tried again. `a` runs only the cells at the cursor.

    **Time left** counts what done cells of the same row took, or else the estimate, with as many cells at once as now.
    `p` writes a report into the present folder, `Y` copies the table as Markdown, `C` as CSV.
    """
    AUTO_FOCUS = "SweepGrid"
    CSS_PATH = "sweep.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "resume", "Resume", id="sweep.resume"),
        Binding("s", "stop", "Stop", id="sweep.stop"),
        Binding("a", "run_these", "Only these", tooltip="Run only the cells at the cursor", id="sweep.only"),
        Binding("c", "compare", "Compare", id="sweep.compare"),
        Binding("p", "report", "Report", tooltip="As HTML, Markdown and CSV", id="sweep.report"),
        Binding("y", "copy_path", "Copy path", show=False, id="sweep.copy_path"),
        Binding("o", "open_folder", "Open folder", show=False, id="run.open_folder"),
        *TABLE_KEYS,
    ]

    def __init__(self, folder: RunFolder, worker_handles: WorkerHandles) -> None:
        super().__init__()
        self.folder, self.worker_handles = folder, worker_handles
        self._reader = SweepReader(folder)
        self._look_now = asyncio.Event()
        self._failure_lines: list[str] = []
        self._reporting = asyncio.Lock()
        self._title, self._progress, self._failures = TitleBar("Sweep"), Static(id="progress"), Static(id="failures")
        self._nothing, self._grid, self._cells = Static(NOT_READ, id="nothing"), SweepGrid(), CellList()
        self._footer = KeyFooter()

    def compose(self) -> ComposeResult:
        yield self._title
        yield self._progress
        yield self._failures
        yield self._nothing
        yield self._grid
        yield self._cells
        yield self._footer

    def on_mount(self) -> None:
        self.add_class("-nothing")
        self.app.theme_changed_signal.subscribe(self, lambda _: self._grid.show(self._reader.table, anew=True))
        self._keep_looking()
        self._estimate()

    def on_unmount(self) -> None:
        self.app.theme_changed_signal.unsubscribe(self)

    @work
    async def _estimate(self) -> None:
        sweep = SweepFolder(self.folder.root)
        # A sweep that cannot be read is told of by who reads it.
        with contextlib.suppress(LtddError, OSError):
            device = self.worker_handles.device
            self._reader.estimated = await asyncio.to_thread(seconds_of_cells, sweep, device)

    def on_screen_resume(self) -> None:
        self._look_now.set()

    @work(group="look")
    async def _keep_looking(self) -> None:
        while True:
            self._look_now.clear()
            caught_up = True
            try:
                if self.is_active:
                    before = self._reader.table
                    caught_up = await asyncio.to_thread(self._reader.look)
                    if self._reader.table is not before:
                        self._show()
            except (LtddError, OSError) as error:
                self._nothing.update(Content(clean(str(error))))
            if caught_up:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._look_now.wait(), LOOK_SECONDS)

    def on_resize(self) -> None:
        self._show()

    def _show(self) -> None:
        table = self._reader.table
        if not table.cells:
            return
        self.remove_class("-nothing")
        self._grid.show(table)
        self._cells.show(self._grid.current)
        # The counts of cells need the room of a narrow window.
        place = "" if self.has_class("-narrow") else short_path(self.folder.root)
        self._title.tell(f"{self.folder.name}   {count_cells(table)}", place)
        left = table.seconds_left if table.working or table.counts["running"] else None
        time_left = "" if left is None else f" about {duration(left, 'estimate')} left"
        width = max(1, self._progress.content_size.width - len(time_left))
        self._progress.update(Content.assemble(gauge(table.share, 1.0, width, "$primary"), time_left), layout=False)
        lines = failure_lines(table, MOST_FAILURES - 1)
        if lines != self._failure_lines:
            # Another height: all that is below it is laid out and drawn anew.
            self._failure_lines, self._failures.display = lines, bool(lines)
            self._failures.update(Content("\n").join(Content.styled(f"× {clean(line)}", ERROR) for line in lines))
        self._footer.hide(self._hidden_keys())

    # ---- The cursor, and what opens. ----

    def picked(self) -> RunFolder | None:
        """The sweep's folder, for what is done with a folder."""
        return self.folder

    def _hidden_keys(self) -> set[str]:
        """What would be refused now: the footer has room for the rest."""
        counts = self._reader.table.counts
        working, all_done = self._reader.table.working, counts["done"] == len(self._reader.table.cells)
        hidden = {"stop": not working, "resume": working or all_done, "compare": len(self._compared()) < 2}
        current = self._grid.current
        hidden["run_these"] = working or current is None or all(cell.state == "done" for cell in current.cells)
        return {action for action, hides in hidden.items() if hides}

    @on(DataTable.CellHighlighted)
    def _other_place(self) -> None:
        self._cells.show(self._grid.current)
        self._footer.hide(self._hidden_keys())

    @on(DataTable.CellSelected)
    def _enter_place(self) -> None:
        if len(self._cells.cells) == 1:
            self._open(self._cells.cells[0])
        else:
            self._cells.focus()

    @on(OptionList.OptionSelected)
    def _open_cell(self) -> None:
        if cell := self._cells.current:
            self._open(cell)

    def _open(self, cell: CellState) -> None:
        if cell.entry:
            self.post_message(OpenRun(cell.folder))
        else:
            self.tell("no worker has begun with this cell", title=cell.cell.name)

    def step_back(self) -> bool:
        """Goes from the cells back to the table; returns whether there was anything to go back from."""
        if self.focused is self._cells:
            self._grid.focus()
            return True
        return False

    def _compared(self) -> list[RunFolder]:
        """The runs of the cells at the cursor; of a single one, the first run of each row of its column."""
        group, table = self._grid.current, self._reader.table
        if group is None:
            return []
        if len(group.cells) > 1:
            return list(self._cells.folders())
        column = [table.groups.get((row, group.column)) for row in table.rows]
        return [own.cells[0].folder for own in column if own and own.cells[0].entry]

    def action_compare(self) -> None:
        """Compares the runs at the cursor."""
        folders = self._compared()
        if len(folders) < 2:
            self.tell("fewer than two of these cells have a run", title="compare", severity="warning")
        else:
            self.post_message(OpenCompare(folders[:MOST_COMPARED]))

    @work(group="resume")
    async def action_run_these(self) -> None:
        """Starts workers for the cells at the cursor alone."""
        if (group := self._grid.current) is None:
            return
        only = [f"{key}={value}" for key, value in group.cells[0].cell.values.items() if key != SEED]
        try:
            process = await asyncio.to_thread(
                begin_sweep, SweepFolder(self.folder.root), self.worker_handles.device, only
            )
        except (LtddError, OSError) as error:
            self.complain(error)
            return
        self.worker_handles.of(self.folder).launched(process)
        self.tell(", ".join((group.row, *group.column)), title="only these cells are run", timeout=3)
        end = end_announced(self.app, self.worker_handles, process, self.folder, "the sweep")
        self.app.run_worker(end, group="worker end")

    @work(group="report")
    async def action_report(self) -> None:
        """Writes a report of the sweep into the present folder, as far as the sweep is."""
        # One that is being written is not begun again by a key that repeats.
        if self._reporting.locked():
            return
        async with self._reporting:
            out = Path.cwd() / f"{self.folder.name}-report"
            self.tell(str(out), title="a report is being written", timeout=3)
            process = await asyncio.to_thread(
                launch_reader, [str(self.folder.root), "--out", str(out)], worker.REPORT_COMMAND
            )
            result = str(out / "report.html")
            await end_announced(self.app, self.worker_handles, process, self.folder, "report", result=result)

    def worker_changed(self, folder: RunFolder) -> None:
        self._look_now.set()

    def action_copy_table(self, form: TableFormat) -> None:
        """Copies the table, a row for each place of it."""
        copy_table(self.app, table_as(form, self._reader.table), form)
