"""One run, live or finished: its stages, its panels, and a slider through its iterations."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widget import Widget

from engine.run.folder import RunFolder
from ltdd_tui.preferences import ImageMode, load_layout, remember
from ltdd_tui.runs.messages import Notice, can_resume, can_stop, notice
from ltdd_tui.runs.replay import as_of, frames
from ltdd_tui.runs.state import DISTILL
from ltdd_tui.runs.worker import WorkerHandles
from ltdd_tui.screens.actions import RUN_KEYS, OpenRun, RunActions
from ltdd_tui.screens.live import LiveScreen
from ltdd_tui.screens.panel import Panel
from ltdd_tui.screens.run.header import NoticeBox, RunHeader
from ltdd_tui.screens.run.layout import PANELS, Arrangement, PanelStrip, Workspace, suggested
from ltdd_tui.screens.run.timeline import Scrubber
from ltdd_tui.widgets.panes import KeyFooter

BETWEEN_PANELS_SECONDS = 0.01


class RunScreen(LiveScreen, RunActions):
    """Shows the run, and does to it what its keys say."""

    AUTO_FOCUS = "#accuracy"
    CSS_PATH = "run.tcss"
    ALLOW_IN_MAXIMIZED_VIEW = "#top, Scrubber, KeyFooter"
    HELP: ClassVar[str] = """\
## A run

The first lines say how the run stands and which stage it is in. Each panel has a **number**: the key shows and hides
it; on a small screen it changes to that panel. `m` gives the focused panel the whole space, `0` shows all again.

The slider at the bottom moves through the iterations: all panels show how things stood then; `space` plays.

