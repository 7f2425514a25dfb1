"""What else can be done with a run from a screen: evaluate, export, rename, delete, copy and open its path."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from textual import work

from engine.run.errors import InputError, LtddError
from engine.run.folder import RunFolder
from ltdd_tui import housekeeping
from ltdd_tui.desktop import open_folder
from ltdd_tui.dialogs.confirm import Confirm
from ltdd_tui.dialogs.evaluate import Evaluate
from ltdd_tui.dialogs.export import Export
from ltdd_tui.dialogs.rename import Rename
from ltdd_tui.errands import Errand, send, send_to_read
from ltdd_tui.glance import known_networks
from ltdd_tui.screens.start_and_stop import StartAndStop, see_through
from ltdd_tui.wording import short_path, size


class RunActions(StartAndStop):
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
        if plan and (errand := await self._sent(folder, plan.arguments(folder))):
            self.tell(f"evaluates on {', '.join(plan.archs)}", title=folder.name)
            self.app.run_worker(see_through(self.ltdd, errand, folder, "evaluation", plan.archs), group="errands")

    @work
    async def action_export(self) -> None:
        """Asks for a form and a folder, and sends a worker to write the run once more."""
        folder = self.picked()
        if folder is None:
            return
        plan = await self.ask(Export(folder, folder.distilled.exists()))
        if plan is None:
            return
        errand = await self._sent(folder, plan.arguments(folder), reads_only=plan.form == "tensorboard")
        if errand:
            self.app.run_worker(
                see_through(self.ltdd, errand, folder, "export", told=str(plan.target)), group="errands"
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
        if await self.ask(Confirm(f"Delete {folder.name}?", details, yes="Delete", dangerous=True)):
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
