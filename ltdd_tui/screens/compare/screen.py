"""Two to six runs side by side: figures, curves, classes, and the settings in which they differ."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, Vertical
from textual.events import DescendantFocus
from textual.screen import Screen
from textual.widgets import Tab, Tabs

from engine.run.folder import RunFolder
from ltdd_tui.formatting import shortened
from ltdd_tui.preferences import ImageMode, series_color
from ltdd_tui.runs.comparison import ComparedRun, common_cell, compared_runs, comparison_as
from ltdd_tui.runs.live import LiveRun
from ltdd_tui.runs.tables import TableFormat
from ltdd_tui.screens.actions import TABLE_KEYS, copy_table
from ltdd_tui.screens.compare.images import ComparedImages
from ltdd_tui.screens.compare.panels import (
    ClassesPanel,
    ComparedAccuracy,
    ComparedLosses,
    Comparison,
    CurvePanel,
    FiguresPanel,
    SettingsPanel,
)
from ltdd_tui.widgets.curve import SharedX
from ltdd_tui.widgets.panes import KeyFooter, TitleBar

READ_SECONDS, LOOK_SECONDS = 0.1, 0.5
SMALLEST_FOR_ALL = (100, 32)


class CompareScreen(Screen[None]):
    """Reads the runs as they go on, and draws them together; a run keeps its letter and its color."""

    HELP: ClassVar[str] = """
    Two to six runs side by side; each has a letter and a color, the same in all panels. Runs that still work go on
    being read.

    `1` to `6` go to a panel, `m` shows it alone and all again. In a small terminal one is shown at a time; the images
    of two runs (`6`) stand beside the others only in a large one. `Y` copies the figures as Markdown, `C` as CSV.
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(place), f"go({place - 1})", "Panel", show=False, id=f"compare.panel_{place}")
            for place in range(1, 7)
        ),
        Binding("m", "maximize_panel", "Maximize", id="compare.maximize"),
        Binding("b", "next_base", "Next base", id="compare.base"),
        *TABLE_KEYS,
    ]
    AUTO_FOCUS = "#figures"
    CSS_PATH = "compare.tcss"
    VERTICAL_BREAKPOINTS = [(0, "-low"), (32, "-tall"), (50, "-towering")]
    ALLOW_IN_MAXIMIZED_VIEW = "#top, KeyFooter"

    def __init__(self, folders: Sequence[RunFolder], image_mode: ImageMode = "auto") -> None:
        super().__init__()
        self._folders = list(folders)
        self._base = 0
        self._chosen = 0
        self._runs: list[LiveRun] = []
        self._unreadable: dict[str, str] = {}
        self._title = TitleBar("Compare")
        # Both curves are zoomed together.
        x = SharedX()
        self._panels: list[
            FiguresPanel | ComparedLosses | ComparedAccuracy | ClassesPanel | SettingsPanel | ComparedImages
        ] = [
            FiguresPanel(),
            ComparedLosses(x),
            ComparedAccuracy(x),
            ClassesPanel(),
            SettingsPanel(),
            ComparedImages(image_mode),
        ]
        # Before the first layout: where one panel is shown alone, it is the one that is seen.
        self._panels[0].add_class("-chosen")
        self._tabs = Tabs(*(Tab(f"{panel.NUMBER} {panel.NAME}", id=f"to-{panel.NAME}") for panel in self._panels))
        self._tabs.can_focus = False

    def compose(self) -> ComposeResult:
        # Docked, to stay above a maximized panel, which Textual puts before all that is not.
        with Vertical(id="top"):
            yield self._title
            yield self._tabs
        with Grid():
            yield from self._panels
        yield KeyFooter()

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self._draw())
        self._follow()

    def on_unmount(self) -> None:
        self.app.theme_changed_signal.unsubscribe(self)

    @work(group="follow")
    async def _follow(self) -> None:
        self._runs = await asyncio.to_thread(lambda: [LiveRun(folder) for folder in self._folders])
        seen: list[object] = []
        while True:
            caught_up = True
            if self.is_active:
                for run in self._runs:
                    caught_up &= await self._read(run)
                now = [*(run.view.version for run in self._runs), dict(self._unreadable)]
                if now != seen:
                    seen = now
                    self._draw()
            if caught_up:
                await asyncio.sleep(LOOK_SECONDS)

    async def _read(self, run: LiveRun) -> bool:
        """Whether that was all there is of a run; one whose files may not be read is told in the title."""
        caught_up = await asyncio.to_thread(run.read, READ_SECONDS)
        self._unreadable.pop(run.folder.name, None)
        if run.unreadable:
            self._unreadable[run.folder.name] = run.unreadable
        return caught_up

    def _draw(self) -> None:
        runs = compared_runs([run.view for run in self._runs])
        if not runs or self not in self.app.screen_stack:
            # Left while it was read, or resized on its way out.
            return
        dark = self.app.current_theme.dark
        comparison = Comparison(runs, [series_color(place, dark) for place in range(len(runs))], self._base)
        for panel in self._panels:
            panel.compare(comparison)
        missing = {run.name: "gone" for run in runs if run.view.gone} | self._unreadable
        text = self._names(runs) if self.has_class("-single") else common_cell(runs)
        self._title.tell(", ".join(f"{why}: {name}" for name, why in missing.items()) or text)

    def _names(self, runs: Sequence[ComparedRun]) -> str:
        """What the letters stand for, for when the table of figures is out of sight."""
        room = (self.size.width - len("Compare") - 4) // len(runs) - len("A , ")
        return ", ".join(f"{run.tag} {shortened(run.name, room)}" for run in runs)

    def _choose(self, place: int) -> None:
        self._chosen = place
        for at, panel in enumerate(self._panels):
            panel.set_class(at == place, "-chosen")
        # The images have no place beside the others where there is little room.
        if self.maximized or not self._panels[place].display:
            self.maximize(self._panels[place], container=False)
        with self.prevent(Tabs.TabActivated):
            self._tabs.active = f"to-{self._panels[place].NAME}"

    def action_go(self, place: int) -> None:
        self._choose(place)
        panel = self._panels[place]
        (panel.curve if isinstance(panel, CurvePanel) else panel).focus()

    def on_tabs_tab_activated(self, event: Tabs.TabActivated) -> None:
        names = [f"to-{panel.NAME}" for panel in self._panels]
        # A screen that is left may still be told of tabs that are gone.
        if event.tab.id in names and event.tab.is_attached:
            self.action_go(names.index(event.tab.id))

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        # The panel in focus is the one that is shown alone.
        for place, panel in enumerate(self._panels):
            if panel in event.widget.ancestors_with_self and place != self._chosen:
                self._choose(place)

    def action_maximize_panel(self) -> None:
        if self.maximized:
            self.minimize()
        else:
            self.maximize(self._panels[self._chosen], container=False)

    def watch_maximized(self) -> None:
        self.on_resize()
        # Not on the way out, when the tabs may be gone already.
        if self.is_running and self.maximized is None and not self._panels[self._chosen].display:
            self.action_go(0)

    def on_resize(self) -> None:
        small = self.size.width < SMALLEST_FOR_ALL[0] or self.size.height < SMALLEST_FOR_ALL[1]
        self.set_class(self.maximized is not None or small, "-single")
        self._draw()

    def action_copy_table(self, form: TableFormat) -> None:
        """Copies the figures and the accuracies by class, a row for each run."""
        copy_table(self.app, comparison_as(form, compared_runs([run.view for run in self._runs])), form)

    def action_next_base(self) -> None:
        """Takes the next run as the one that differences are to."""
        self._base = (self._base + 1) % max(1, len(self._runs))
        self._draw()
