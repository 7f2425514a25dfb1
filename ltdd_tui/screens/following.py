"""A screen that follows one run: reads it in a thread, says aloud what is new, and draws twice a second at most."""

from __future__ import annotations

import asyncio
import contextlib

from textual import work
from textual.app import App
from textual.screen import Screen

from engine.run.folder import RunFolder
from ltdd_tui.formatting import clean
from ltdd_tui.runs.live import LiveRun
from ltdd_tui.runs.messages import new_notifications, terminal_title
from ltdd_tui.runs.state import RunView

# The title of the terminal's window, which is seen when the terminal itself is not.


def set_terminal_title(app: App[object], title: str) -> None:
    """Writes the title the way xterm taught every terminal; one that does not know it ignores it."""
    if app._driver is not None and not app.is_headless:
        app._driver.write(f"\x1b]2;{clean(title)}\x07")


READ_SECONDS, DRAW_SECONDS = 0.25, 0.5


class LiveScreen(Screen[None]):
    """`live` is read on and on; `told` is the view up to which all is known, None until the end was reached once.

    `unreadable` is what keeps the run from being read, if anything does.
    """

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self.folder = folder
        self.live = LiveRun(folder)
        self.told: RunView | None = None
        self.unreadable: OSError | None = None
        self._wanted = asyncio.Event()

    async def draw(self) -> None:
        """Draws what has changed."""
        raise NotImplementedError

    def draw_soon(self) -> None:
        """Draws without waiting for the next turn."""
        self._wanted.set()

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
                caught_up = await asyncio.to_thread(self.live.read)
                self.unreadable = None
            except OSError as error:
                caught_up, self.unreadable = True, error
            if caught_up:
                self._tell()
                await asyncio.sleep(READ_SECONDS)

    def _tell(self) -> None:
        """Says aloud what is new since the run was first read to its end."""
        view, before = self.live.view, self.told
        self.told = view
        if before is None or view.version == before.version:
            return
        for tiding in new_notifications(before, view):
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
                set_terminal_title(self.app, terminal_title(self.live.view))
                await self.draw()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), DRAW_SECONDS)
