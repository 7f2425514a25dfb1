"""Every run below the runs folder: found as one types, looked at, compared, and put in order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Footer, Input, Static

from engine.run.folder import RunFolder
from ltdd_tui.formatting import short_path
from ltdd_tui.runs.filter import RunFilter
from ltdd_tui.runs.filter import parse as parse_filter
from ltdd_tui.runs.index import RunEntry, RunIndex, starting
from ltdd_tui.runs.results import RunSummary, RunSummaryReader
from ltdd_tui.screens.actions import RunActions
from ltdd_tui.screens.runs.preview import RunPreview
from ltdd_tui.screens.runs.table import BY_KEY, COLUMNS, Order, RunList, in_order, standing
from ltdd_tui.widgets.panes import TitleBar

# One line to find runs with: what one types, and how many it finds.


PLACEHOLDER = "words, state:running, method:ltdd, if:100, acc>50"


class FilterBar(Horizontal):
    """Shown while it is typed into or holds something; `wanted` is the filter that it holds."""

    DEFAULT_CSS = """
    FilterBar {
        height: 1; background: $panel;
        & > Static { width: auto; padding: 0 1; color: $text-accent; }
        & > Static.-wrong { color: $text-error; }
        & > Input { width: 1fr; background: $panel; }
    }
    """

    class Changed(Message):
        """What is wanted has changed."""

    class Left(Message):
        """Enter: back to what was found."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted = RunFilter()
        self._field = Input(placeholder=PLACEHOLDER, select_on_focus=False, compact=True)
        self._count = Static(classes="count", markup=False)
        self.display = False

    def compose(self) -> ComposeResult:
        """The field between its sign and the count."""
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

    def tell(self, shown: int, of: int) -> None:
        """Says how many runs are found, or what of the text cannot be read."""
        faults = self.wanted.faults
        self._count.update(faults[0] if faults else f"{shown} of {of}")
        self._count.set_class(bool(faults), "-wrong")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Finds as one types."""
        event.stop()
        self.wanted = parse_filter(event.value)
        self.post_message(self.Changed())

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter leaves the field."""
        event.stop()
        self.post_message(self.Left())


LOOK_SECONDS = 2.0
GLANCE_AFTER_SECONDS = 0.15
MOST_COMPARED = 6
TYPING_ACTIONS = {"back"}
NO_RUNS = """[b]No runs yet[/b] in $folder

[$text-accent]F3[/] sets one up. To see everything at work in two minutes, pick the preset [b]quickstart[/b],
or in a shell: [$text-accent]ltdd-tui run quickstart[/]"""
NOTHING_FOUND = """[b]Nothing matches[/b]

[$text-accent]escape[/] shows all runs again, [$text-accent]F1[/] tells what can be typed"""


