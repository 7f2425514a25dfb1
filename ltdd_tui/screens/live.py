"""A screen that follows one run: reads its events in a thread, notifies of news, draws twice a second at most."""

from __future__ import annotations

import asyncio
import contextlib
import time

from textual import work
from textual.app import App
from textual.screen import Screen

from engine.run.folder import RunFolder
from ltdd_tui.formatting import clean
from ltdd_tui.runs.live import LiveRun
from ltdd_tui.runs.messages import new_notifications, terminal_title
from ltdd_tui.runs.state import RunView

READ_SECONDS, DRAW_SECONDS = 0.25, 0.5


def set_terminal_title(app: App[object], title: str) -> None:
    """Sets the title of the terminal's window, by xterm's sequence; a terminal that does not know it ignores it."""
    if app._driver is not None and not app.is_headless:
        app._driver.write(f"\x1b]2;{clean(title)}\x07")


class LiveScreen(Screen[None]):
    """Keeps reading the run `live`, and calls `draw` when something may have changed.

    notified: the view of the last notification; None until the end of the events was reached once.
    unreadable: the error that keeps the run from being read, if there is one.
    """

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self.folder = folder
        self.live = LiveRun(folder)
        self.notified: RunView | None = None
        self.unreadable: OSError | None = None
        self._wanted = asyncio.Event()

    async def draw(self) -> None:
        """Draws what has changed."""
        raise NotImplementedError

    def worker_exit_code(self) -> int | None:
        """How the worker ended, where the screen knows."""
        return None

    def draw_soon(self) -> None:
        """Draws at once, without waiting for the next regular time."""
        self._wanted.set()

    def on_mount(self) -> None:
        self._keep_reading()
        self._keep_drawing()

    def on_unmount(self) -> None:
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
                self._notify_of_news()
                await asyncio.sleep(READ_SECONDS)

    def _notify_of_news(self) -> None:
        # What was there before the screen opened is no news.
        view, before = self.live.view, self.notified
        self.notified = view
        if before is None or view.version == before.version:
            return
        for notification in new_notifications(before, view, self.worker_exit_code()):
            self.notify(
                notification.message, title=notification.title, severity=notification.severity, timeout=10, markup=False
            )
            if notification.rings:
                self.app.bell()
        if (view.state.status, view.alive) != (before.state.status, before.alive):
            self._wanted.set()

    @work(group="draw", exclusive=True)
    async def _keep_drawing(self) -> None:
        while True:
            self._wanted.clear()
            if self.is_current:
                set_terminal_title(self.app, terminal_title(self.live.view, time.time()))
                await self.draw()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), DRAW_SECONDS)