`q` goes back to where you came from; after `ltdd-tui watch NAME` that is the shell. Leaving the screen, or the
program, stops nothing: the worker goes on, and `ltdd-tui watch NAME` shows it again. `s` stops it, after asking, at its
next safe point; `r` goes on with a run that stopped, failed or crashed.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(panel.NUMBER, f"panel('{panel.NAME}')", panel.TITLE, show=False, id=f"run.panel.{panel.NAME}")
            for panel in PANELS
        ),
        Binding("0", "reset_panels", "Reset panels", show=False, id="run.panels.reset"),
        Binding("m", "maximize_panel", "Maximize", id="run.maximize"),
        Binding("space", "play", "Replay", id="run.play"),
        *RUN_KEYS,
        Binding("y", "copy", "Copy", tooltip="The run's path, or the command that resumes it", id="run.copy"),
    ]

    def __init__(self, folder: RunFolder, worker_handles: WorkerHandles, image_mode: ImageMode) -> None:
        super().__init__(folder)
        self.worker_handles = worker_handles
        self._header, self._strip, self._notice_box = RunHeader(), PanelStrip(), NoticeBox()
        layout, _ = load_layout()
        self._workspace = Workspace(Arrangement.of(layout), image_mode)
        self._scrubber = Scrubber()
        self._view = self.live.view
        self._drawn_versions: dict[str, tuple[object, ...]] = {}
        self._possible_actions: tuple[bool | None, bool | None] = (None, None)
        self._saving = asyncio.Lock()

    def compose(self) -> ComposeResult:
        # Docked, to stay above a maximized panel, which Textual puts before all that is not.
        with Vertical(id="top"):
            yield self._header
            yield self._strip
            yield self._notice_box
        yield self._workspace
        yield self._scrubber
        yield KeyFooter()

    async def draw(self) -> None:
        """Draws the header, and every panel in sight that has news."""
        scrubber, live = self._scrubber, self.live.view
        end = "live" if live.alive else "end"
        if not live.state.iteration:
            end = "no iteration yet" if live.state.has_stage(DISTILL) else "this method has no iterations"
        scrubber.show(live.state.iteration, frames(live.state), end)
        if (live.version, scrubber.at) != (self._view.version, self._view.at):
            self._view = as_of(live, scrubber.at)
        self._workspace.suggest(suggested(live.state))
        view, now = self._view, time.time()
        self._header.show(view, now, self._status_word())
        self._notice_box.show(self._notice())
        possible = (self.check_action("stop", ()), self.check_action("resume", ()))
        if possible != self._possible_actions:
            self._possible_actions = possible
            # The footer shows the keys of what can be done now.
            self.refresh_bindings()
        for panel in self._workspace.seen:
            ticks = panel.SHOWS_TIME and view.state.status == "running"
            version = (view.version, view.at, int(now) if ticks else 0)
            if self._drawn_versions.get(panel.NAME) != version:
                self._drawn_versions[panel.NAME] = version
                panel.show(view)
                # A pause, so that drawing many panels never holds up a key.
                await asyncio.sleep(BETWEEN_PANELS_SECONDS)

    def _status_word(self) -> str:
        """What is said in place of the status, where a worker was started or stopped that has not said so itself."""
        live, worker_handle = self.live.view, self.worker_handles.of(self.folder)
        if self.notified is None:
            return "reading"
        stopping = worker_handle.stopping_seconds(live) is not None
        return "stopping" if stopping else "starting" if worker_handle.is_starting(live) else ""

    def _notice(self) -> Notice | None:
        if self.unreadable is not None:
            return Notice("error", "the run cannot be read", (str(self.unreadable),))
        # Until all events are read, a finished run looks like one whose worker is gone.
        if self.notified is None:
            return None
        live, worker_handle = self.live.view, self.worker_handles.of(self.folder)
        return notice(
            self._view,
            worker_handle.is_starting(live),
            worker_handle.exit_code(live),
            worker_handle.how_it_died(live),
            worker_handle.stopping_seconds(live),
        )

    def worker_exit_code(self) -> int | None:
        return self.worker_handles.of(self.folder).how_it_died(self.live.view)

    def picked(self) -> RunFolder:
        """The run that is shown."""
        return self.folder

    def worker_changed(self, folder: RunFolder) -> None:
        self.draw_soon()

    def changed(self, renamed: RunFolder | None = None) -> None:
        """Leaves a run that is deleted; of one that was renamed, opens what it is called now."""
        if renamed is not None:
            self.app.post_message(OpenRun(renamed))
        if not self.folder.exists():
            self.dismiss(None)

    def watch_maximized(self, maximized: Widget | None) -> None:
        if isinstance(maximized, Panel):
            # Where panels are tabs, it is also the one that is seen afterwards.
            self._workspace.arrange_as(replace(self._workspace.arrangement, active=maximized.NAME))
        elif self._workspace.is_attached:
            self._workspace.display_seen()

    @on(Workspace.Rearranged)
    def _show_rearranged(self) -> None:
        self._strip.show([panel.NAME for panel in self._workspace.seen])
        self.draw_soon()

    @on(PanelStrip.Picked)
    def _show_picked(self, picked: PanelStrip.Picked) -> None:
        self.action_panel(picked.name)

    def on_resize(self) -> None:
        # The header may need another line.
        self.draw_soon()

    def on_scrubber_moved(self) -> None:
        self.draw_soon()

    def action_panel(self, name: str) -> None:
        """Shows or hides a panel; a maximized one gives its place to it."""
        workspace = self._workspace
        if self.maximized:
            self.maximize(workspace.panels[name], container=False)
        else:
            workspace.arrange_as(workspace.arrangement.toggled(name, *workspace.size))
        panel = workspace.panels[name]
        if panel in workspace.seen:
            panel.focus(scroll_visible=False)
        self._save_layout()

    def action_reset_panels(self) -> None:
        self.minimize()
        self._workspace.arrange_as(Arrangement(suggested=suggested(self.live.view.state)))
        self._save_layout()

    def action_maximize_panel(self) -> None:
        if self.maximized:
            self.minimize()
            return
        # The slider may have the focus, and all panels be hidden.
        active = self._workspace.panels[self._workspace.arrangement.active]
        focused = (panel for panel in self._workspace.seen if panel.has_focus_within)
        self.maximize(next(focused, active), container=False)

    @work(group="layout")
    async def _save_layout(self) -> None:
        async with self._saving:
            try:
                await asyncio.to_thread(remember, **self._workspace.arrangement.remembered())
            except OSError as error:
                self.notify(f"the layout is not remembered: {error.strerror}", severity="warning", markup=False)

    def action_play(self) -> None:
        self._scrubber.toggle_play()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Stop only while a worker is at work, resume only where it can go on, the rest only while no worker is."""
        if action == "stop":
            return can_stop(self.live.view)
        if action == "resume":
            return can_resume(self.live.view) and not self.worker_handles.of(self.folder).is_starting(self.live.view)
        if action in ("rename", "delete"):
            return not self.live.view.alive
        return action != "evaluate" or self.folder.distilled.exists()

    def action_copy(self) -> None:
        """Copies the command that resumes the run where that is what one would do next, else the folder's path."""
        resumes = can_resume(self.live.view)
        text = f"ltdd-tui resume {self.folder.cli_name}" if resumes else str(self.folder.root)
        self.app.copy_to_clipboard(text)
        self.notify(text, title="copied", markup=False)
