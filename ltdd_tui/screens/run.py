"""One run, live or finished: its stages, its panels, and a slider through its iterations."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from functools import partial
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer

from engine.run.errors import LtddError
from engine.run.folder import RunFolder
from ltdd_tui.arrangement import Arrangement
from ltdd_tui.attend import handle
from ltdd_tui.control import Control
from ltdd_tui.dialogs.confirm import Confirm
from ltdd_tui.live import LiveRun, View
from ltdd_tui.notices import Notice, can_resume, can_stop, notice
from ltdd_tui.panels.every import PANELS
from ltdd_tui.panels.head import RunHead
from ltdd_tui.panels.notice import NoticeBox
from ltdd_tui.panels.panel import Panel
from ltdd_tui.panels.scrubber import Scrubber
from ltdd_tui.panels.strip import PanelStrip
from ltdd_tui.panels.workspace import Workspace
from ltdd_tui.preferences import load_layout, remember
from ltdd_tui.replay import as_of, frames
from ltdd_tui.terminal_title import set_terminal_title
from ltdd_tui.tidings import terminal_title, tidings

READ_SECONDS, DRAW_SECONDS, BETWEEN_PANELS_SECONDS = 0.25, 0.5, 0.01
SPARE_EVERY = 2000
STOP_DETAILS = "The worker stops at its next safe point. What is finished is kept, and `r` goes on from there."


class RunScreen(Screen[None]):
    """Reads the run's folder in a thread, and draws what has changed twice a second."""

    AUTO_FOCUS = "#accuracy"
    HELP: ClassVar[str] = """\
## A run

The first lines say how the run stands and which stage it is in. Each panel has a **number**: the key shows and hides
it; on a small screen it changes to that panel. `m` gives the focused panel the whole space, `0` shows all again.

The slider at the bottom moves through the iterations: all panels show how things stood then; `space` plays.

Leaving the screen, or the program, stops nothing: the worker goes on, and `ltdd-tui watch NAME` shows it again. `s`
stops it, after asking, at its next safe point; `r` goes on with a run that stopped, failed or crashed.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(panel.NUMBER, f"panel('{panel.NAME}')", panel.TITLE, show=False, id=f"run.panel.{panel.NAME}")
            for panel in PANELS
        ),
        Binding("0", "reset_panels", "Reset panels", show=False, id="run.panels.reset"),
        Binding("m", "maximize_panel", "Maximize", id="run.maximize"),
        Binding("space", "play", "Replay", id="run.play"),
        Binding("s", "stop", "Stop", id="run.stop"),
        Binding("r", "resume", "Resume", id="run.resume"),
        Binding("c,y", "copy", "Copy path", id="run.copy"),
        Binding("q,escape", "leave", "Back", id="run.leave"),
    ]
    DEFAULT_CSS = "RunScreen { layout: vertical; overflow: hidden; }"

    def __init__(self, folder: RunFolder, device: str = "auto") -> None:
        super().__init__()
        self._folder = folder
        self._live = LiveRun(folder)
        self._control = Control(folder, device)
        self._told: View | None = None
        self._unreadable: OSError | None = None
        self._view = self._live.view
        self._given: dict[str, tuple[object, ...]] = {}
        self._offered: tuple[bool | None, bool | None] = (None, None)
        self._spared = 0
        self._wanted = asyncio.Event()
        self._saving = asyncio.Lock()

    def compose(self) -> ComposeResult:
        """Head, names of the panels, what is the matter, the panels, the slider, the keys."""
        yield RunHead()
        yield PanelStrip(PANELS)
        yield NoticeBox()
        yield Workspace([panel() for panel in PANELS], Arrangement.of(load_layout()))
        yield Scrubber()
        yield Footer()

    def on_mount(self) -> None:
        """Begins to read and to draw."""
        self._keep_reading()
        self._keep_drawing()

    def on_unmount(self) -> None:
        """Leaves no title of a run that is not shown any more."""
        set_terminal_title(self.app, self.app.title)

    @work(group="read", exclusive=True)
    async def _keep_reading(self) -> None:
        while True:
            try:
                caught_up = await asyncio.to_thread(self._live.read)
                self._unreadable = None
            except OSError as error:
                caught_up, self._unreadable = True, error
            self._spare_the_collector()
            if caught_up:
                self._tell()
                await asyncio.sleep(READ_SECONDS)

    def _spare_the_collector(self) -> None:
        """Takes what was read out of the garbage collector's sight: looking through it would hold up keys for 0.1 s."""
        count = len(self._live.view.state.points)
        if count - self._spared >= SPARE_EVERY:
            self._spared = count
            gc.freeze()

    def _tell(self) -> None:
        """Says aloud what is new since the run was first read to its end."""
        view, before = self._live.view, self._told
        self._told = view
        if before is None or view.version == before.version:
            return
        for tiding in tidings(before, view):
            self.notify(tiding.message, title=tiding.title, severity=tiding.severity, timeout=10, markup=False)
            if tiding.rings:
                self.app.bell()
        if (view.state.status, view.alive) != (before.state.status, before.alive):
            self._wanted.set()

    @work(group="draw", exclusive=True)
    async def _keep_drawing(self) -> None:
        while True:
            self._wanted.clear()
            if self.is_current:
                await self._draw()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), DRAW_SECONDS)

    async def _draw(self) -> None:
        scrubber, live = self.query_one(Scrubber), self._live.view
        scrubber.show(live.state.iteration, frames(live.state), "live" if live.alive else "end")
        if (live.version, scrubber.at) != (self._view.version, self._view.at):
            self._view = as_of(live, scrubber.at)
        view, now = self._view, time.time()
        self.query_one(RunHead).show(view, now, self._word())
        self.query_one(NoticeBox).show(self._notice())
        self._offer()
        set_terminal_title(self.app, terminal_title(live))
        for panel in self.query_one(Workspace).seen:
            if self._has_news(panel, view, now):
                panel.show(view)
                # A pause, so that drawing many panels never holds up a key.
                await asyncio.sleep(BETWEEN_PANELS_SECONDS)

    def _offer(self) -> None:
        """Shows the keys of what can be done now."""
        offered = (self.check_action("stop", ()), self.check_action("resume", ()))
        if offered != self._offered:
            self._offered = offered
            self.refresh_bindings()

    def _has_news(self, panel: Panel, view: View, now: float) -> bool:
        works = panel.SHOWS_TIME and view.state.status == "running"
        given = (view.version, view.at, int(now) if works else 0)
        before, self._given[panel.NAME] = self._given.get(panel.NAME), given
        return given != before

    def _word(self) -> str:
        if self._told is None:
            return "reading"
        return "stopping" if self._control.stopping(self._live.view) else ""

    def _notice(self) -> Notice | None:
        if self._unreadable is not None:
            return Notice("error", "the run cannot be read", (str(self._unreadable),))
        # Until all events are read, a finished run looks like one whose worker is gone.
        if self._told is None:
            return None
        live = self._live.view
        return notice(self._view, self._control.starting(live), self._control.exit_code(live))

    @on(Workspace.Rearranged)
    def _show_rearranged(self) -> None:
        self.query_one(PanelStrip).show([panel.NAME for panel in self.query_one(Workspace).seen])
        self._wanted.set()

    @on(Scrubber.Moved)
    def _show_iteration(self) -> None:
        self._wanted.set()

    @on(PanelStrip.Picked)
    def _show_picked(self, picked: PanelStrip.Picked) -> None:
        self.action_panel(picked.name)

    def on_resize(self) -> None:
        """The head may need another line."""
        self._wanted.set()

    def action_panel(self, name: str) -> None:
        """Shows or hides a panel."""
        workspace = self.query_one(Workspace)
        workspace.arrange_as(workspace.arrangement.toggled(name, *workspace.size))
        panel = workspace.panels[name]
        if panel in workspace.seen:
            panel.focus(scroll_visible=False)
        self._save_layout()

    def action_reset_panels(self) -> None:
        """Shows the panels as they were at first."""
        self.query_one(Workspace).arrange_as(Arrangement())
        self._save_layout()

    def action_maximize_panel(self) -> None:
        """Gives the focused panel the whole space, or takes it back."""
        workspace = self.query_one(Workspace)
        focused = next((panel for panel in workspace.seen if panel.has_focus_within or panel.has_focus), None)
        name = None if workspace.arrangement.maximized else focused.NAME if focused else workspace.arrangement.active
        workspace.arrange_as(workspace.arrangement.maximizing(name))

    @work(group="layout")
    async def _save_layout(self) -> None:
        async with self._saving:
            try:
                await asyncio.to_thread(partial(remember, **self.query_one(Workspace).arrangement.remembered()))
            except OSError as error:
                self.notify(f"the layout is not remembered: {error}", severity="warning", markup=False)

    def action_play(self) -> None:
        """Plays the run from its start, or from where the slider is."""
        self.query_one(Scrubber).toggle_play()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Stop only while a worker is at work, resume only where it can go on."""
        if action == "stop":
            return can_stop(self._live.view)
        if action == "resume":
            return can_resume(self._live.view) and not self._control.starting(self._live.view)
        return True

    @work(group="worker", exclusive=True)
    async def action_stop(self) -> None:
        """Asks, then asks the worker."""
        if await self.app.push_screen_wait(Confirm(f"Stop {self._folder.name}?", STOP_DETAILS, "Stop it", "Go on")):
            try:
                await self._control.stop()
            except (LtddError, OSError) as error:
                self.notify(str(error), severity="error", markup=False)
            self._wanted.set()

    @work(group="worker", exclusive=True)
    async def action_resume(self) -> None:
        """Starts a worker that goes on."""
        try:
            await self._control.resume()
        except (LtddError, OSError) as error:
            self.notify(str(error), severity="error", markup=False)
        self._wanted.set()

    def action_copy(self) -> None:
        """Copies the command that resumes the run where that is what one would do next, else the folder's path."""
        resumes = can_resume(self._live.view)
        text = f"ltdd-tui resume {handle(self._folder)}" if resumes else str(self._folder.root)
        self.app.copy_to_clipboard(text)
        self.notify(text, title="copied", markup=False)

    def action_leave(self) -> None:
        """Goes back from a maximized panel, then from the screen; the run goes on."""
        if self.query_one(Workspace).arrangement.maximized:
            self.action_maximize_panel()
        else:
            self.app.pop_screen()