class RunsScreen(RunActions):
    """Every run below the runs folder."""

    HELP: ClassVar[str] = """
    Every run below the runs folder, the ones at work first, then the latest. The list keeps itself up to date.

    **Find**: `/`, then type. Words match anything in a line; `state:running`, `method:ltdd,datm`, `dataset:cifar10`,
    `name:`, `stage:` match one field; `if:100`, `ipc:10`, `seed:0`, `acc>50` numbers. A minus in front means not:
    `-state:done`. All terms must hold. Enter goes back to the list, escape shows all again.

    **Compare**: mark two to six runs with space, then `c`. With one marked, it is compared with the one under the
    cursor.

    **States**: *waiting* (no worker yet), *starting*, *running*, *stopped* on request, *failed* (it says why),
    *crashed* (the worker is gone without a word), *done*, *damaged* (files that cannot be read). Resume starts what
    waits, and goes on with what stopped, failed or crashed from its last checkpoint.

    **Delete** asks first, never takes a running run, and leaves experts in the cache.
    """
    AUTO_FOCUS = "RunList"
    # The preview needs more room than other panels do.
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (116, "-wide"), (160, "-huge")]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "Mark", id="runs.mark"),
        Binding("c", "compare", "Compare", id="runs.compare"),
        Binding("r", "resume", "Resume", id="runs.resume"),
        Binding("s", "stop", "Stop", id="runs.stop"),
        Binding("slash", "filter", "Find", id="runs.filter"),
        Binding("v", "evaluate", "Evaluate on further networks", show=False, id="runs.evaluate"),
        Binding("x", "export", "Export", show=False, id="runs.export"),
        Binding("n", "rename", "Rename", show=False, id="runs.rename"),
        Binding("d", "delete", "Delete", show=False, id="runs.delete"),
        Binding("y", "copy_path", "Copy path", show=False, id="runs.copy_path"),
        Binding("o", "open_folder", "Open folder", show=False, id="runs.open_folder"),
        Binding("S", "sort", "Sort by the next column", show=False, id="runs.sort"),
        Binding("I", "reverse", "Turn the order round", show=False, id="runs.reverse"),
        Binding("escape", "back", "Back", show=False, id="runs.back"),
    ]
    DEFAULT_CSS = """
    RunsScreen {
        #runs { height: 1fr; }
        RunList { width: 1fr; height: 1fr; }
        RunPreview { display: none; }
        &.-wide RunPreview { display: block; }
        &.-huge RunPreview { display: block; width: 60; }
        #nothing { display: none; width: 1fr; height: 1fr; content-align: center middle; text-align: center; }
        .-nothing { #nothing { display: block; } RunList, RunPreview { display: none; } }
    }
    """

    def __init__(self, runs_dir: Path) -> None:
        super().__init__()
        self._scanner = RunIndex(runs_dir)
        self._runs_dir = runs_dir
        self._order = Order()
        self._marked: dict[str, None] = {}
        self._point_at: str | None = None
        self._glancer: RunSummaryReader | None = None
        self._glance_timer: Timer | None = None
        self._look_now = asyncio.Event()
        # Held and not searched for: while the screen closes, some are gone before others.
        self._title, self._filter = TitleBar("Runs"), FilterBar()
        self._body, self._nothing = Horizontal(id="runs"), Static(id="nothing")
        self._list, self._preview = RunList(), RunPreview()

    def compose(self) -> ComposeResult:
        """Title, filter, list and preview, keys."""
        yield self._title
        yield self._filter
        with self._body:
            yield self._nothing
            yield self._list
            yield self._preview
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Starts to look, and to keep looking."""
        self._keep_looking()

    def on_screen_resume(self) -> None:
        """Looks at once: something may have changed while another screen was shown."""
        self._look_now.set()

    @work(group="look")
    async def _keep_looking(self) -> None:
        while True:
            self._look_now.clear()
            caught_up = not self.is_active or await asyncio.to_thread(self._scanner.look)
            if self.is_active:
                self._show()
            if caught_up:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._look_now.wait(), LOOK_SECONDS)

    def _show(self) -> None:
        found = [self._as_known(listed) for listed in self._scanner.listed]
        wanted = self._filter.wanted
        shown = in_order([listed for listed in found if wanted.matches(listed.run)], self._order)
        names = {listed.run.name for listed in found}
        self._marked = {name: None for name in self._marked if name in names}
        runs = self._list
        before = runs.current
        runs.show(shown, self._marked, self._order)
        if self._point_at in names:
            runs.point_at(self._point_at or "")
            self._point_at = None
        if runs.current is not before:
            self._glance_soon()
        self._tell(found, len(shown))

    def _as_known(self, listed: RunEntry) -> RunEntry:
        """A run whose worker is on its way is starting, whatever its files still say."""
        control = self.ltdd.known_control(listed.folder)
        return starting(listed) if control and control.is_on_its_way(listed.run.state) else listed

    def _tell(self, found: Sequence[RunEntry], shown: int) -> None:
        self._title.tell(standing(found, len(self._marked)), short_path(self._runs_dir))
        self._filter.tell(shown, len(found))
        self._body.set_class(not shown, "-nothing")
        if not shown:
            text = NOTHING_FOUND if found else NO_RUNS
            self._nothing.update(Content.from_markup(text, folder=short_path(self._runs_dir)))

    def picked(self) -> RunFolder | None:
        """The run under the cursor."""
        current = self._list.current
        return current.folder if current else None

    def changed(self, renamed: RunFolder | None = None) -> None:
        """Looks again at once, and stays with a run that has another name now."""
        if renamed is not None:
            self._point_at = renamed.name
        self._look_now.set()

    def sent(self, folder: RunFolder) -> None:
        """Shows at once that a worker is on its way."""
        self._show()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While one types into the filter, letters are letters."""
        return action in TYPING_ACTIONS or not isinstance(self.focused, Input)

    def on_run_list_highlighted(self) -> None:
        """Another run is under the cursor: look at it, once the cursor rests."""
        self._glance_soon()

    def on_run_list_opened(self) -> None:
        """Shows the run."""
        if folder := self.picked():
            self.ltdd.open_run(folder)

    def on_run_list_sorted(self, event: RunList.Sorted) -> None:
        """Sorts by the column whose title was clicked."""
        self._order = self._order.asked(event.key)
        self._show()

    def _glance_soon(self) -> None:
        if self._glance_timer is not None:
            self._glance_timer.stop()
        self._glance_timer = self.set_timer(GLANCE_AFTER_SECONDS, self._glance)

    @work(exclusive=True, group="glance")
    async def _glance(self) -> None:
        preview, current = self._preview, self._list.current
        if not preview.display:
            return
        if current is None:
            preview.show(None, RunSummary())
            return
        if self._glancer is None or self._glancer.folder.root != current.folder.root:
            self._glancer = RunSummaryReader(current.folder)
        glancer = self._glancer
        while not await asyncio.to_thread(glancer.read):
            pass
        preview.show(current, glancer.summary)

    def action_mark(self) -> None:
        """Marks the run under the cursor, or takes the mark off, and goes to the next."""
        if folder := self.picked():
            if folder.name in self._marked:
                del self._marked[folder.name]
            else:
                self._marked[folder.name] = None
            self._list.action_move(1)
            self._show()

    def action_compare(self) -> None:
        """Compares the marked runs, or the one marked with the one under the cursor."""
        names = dict(self._marked)
        if len(names) == 1 and (folder := self.picked()):
            names[folder.name] = None
        if len(names) < 2:
            self.tell("mark two to six runs with space", title="compare", severity="warning")
        elif len(names) > MOST_COMPARED:
            self.tell(f"{len(names)} are marked, six fit", title="compare", severity="warning")
        else:
            self.ltdd.open_compare([RunFolder(self._runs_dir / name) for name in names])

    def action_sort(self) -> None:
        """Sorts by the next column."""
        keys = [column.key for column in COLUMNS]
        self._order = Order(keys[(keys.index(self._order.key) + 1) % len(keys)])
        self.tell(f"sorted by {BY_KEY[self._order.key].title}", timeout=1.5)
        self._show()

    def action_reverse(self) -> None:
        """Turns the order round."""
        self._order = self._order.asked(self._order.key)
        self._show()

    def action_filter(self) -> None:
        """Opens the filter, with what it holds."""
        self._filter.open()

    def on_filter_bar_changed(self) -> None:
        """Finds as one types."""
        self._show()

    def on_filter_bar_left(self) -> None:
        """Back to the list, with what was found."""
        self._filter.close()
        self._list.focus()

    def action_back(self) -> None:
        """Step by step: shows all again, takes the marks off, goes back."""
        bar = self._filter
        if bar.in_use:
            bar.close(clear=True)
            self._list.focus()
        elif self._marked:
            self._marked.clear()
            self._show()
        elif len(self.app.screen_stack) > 2:
            self.app.pop_screen()
