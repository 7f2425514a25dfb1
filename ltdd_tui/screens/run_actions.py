"""What can be done with a run from a screen: resume, stop, evaluate, export, rename, delete, copy and open its path."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from textual import work
from textual.notifications import SeverityLevel
from textual.screen import Screen

from engine.run.errors import InputError, LtddError
from engine.run.folder import RunFolder
from ltdd_tui import housekeeping, worker
from ltdd_tui.desktop import open_folder
from ltdd_tui.dialogs.confirm import Confirm
from ltdd_tui.dialogs.evaluate import Evaluate
from ltdd_tui.dialogs.export import Export
from ltdd_tui.dialogs.rename import Rename
from ltdd_tui.drawing.lines import clean
from ltdd_tui.errands import Errand, send, send_to_read
from ltdd_tui.glance import Glancer
from ltdd_tui.runs import readable_metrics
from ltdd_tui.wording import mean_and_std, short_path, size

if TYPE_CHECKING:
    from ltdd_tui.app import LtddApp


class RunActions(Screen[None]):
    """A screen on which one run is picked, and that is told when something about the runs has changed."""

    def picked(self) -> RunFolder | None:
        """The run that an action is for."""
        raise NotImplementedError

    def changed(self, renamed: RunFolder | None = None) -> None:
        """Called after an action; `renamed` is where a run lies now."""

    @property
    def ltdd(self) -> LtddApp:
        """The app, by its own type."""
        return cast("LtddApp", self.app)

    def tell(self, text: str, title: str = "", severity: SeverityLevel = "information", timeout: float = 5.0) -> None:
        """Notifies of something, whatever screen is shown; paths and names may hold any signs at all."""
        lines = "\n".join(map(clean, text.split("\n")))
        self.app.notify(lines, title=clean(title), severity=severity, timeout=timeout, markup=False)

    def complain(self, error: LtddError) -> None:
        """Tells what went wrong, and what mends it."""
        for fault in error.faults:
            text = f"{fault.where}: {fault.what}" if fault.where else fault.what
            self.tell(f"{text}\n{fault.hint}".strip(), severity="error", timeout=10)

    @work
    async def action_resume(self) -> None:
        """Starts a worker that goes on from where the run stopped."""
        folder = self.picked()
        if folder is None:
            return
        if folder.distilled.exists() and readable_metrics(folder):
            self.tell("it is done; v evaluates it on further networks", title=folder.name)
            return
        arguments = ["run", str(folder.root), "--device", self.ltdd.device]
        if errand := await self._sent(folder, arguments):
            self.tell("goes on from its last checkpoint", title=folder.name)
            self.app.run_worker(self._see_through(errand, folder, "the run"), group="errands")

    @work
    async def action_stop(self) -> None:
        """Asks, then asks the worker to stop at its next safe point."""
        folder = self.picked()
        if folder is None:
            return
        if not await asyncio.to_thread(folder.is_running):
            self.tell("no worker is at work on it", title=folder.name, severity="warning")
            return
        details = "It stops at the next safe point and keeps a checkpoint; resume goes on from there."
        if await self.app.push_screen_wait(Confirm(f"Stop {folder.name}?", details, yes="Stop")):
            try:
                worker.request_stop(folder)
            except OSError as error:
                self.complain(InputError(f"it cannot be asked: {error.strerror}", str(folder.stop_request)))
                return
            self.tell("asked to stop at its next safe point", title=folder.name)

    @work
    async def action_evaluate(self) -> None:
        """Asks for networks, and sends a worker to train and test them on the result."""
        folder = self.picked()
        if folder is None or not self._must_be_finished(folder):
            return
        known, repeats = await asyncio.to_thread(_known_networks, folder)
        plan = await self.app.push_screen_wait(Evaluate(folder, known, repeats, self.ltdd.device))
        if plan and (errand := await self._sent(folder, plan.arguments(folder))):
            self.tell(f"evaluates on {', '.join(plan.archs)}", title=folder.name)
            self.app.run_worker(self._see_through(errand, folder, "evaluation", plan.archs), group="errands")

    @work
    async def action_export(self) -> None:
        """Asks for a form and a folder, and sends a worker to write the run once more."""
        folder = self.picked()
        if folder is None:
            return
        plan = await self.app.push_screen_wait(Export(folder, folder.distilled.exists()))
        if plan is None:
            return
        errand = await self._sent(folder, plan.arguments(folder), reads_only=plan.form == "tensorboard")
        if errand:
            self.app.run_worker(self._see_through(errand, folder, "export", told=str(plan.target)), group="errands")

    @work
    async def action_rename(self) -> None:
        """Asks for a name, and gives it to the run."""
        folder = self.picked()
        if folder is None:
            return
        name = await self.app.push_screen_wait(Rename(folder))
        if name is not None:
            try:
                self.changed(await asyncio.to_thread(housekeeping.rename, folder, name))
            except LtddError as error:
                self.complain(error)

    @work
    async def action_delete(self) -> None:
        """Asks, saying what would be gone, and deletes the run; one at work is refused before that."""
        folder = self.picked()
        if folder is None:
            return
        running, bytes_ = await asyncio.to_thread(lambda: (folder.is_running(), housekeeping.size_of(folder)))
        if running:
            self.complain(InputError("a worker is at work on this run", str(folder.root), "stop it first"))
            return
        details = f"{size(bytes_)} in {short_path(folder.root)}\nThis cannot be undone. Experts in the cache stay."
        if await self.app.push_screen_wait(Confirm(f"Delete {folder.name}?", details, yes="Delete", dangerous=True)):
            try:
                await asyncio.to_thread(housekeeping.delete, folder)
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

    async def _sent(self, folder: RunFolder, arguments: Sequence[str], reads_only: bool = False) -> Errand | None:
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

    async def _see_through(
        self, errand: Errand, folder: RunFolder, what: str, archs: Sequence[str] = (), told: str = ""
    ) -> None:
        """Waits for a worker and tells how it ended, whatever screen is shown by then."""
        end = await errand.ended()
        if end.went_wrong:
            words = end.words or f"the worker is gone without a word (exit code {end.code})"
            self.tell(words, title=f"{what} of {folder.name} failed", severity="error", timeout=20)
        elif end.code == 0:
            figures = told or await asyncio.to_thread(_figures, folder, archs)
            self.tell(figures, title=f"{folder.name}: {what} done", timeout=10)


def _known_networks(folder: RunFolder) -> tuple[dict[str, str], int]:
    """The figures that there are, by network, and how many networks a figure of this run stands for."""
    glancer = Glancer(folder)
    glancer.read()
    settings = glancer.glance.settings
    first = settings.evaluate.arch[0] if settings else "convnet"
    known = {
        first if row.label == "final" else row.label.removeprefix("final on "): mean_and_std(
            row.accuracy_mean, row.accuracy_std, row.repeats
        )
        for row in glancer.glance.rows
        if row.label.startswith("final")
    }
    return known, settings.evaluate.repeats if settings else 5


def _figures(folder: RunFolder, archs: Sequence[str]) -> str:
    known, _ = _known_networks(folder)
    wanted = [arch for arch in archs if arch in known] or list(known)[:1]
    return ", ".join(f"{arch} {known[arch]} %" for arch in wanted) or "done"
