"""Every run below the runs folder: filtered as one types, previewed, compared, and sorted."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Input, Static

from engine.run.folder import RunFolder
from ltdd_tui.formatting import short_path
from ltdd_tui.runs.filter import RunFilter
from ltdd_tui.runs.filter import parse as parse_filter
from ltdd_tui.runs.index import RunEntry, RunIndex, starting
from ltdd_tui.runs.results import RunSummary, RunSummaryReader
from ltdd_tui.runs.tables import TableFormat, runs_as
from ltdd_tui.runs.worker import WorkerHandles
from ltdd_tui.screens.actions import RUN_KEYS, TABLE_KEYS, OpenCompare, OpenRun, RunActions, copy_table
from ltdd_tui.screens.runs.preview import RunPreview
from ltdd_tui.screens.runs.table import COLUMN_BY_KEY, COLUMNS, Order, RunList, count_states, in_order
from ltdd_tui.widgets.panes import KeyFooter, TitleBar

PLACEHOLDER = "words, state:running, method:ltdd, tag:paper, if:100, acc>50"


class FilterBar(Horizontal):
    """One line to filter runs with, shown while it is typed into or holds something.

    The screen hears of a new `filter` by Input.Changed, and by Input.Submitted that the list gets the focus.
    """

    def __init__(self) -> None:
        super().__init__()
        self.filter = RunFilter()
        self._field = Input(placeholder=PLACEHOLDER, select_on_focus=False, compact=True)
        self._count = Static(classes="count", markup=False)
        self.display = False

    def compose(self) -> ComposeResult:
        yield Static("/")
        yield self._field
        yield self._count

    def open(self) -> None:
        """Shows the field, ready to be typed into."""
        self.display = True
        # At once and not in a moment: the next letter belongs to the field already.
        self.screen.set_focus(self._field)

    def close(self, clear: bool = False) -> None:
        """Hides the field where it is empty, or emptied."""
        if clear:
            self._field.value = ""
        self.display = bool(self._field.value)

    @property
    def in_use(self) -> bool:
        """Whether it holds something or is typed into."""
        return bool(self._field.value) or self._field.has_focus

    def show_count(self, shown: int, of: int) -> None:
        """Says how many runs match, or what of the text cannot be read."""
        faults = self.filter.faults
        self._count.update(faults[0] if faults else f"{shown} of {of}")
        self._count.set_class(bool(faults), "-wrong")

    def on_input_changed(self, event: Input.Changed) -> None:
        self.filter = parse_filter(event.value)


LOOK_SECONDS = 2.0
PREVIEW_AFTER_SECONDS = 0.15
MOST_COMPARED = 6
NOT_OF_SWEEPS = {"evaluate", "export", "compare"}
"""What is done with a run and its images: a sweep is opened, and has runs of its own."""
NO_RUNS = """[b]No runs yet[/b] in $folder

[$text-accent]ctrl+o[/] [b]your own images[/b]: pick their folder, see what it holds, start with what suits it

[$text-accent]F3[/] all presets. To see everything at work in a minute or two, pick [b]quickstart[/b],
or in a shell: [$text-accent]ltdd-tui run quickstart[/]"""
NOTHING_FOUND = """[b]Nothing matches[/b]

