"""What can be done with a run's worker from a screen: send it, ask it to stop, and be told how it ended."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from textual import work
from textual.app import App
from textual.notifications import SeverityLevel
from textual.screen import Screen

from engine.run.errors import InputError, LtddError
from engine.run.folder import RunFolder
from engine.run.metrics import readable_metrics
from ltdd_tui.formatting import clean, short_path, size
from ltdd_tui.runs import manage
from ltdd_tui.runs.results import figures_of, known_networks
from ltdd_tui.runs.worker import WorkerProcess, send, send_to_read
from ltdd_tui.screens.dialogs import Answer, Confirm, Dialog, Rename
from ltdd_tui.screens.following import LiveScreen
from ltdd_tui.screens.result_dialogs import Evaluate, Export

if TYPE_CHECKING:
    from ltdd_tui.app import LtddApp

STOP_DETAILS = "The worker stops at its next safe point. What is finished is kept, and `r` goes on from there."


class StartStopActions(Screen[None]):
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
            process = await self.ltdd.control(folder).resume()
        except (LtddError, OSError) as error:
            self.complain(error)
            return
        if process is None:
            self.tell("a worker is at work on it already", title=folder.name)
            return
        self.tell("goes on from what is finished", title=folder.name, timeout=3)
        if self.is_attached:
            self.sent(folder)
        await see_through(self.ltdd, process, folder, "the run", unless_shown=True)

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
    process: WorkerProcess,
    folder: RunFolder,
    what: str,
    archs: Sequence[str] = (),
    told: str = "",
    unless_shown: bool = False,
) -> None:
    """Waits for a worker and tells how it ended, whatever screen is shown by then.

    unless_shown: a screen that shows the run tells of its end itself.
    """
    end = await process.ended()
    if unless_shown and _is_shown(app, folder):
        return
    app.control(folder).forget(process)
    if end.went_wrong:
        words = end.words or f"the worker is gone without a word (exit code {end.code})"
        tell(app, words, f"{what} of {folder.name} failed", "error", timeout=20)
    elif end.code == 0:
        figures = told or await asyncio.to_thread(figures_of, folder, archs)
        tell(app, figures, f"{folder.name}: {what} done", "information", timeout=10)


def _is_shown(app: LtddApp, folder: RunFolder) -> bool:
    screens = app.screen_stack
    return any(isinstance(screen, LiveScreen) and screen.folder.root == folder.root for screen in screens)


# Shows a folder in the desktop's file manager, where there is a desktop.


def file_manager() -> str | None:
    """The program that opens a folder here; None over ssh and on machines without a desktop."""
    if "SSH_CONNECTION" in os.environ:
        return None
    if sys.platform == "darwin":
        return shutil.which("open")
    if "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ:
        return shutil.which("xdg-open")
    return None


def open_folder(path: Path) -> bool:
    """Opens the folder; returns whether there is anything that could."""
    program = file_manager()
    if program is None:
        return False
    nowhere = subprocess.DEVNULL
    subprocess.Popen([program, str(path)], stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True)
    return True


# What else can be done with a run from a screen: evaluate, export, rename, delete, copy and open its path.


class RunActions(StartStopActions):
    """A screen on which one run is picked, and that is told when something about the runs has changed."""

    def changed(self, renamed: RunFolder | None = None) -> None:
        """Called after an action; `renamed` is where a run lies now."""

    @work
    async def action_evaluate(self) -> None:
        """Asks for networks, and sends a worker to train and test them on the result."""
        folder = self.picked()
        if folder is None or not self._must_be_finished(folder):
            return
        known, repeats = await asyncio.to_thread(known_networks, folder)
        plan = await self.ask(Evaluate(folder, known, repeats, self.ltdd.device))
        if plan and (process := await self._sent(folder, plan.arguments(folder))):
            self.tell(f"evaluates on {', '.join(plan.archs)}", title=folder.name)
            self.app.run_worker(see_through(self.ltdd, process, folder, "evaluation", plan.archs), group="errands")

    @work
    async def action_export(self) -> None:
        """Asks for a form and a folder, and sends a worker to write the run once more."""
        folder = self.picked()
        if folder is None:
            return
        plan = await self.ask(Export(folder, folder.distilled.exists()))
        if plan is None:
            return
        process = await self._sent(folder, plan.arguments(folder), reads_only=plan.form == "tensorboard")
        if process:
            self.app.run_worker(
                see_through(self.ltdd, process, folder, "export", told=str(plan.target)), group="errands"
            )

    @work
    async def action_rename(self) -> None:
        """Asks for a name, and gives it to the run."""
        folder = self.picked()
        if folder is None:
            return
        name = await self.ask(Rename(folder))
        if name is not None:
            try:
                self.changed(await asyncio.to_thread(manage.rename, folder, name))
            except LtddError as error:
                self.complain(error)

    @work
    async def action_delete(self) -> None:
        """Asks, saying what would be gone, and deletes the run; one at work is refused before that."""
        folder = self.picked()
        if folder is None:
            return
        running, bytes_ = await asyncio.to_thread(lambda: (folder.is_running(), manage.size_of(folder)))
        if running:
            self.complain(InputError("a worker is at work on this run", str(folder.root), "stop it first"))
            return
        details = f"{size(bytes_)} in {short_path(folder.root)}\nThis cannot be undone. Experts in the cache stay."
        if await self.ask(Confirm(f"Delete {folder.name}?", details, yes="Delete", dangerous=True)):
            try:
                await asyncio.to_thread(manage.delete, folder)
            except LtddError as error:
                self.complain(error)
            else:
                self.tell("deleted", title=folder.name)
            self.changed()

    def action_copy_path(self) -> None:
        """Copies the path of the run's folder, through the terminal, so over ssh too."""
        if folder := self.picked():
            try:
                self.app.copy_to_clipboard(str(folder.root))
            except UnicodeEncodeError:
                self.complain(InputError("a path that is no UTF-8 cannot be copied", str(folder.root)))
            else:
                self.tell(str(folder.root), title="path copied")

    def action_open_folder(self) -> None:
        """Opens the run's folder in the desktop's file manager, or says where it is."""
        if folder := self.picked():
            shown = open_folder(folder.root)
            title = "opened" if shown else "no desktop here; the run lies in"
            self.tell(str(folder.root), title=title, timeout=5 if shown else 15)

    def _must_be_finished(self, folder: RunFolder) -> bool:
        if not folder.distilled.exists():
            self.complain(InputError("the run has no result yet", folder.name, "resume finishes it"))
            return False
        return True

    async def _sent(
        self, folder: RunFolder, arguments: Sequence[str], reads_only: bool = False
    ) -> WorkerProcess | None:
        """The worker on its way, or None after telling why it is not."""
        try:
            if reads_only:
                return await asyncio.to_thread(send_to_read, arguments)
            return await asyncio.to_thread(send, folder, arguments)
        except LtddError as error:
            self.complain(error)
        except OSError as error:
            self.complain(InputError(f"no worker can be started: {error.strerror}", str(error.filename or folder.root)))
        return None
