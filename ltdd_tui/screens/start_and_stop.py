"""What can be done with a run's worker from a screen: send it, ask it to stop, and be told how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from textual import work
from textual.app import App
from textual.notifications import SeverityLevel
from textual.screen import Screen

from engine.run.errors import InputError, LtddError
from engine.run.folder import RunFolder
from ltdd_tui.dialogs.confirm import Confirm
from ltdd_tui.dialogs.dialog import Answer, Dialog
from ltdd_tui.drawing.lines import clean
from ltdd_tui.errands import Errand
from ltdd_tui.glance import figures_of
from ltdd_tui.runs import readable_metrics
from ltdd_tui.screens.live_screen import LiveScreen

if TYPE_CHECKING:
    from ltdd_tui.app import LtddApp

STOP_DETAILS = "The worker stops at its next safe point. What is finished is kept, and `r` goes on from there."


class StartAndStop(Screen[None]):
    """A screen on which one run is picked; all screens start and stop it in the same way, and with the same words."""

    def picked(self) -> RunFolder | None:
        """The run that an action is for."""
        raise NotImplementedError

    def sent(self, folder: RunFolder) -> None:
        """Called when a worker is on its way, or has been asked to stop."""

    @property
    def ltdd(self) -> LtddApp:
        """The app, by its own type."""
        return cast("LtddApp", self.app)

    def tell(self, text: str, title: str = "", severity: SeverityLevel = "information", timeout: float = 5.0) -> None:
        """Notifies of something, whatever screen is shown."""
        tell(self.app, text, title, severity, timeout)

    def complain(self, error: LtddError | OSError) -> None:
        """Tells what went wrong, and what mends it."""
        if isinstance(error, OSError):
            error = InputError(error.strerror or str(error), str(error.filename or ""))
        for fault in error.faults:
            text = f"{fault.where}: {fault.what}" if fault.where else fault.what
            self.tell(f"{text}\n{fault.hint}".strip(), severity="error", timeout=10)

    async def ask(self, dialog: Dialog[Answer]) -> Answer | None:
        """The answer to a dialog; none where another one is open already: a key that repeats asks once."""
        return await self.app.push_screen_wait(dialog) if self.is_active else None

    def action_resume(self) -> None:
        """Starts a worker that goes on from where the run stopped."""
        if folder := self.picked():
            # Of the app and not of the screen: what is begun is seen through, though the screen is closed meanwhile.
            self.app.run_worker(self._resume(folder), group="errands")

    async def _resume(self, folder: RunFolder) -> None:
        if folder.distilled.exists() and readable_metrics(folder):
            self.tell("it is done; v evaluates it on further networks", title=folder.name)
            return
        try:
            errand = await self.ltdd.control(folder).resume()
        except (LtddError, OSError) as error:
            self.complain(error)
            return
        if errand is None:
            self.tell("a worker is at work on it already", title=folder.name)
            return
        self.tell("goes on from what is finished", title=folder.name, timeout=3)
        if self.is_attached:
            self.sent(folder)
        await see_through(self.ltdd, errand, folder, "the run", unless_shown=True)

    @work(group="worker")
    async def action_stop(self) -> None:
        """Asks, then asks the worker to stop at its next safe point."""
        folder = self.picked()
        if folder is None:
            return
        if not await asyncio.to_thread(folder.is_running):
            self.tell("no worker is at work on it", title=folder.name, severity="warning")
            return
        if await self.ask(Confirm(f"Stop {folder.name}?", STOP_DETAILS, "Stop it", "Go on")):
            try:
                await self.ltdd.control(folder).stop()
            except (LtddError, OSError) as error:
                self.complain(error)
                return
            self.tell("asked to stop at its next safe point", title=folder.name, timeout=3)
            self.sent(folder)


def tell(app: App[None], text: str, title: str, severity: SeverityLevel, timeout: float) -> None:
    """Notifies of something; paths and names may hold any signs at all."""
    lines = "\n".join(map(clean, text.split("\n")))
    app.notify(lines, title=clean(title), severity=severity, timeout=timeout, markup=False)


async def see_through(
    app: LtddApp,
    errand: Errand,
    folder: RunFolder,
    what: str,
    archs: Sequence[str] = (),
    told: str = "",
    unless_shown: bool = False,
) -> None:
    """Waits for a worker and tells how it ended, whatever screen is shown by then.

    unless_shown: a screen that shows the run tells of its end itself.
    """
    end = await errand.ended()
    if unless_shown and _is_shown(app, folder):
        return
    app.control(folder).seen_off(errand)
    if end.went_wrong:
        words = end.words or f"the worker is gone without a word (exit code {end.code})"
        tell(app, words, f"{what} of {folder.name} failed", "error", timeout=20)
    elif end.code == 0:
        figures = told or await asyncio.to_thread(figures_of, folder, archs)
        tell(app, figures, f"{folder.name}: {what} done", "information", timeout=10)


def _is_shown(app: LtddApp, folder: RunFolder) -> bool:
    screens = app.screen_stack
    return any(isinstance(screen, LiveScreen) and screen.folder.root == folder.root for screen in screens)