[$text-accent]escape[/] shows all runs again, [$text-accent]F1[/] tells what can be typed"""


class RunsScreen(RunActions):
    """Every run below the runs folder."""

    HELP: ClassVar[str] = """
    Every run below the runs folder, the ones at work first, then the latest. The list keeps itself up to date.

    **Filter**: `/`, then type. Words match anything in a line; `state:running`, `method:ltdd,datm`, `dataset:cifar10`,
    `name:`, `stage:`, `tag:`, `note:` match one field; `if:100`, `ipc:10`, `seed:0`, `acc>50` numbers. A minus in front
    means not: `-state:done`. All terms must hold. Enter goes back to the list, escape shows all again.

    **Mark** runs with space: what is done then is done to all of them, until escape takes the marks off. Without a
    mark it is done to the run under the cursor.

    **Compare**: mark two to six runs, then `c`. With one marked, it is compared with the one under the cursor.

    A **sweep** is one row, with how many of its cells are done. Enter opens its table; stop, resume, rename, delete and
    tags work on it as a whole.

    **States**: *waiting* (no worker yet), *queued* behind another run, *starting*, *running*, *stopped* on request,
    *failed* (it says why), *crashed* (the worker died without saying why), *done*, *damaged* (files that cannot be
    read). Resume starts what waits, and goes on with what stopped, failed or crashed from its last checkpoint.

    **Tags** (`t`) and a note are yours: the list, the preview and the run's first line show them. `Y` copies the list
    as a Markdown table, `C` as CSV.

    **Delete** asks first, never takes a running run, and leaves experts in the cache.
    """
    AUTO_FOCUS = "RunList"
    # The preview needs more room than other panels do.
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (116, "-wide"), (160, "-huge")]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "Mark", id="runs.mark"),
        Binding("c", "compare", "Compare", id="runs.compare"),
        Binding("slash", "filter", "Filter", id="runs.filter"),
        *RUN_KEYS,
        Binding("ctrl+o", "app.launch(True)", "Your images", id="launch.folder"),
        Binding("y", "copy_path", "Copy path", show=False, id="runs.copy_path"),
        *TABLE_KEYS,
        Binding("S", "sort", "Sort by the next column", show=False, id="runs.sort"),
        Binding("I", "reverse", "Turn the order round", show=False, id="runs.reverse"),
    ]
    CSS_PATH = "runs.tcss"

    def __init__(self, runs_dir: Path, worker_handles: WorkerHandles) -> None:
        super().__init__()
        self.worker_handles = worker_handles
        self._index, self._runs_dir = RunIndex(runs_dir), runs_dir
        self._order = Order()
        self._marked: dict[str, None] = {}
        self._point_at: str | None = None
        self._summary_reader: RunSummaryReader | None = None
        self._preview_timer: Timer | None = None
        self._look_now = asyncio.Event()
        # Held and not searched for: while the screen closes, some are gone before others.
        self._title, self._filter = TitleBar("Runs"), FilterBar()
        self._body, self._nothing = Horizontal(id="runs"), Static(id="nothing")
        self._list, self._preview, self._footer = RunList(), RunPreview(), KeyFooter()

    def compose(self) -> ComposeResult:
        yield self._title
        yield self._filter
        with self._body:
            yield self._nothing
            with Vertical(id="list"):
                yield self._list.titles
                yield self._list
            yield self._preview
        yield self._footer

    def on_mount(self) -> None:
        self._keep_looking()

    def on_screen_resume(self) -> None:
        # Something may have changed while another screen was shown.
        self._look_now.set()

    @work(group="look")
    async def _keep_looking(self) -> None:
        while True:
            self._look_now.clear()
            caught_up = not self.is_active or await asyncio.to_thread(self._index.look)
            if self.is_active:
                self._show()
            if caught_up:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._look_now.wait(), LOOK_SECONDS)

    def _show(self) -> None:
        entries = [self._with_start(entry) for entry in self._index.listed]
        run_filter = self._filter.filter
        shown = in_order([entry for entry in entries if run_filter.matches(entry.run)], self._order)
        names = {entry.run.name for entry in entries}
        self._marked = {name: None for name in self._marked if name in names}
        runs = self._list
        before = runs.current
        runs.show(shown, self._marked, self._order)
        if self._point_at in names:
            runs.point_at(self._point_at or "")
            self._point_at = None
        if runs.current is not before:
            self._preview_soon()
        self._title.tell(count_states(entries, len(self._marked)), short_path(self._runs_dir))
        self._filter.show_count(len(shown), len(entries))
        self._footer.hide(self.hidden_keys())
        self._body.set_class(not shown, "-nothing")
        if not shown:
            text = NOTHING_FOUND if entries else NO_RUNS
            self._nothing.update(Content.from_markup(text, folder=short_path(self._runs_dir)))

    def _with_start(self, entry: RunEntry) -> RunEntry:
        """A run whose worker is on its way is starting, whatever its files still say."""
        handle = self.worker_handles.known(entry.folder)
        return starting(entry) if handle and handle.is_launched_but_not_begun(entry.run.state) else entry

    def picked(self) -> RunFolder | None:
        """The run under the cursor."""
        current = self._list.current
        return current.folder if current else None

    def all_picked(self) -> list[RunFolder]:
        """The marked runs, else the one under the cursor; a mark that the filter hides counts."""
        return [RunFolder(self._runs_dir / name) for name in self._marked] or super().all_picked()

    def hidden_picked(self) -> int:
        """How many marked runs the filter hides."""
        return len(self._marked.keys() - {entry.run.name for entry in self._list.entries})

    def changed(self, renamed: RunFolder | None = None) -> None:
        """Looks again at once, and stays with a run that has another name now."""
        if renamed is not None:
            self._point_at = renamed.name
        self._look_now.set()

    def worker_changed(self, folder: RunFolder) -> None:
        # Shows at once that a worker is on its way.
        self._show()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While one types into the filter, letters are letters; and a sweep is no set of images."""
        of_sweep = action in NOT_OF_SWEEPS and any(entry.run.cells for entry in self._entries_picked())
        return not isinstance(self.focused, Input) and not of_sweep

    def _entries_picked(self) -> list[RunEntry]:
        """The marked entries of the list, else the one under the cursor."""
        current = [self._list.current] if self._list.current else []
        return [entry for entry in self._index.listed if entry.run.name in self._marked] or current

    def hidden_keys(self) -> set[str]:
        """What the marked runs, else the one under the cursor, would refuse now: the footer has room for the rest."""
        current = self._list.current
        if current is None:
            return {"mark", "compare", *(binding.action for binding in RUN_KEYS)}
        runs = [entry.run for entry in self._entries_picked()]
        at_work = [run.state in ("running", "starting", "queued") for run in runs]
        finished = [run.accuracy_mean is not None for run in runs]
        resumable = any(not one and not other for one, other in zip(at_work, finished, strict=True))
        hidden = {"resume": not resumable, "stop": not any(at_work), "evaluate": not all(finished)}
        # Who has runs knows the way; an empty list tells it.
        hidden["app.launch(True)"] = True
        hidden |= {"compare": not self._marked, "rename": any(at_work) or len(runs) > 1, "delete": any(at_work)}
        of_sweep = NOT_OF_SWEEPS if any(run.cells for run in runs) else set()
        return {action for action, hides in hidden.items() if hides} | of_sweep

    def on_option_list_option_highlighted(self) -> None:
        self._footer.hide(self.hidden_keys())
        self._preview_soon()

    def on_option_list_option_selected(self) -> None:
        if folder := self.picked():
            self.post_message(OpenRun(folder))

    def _preview_soon(self) -> None:
        """Previews the run under the cursor once the cursor rests: reading each run passed by would be wasted."""
        if self._preview_timer is not None:
            self._preview_timer.stop()
        self._preview_timer = self.set_timer(PREVIEW_AFTER_SECONDS, self._show_preview)

    @work(exclusive=True, group="preview")
    async def _show_preview(self) -> None:
        preview, current = self._preview, self._list.current
        if not preview.display:
            return
        if current is None:
            preview.show(None, RunSummary())
            return
        if self._summary_reader is None or self._summary_reader.folder.root != current.folder.root:
            self._summary_reader = RunSummaryReader(current.folder)
        reader = self._summary_reader
        while not await asyncio.to_thread(reader.read):
            pass
        preview.show(current, reader.summary)

    def action_mark(self) -> None:
        """Marks the run under the cursor, or takes the mark off, and goes to the next."""
        if folder := self.picked():
            # A dict and no set: the runs are compared in the order in which they were marked.
            if folder.name in self._marked:
                del self._marked[folder.name]
            else:
                self._marked[folder.name] = None
            self._list.action_move(1)
            self._show()

    def action_copy_table(self, form: TableFormat) -> None:
        """Copies the runs that are listed, in their order."""
        copy_table(self.app, runs_as(form, [entry.run for entry in self._list.entries]), form)

    def action_compare(self) -> None:
        """Compares the marked runs, or the one marked with the one under the cursor."""
        names = dict(self._marked)
        if len(names) == 1 and (folder := self.picked()):
            names[folder.name] = None
        if len(names) < 2:
            self.tell("mark two to six runs with space", title="compare", severity="warning")
        elif len(names) > MOST_COMPARED:
            self.tell(f"at most six runs can be compared, {len(names)} are marked", title="compare", severity="warning")
        else:
            self.post_message(OpenCompare([RunFolder(self._runs_dir / name) for name in names]))

    def action_sort_by(self, key: str) -> None:
        """Sorts by a column; once more for the same one turns the order round."""
        self._order = self._order.asked(key)
        self._show()

    def action_sort(self) -> None:
        """Sorts by the next column."""
        keys = [column.key for column in COLUMNS]
        self._order = Order(keys[(keys.index(self._order.key) + 1) % len(keys)])
        self.tell(f"sorted by {COLUMN_BY_KEY[self._order.key].title}", timeout=1.5)
        self._show()

    def action_reverse(self) -> None:
        """Turns the order round."""
        self.action_sort_by(self._order.key)

    def action_filter(self) -> None:
        """Opens the filter, with what it holds."""
        self._filter.open()

    def on_input_changed(self) -> None:
        self._show()

    def on_input_submitted(self) -> None:
        self._filter.close()
        self._list.focus()

    def step_back(self) -> bool:
        """Shows all again, or takes the marks off; returns whether there was anything to take back."""
        bar = self._filter
        if bar.in_use:
            bar.close(clear=True)
            self._list.focus()
        elif self._marked:
            self._marked.clear()
            self._show()
        else:
            return False
        return True
