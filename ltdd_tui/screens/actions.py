"""What can be done with a run from a screen: resume, stop, evaluate, export, rename, delete, copy and open its path."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence

from rich.text import Text
from textual import work
from textual.app import App
from textual.binding import Binding
from textual.message import Message
from textual.notifications import SeverityLevel
from textual.screen import Screen

from engine.run.errors import STOPPED, InputError, LtddError
from engine.run.folder import RunFolder, size_of
from ltdd_tui.formatting import clean, short_path, size
from ltdd_tui.launch.sweeps import resume
from ltdd_tui.runs import manage
from ltdd_tui.runs.find import others_at_work
from ltdd_tui.runs.messages import worker_died
from ltdd_tui.runs.notes import Notes, note_all, read_notes
from ltdd_tui.runs.results import final_figures
from ltdd_tui.runs.tables import TableFormat
from ltdd_tui.runs.worker import WorkerHandles, WorkerProcess, launch, launch_reader, stop_now
from ltdd_tui.screens.dialogs import Answer, Confirm, Dialog, StartBeside, names_of
from ltdd_tui.screens.live import LiveScreen
from ltdd_tui.screens.result_dialogs import EditNotes, Evaluate, EvaluationPlan, Export, ExportPlan, Rename


class OpenRun(Message):
    """Asks the app to show a run, live or finished."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self.folder = folder


class OpenCompare(Message):
    """Asks the app to show two to six runs side by side."""

    def __init__(self, folders: Sequence[RunFolder]) -> None:
        super().__init__()
        self.folders = folders


RUN_KEYS: tuple[Binding, ...] = (
    Binding("r", "resume", "Resume", id="run.resume"),
    Binding("s", "stop", "Stop", id="run.stop"),
    Binding("v", "evaluate", "Evaluate", tooltip="On further networks", id="run.evaluate"),
    Binding("x", "export", "Export", tooltip="As image folder, tensors, or for TensorBoard", id="run.export"),
    Binding("n", "rename", "Rename", id="run.rename"),
    Binding("d", "delete", "Delete", id="run.delete"),
    Binding("t", "tag", "Tags", tooltip="Tags and a note of your own", id="run.tag"),
    Binding("o", "open_folder", "Open folder", show=False, id="run.open_folder"),
)
"""The same on each screen where a run is picked."""
TABLE_KEYS: tuple[Binding, ...] = (
    Binding("Y", "copy_table('markdown')", "Copy as Markdown", show=False, id="table.markdown"),
    Binding("C", "copy_table('csv')", "Copy as CSV", show=False, id="table.csv"),
)
"""The same on each screen that is a table of runs."""

HOLDS_AFTER_SECONDS = 0.1
STOP_DETAILS = """\
The worker stops after the present iteration, expert's epoch or network. Finished iterations, experts and networks are \
kept, and `r` goes on from there."""
STOP_NOW_DETAILS = """\
It was asked to stop, and still finishes what it is at. Stopping it now loses that, and all iterations since the last \
checkpoint; `r` goes on from there."""


def notify_plainly(app: App[None], text: str, title: str, severity: SeverityLevel, timeout: float) -> None:
    """Notifies without markup, whatever screen is shown: paths and names may hold any signs at all."""
    lines = "\n".join(map(clean, text.split("\n")))
    app.notify(lines, title=clean(title), severity=severity, timeout=timeout, markup=False)


def copy_table(app: App[None], table: str, form: TableFormat) -> None:
    """Copies a table through the terminal, so over ssh too, and says how much."""
    app.copy_to_clipboard(table)
    notify_plainly(app, f"{len(table.splitlines()):,} lines of {form}", "table copied", "information", timeout=3)


async def end_announced(
    app: App[None],
    worker_handles: WorkerHandles,
    process: WorkerProcess,
    folder: RunFolder,
    task: str,
    plan: EvaluationPlan | None = None,
    result: str = "",
    unless_shown: bool = False,
) -> int:
    """Notifies how a worker's task ended, once the worker has exited and whatever screen is shown by then.

    result: what to tell of a success instead of the figures that `plan` asked for. unless_shown: a screen that shows
    the run tells of its end itself. Run it as a Textual worker of the app and not of a screen: the end is told though
    the screen is closed meanwhile. Returns the worker's exit code.
    """
    code = await process.wait()
    if unless_shown and any(
        isinstance(screen, LiveScreen) and screen.folder.root == folder.root for screen in app.screen_stack
    ):
        return code
    worker_handles.of(folder).forget(process)
    if code == 0:
        asked: tuple[Sequence[str], Sequence[str]] = (plan.archs, plan.labels) if plan else ((), ())
        figures = result or (await asyncio.to_thread(final_figures, folder)).told(*asked)
        notify_plainly(app, figures, f"{folder.name}: {task} done", "information", timeout=10)
    elif code != STOPPED:
        words = process.last_output() or worker_died(code)
        notify_plainly(app, words, f"{task} of {folder.name} failed", "error", timeout=20)
    return code


class RunActions(Screen[None]):
    """A screen on which runs are picked; all such screens act on them in the same way, and with the same words."""

    worker_handles: WorkerHandles

    def picked(self) -> RunFolder | None:
        """The run that an action is for."""
        raise NotImplementedError

    def all_picked(self) -> list[RunFolder]:
        """The runs that an action is for which takes several."""
        folder = self.picked()
        return [folder] if folder else []

    def hidden_picked(self) -> int:
        """How many of the runs that an action is for are not in sight."""
        return 0

    def worker_changed(self, folder: RunFolder) -> None:
        """Called when a worker is on its way, or has been asked to stop."""

    def changed(self, renamed: RunFolder | None = None) -> None:
        """Called after a run was renamed or deleted; `renamed` is where it lies now."""

    def tell(self, text: str, title: str = "", severity: SeverityLevel = "information", timeout: float = 5.0) -> None:
        """Notifies of something, whatever screen is shown."""
        notify_plainly(self.app, text, title, severity, timeout)

    def complain(self, error: LtddError | OSError) -> None:
        """Tells what went wrong, and what mends it."""
        if isinstance(error, OSError):
            error = InputError(error.strerror or str(error), str(error.filename or ""))
        for fault in error.faults:
            text = f"{fault.where}: {fault.what}" if fault.where else fault.what
            self.tell(f"{text}\n{fault.hint}".strip(), severity="error", timeout=10)

    async def ask(self, dialog: Dialog[Answer]) -> Answer | None:
        """The answer to a dialog; none where another one is open already: a key that repeats asks once."""
        if hidden := self.hidden_picked():
            dialog.sub_title = f"{hidden} of the runs {'is' if hidden == 1 else 'are'} hidden by the filter"
        return await self.app.push_screen_wait(dialog) if self.is_active else None

    @work(group="resume")
    async def action_resume(self) -> None:
        """Starts workers that go on from where the runs stopped, asking first where several would be at work."""
        folders = [folder for folder in self.all_picked() if not self._told_done(folder)]
        if not folders:
            return
        working = await asyncio.to_thread(others_at_work, folders)
        behind = None
        if working or len(folders) > 1:
            answer = await self.ask(StartBeside(working, folders))
            if answer is None:
                return
            behind = working if answer == "queue" else None
        # By the app, so that it goes on where the screen is closed meanwhile.
        self.app.run_worker(self._resume(folders, behind), group="resume")

    async def _resume(self, folders: Sequence[RunFolder], behind: list[RunFolder] | None) -> None:
        """Resumes the runs at once, or `behind` these and each other."""
        for folder in folders:
            process = await self._resume_one(folder, behind or ())
            if process is None:
                continue
            end = end_announced(self.app, self.worker_handles, process, folder, "the run", unless_shown=True)
            self.app.run_worker(end, group="worker end")
            if behind is not None:
                # The next one waits for whoever holds this run, which takes the worker some seconds.
                while process.process.poll() is None and not await asyncio.to_thread(folder.is_running):
                    await asyncio.sleep(HOLDS_AFTER_SECONDS)
                behind = [*behind, folder]

    def _told_done(self, folder: RunFolder) -> bool:
        """Whether the run is done, which is then said."""
        if done := manage.is_whole(folder):
            self.tell("the run is done; v evaluates it on further networks", title=folder.name)
        return done

    async def _resume_one(self, folder: RunFolder, behind: Sequence[RunFolder]) -> WorkerProcess | None:
        """The launched worker; None where there is none to launch, after a notification that says why."""
        try:
            process = await self.worker_handles.of(folder).resume(resume, behind)
        except (LtddError, OSError) as error:
            self.complain(error)
            return None
        if process is None:
            self.tell("a worker is at work on it already", title=folder.name)
            return None
        self.tell("queued" if behind else "goes on from what is finished", title=folder.name, timeout=3)
        if self.is_attached:
            self.worker_changed(folder)
        return process

    @work(group="worker")
    async def action_stop(self) -> None:
        """Asks, then asks the workers to stop at their next safe point; of those asked before, whether to end them."""
        folders = self.all_picked()
        working = await asyncio.to_thread(lambda: [folder for folder in folders if folder.is_running()])
        if not working:
            if folders:
                self.tell("no worker is at work", title=names_of(folders), severity="warning")
            return
        if asked := all(folder.stop_request.exists() for folder in working):
            question = f"Stop {names_of(working)} now?"
            dialog = Confirm(question, STOP_NOW_DETAILS, "Stop now", "Keep waiting", dangerous=True)
        else:
            dialog = Confirm(f"Stop {names_of(working)}?", STOP_DETAILS, "Stop", "Keep running")
        if not await self.ask(dialog):
            return
        for folder in working:
            try:
                if asked:
                    await asyncio.to_thread(stop_now, folder)
                else:
                    await self.worker_handles.of(folder).stop()
            except (LtddError, OSError) as error:
                self.complain(error)
                continue
            self.tell("stopped" if asked else "asked to stop; `s` again stops it now", title=folder.name, timeout=3)
            self.worker_changed(folder)

    @work
    async def action_evaluate(self) -> None:
        """Asks for networks, and sends a worker to train and test them on each result, one after the other."""
        folders = self.all_picked()
        if unfinished := [folder for folder in folders if not folder.distilled.exists()]:
            self.complain(InputError("no result yet", names_of(unfinished), "resume finishes it"))
        elif folders:
            known = await asyncio.to_thread(final_figures, folders[0])
            plan = await self.ask(Evaluate(folders, known, self.worker_handles.device))
            if plan:
                self.app.run_worker(self._evaluate(folders, plan), group="evaluate")

    async def _evaluate(self, folders: Sequence[RunFolder], plan: EvaluationPlan) -> None:
        async def evaluate(folder: RunFolder) -> int | None:
            process = await self._launch(folder, plan.arguments(folder))
            if process is None:
                return None
            self.tell(f"evaluates on {', '.join(plan.archs)}", title=folder.name)
            return await end_announced(self.app, self.worker_handles, process, folder, "evaluation", plan)

        await self._one_after_another(evaluate, folders, "evaluated")

    @work
    async def action_export(self) -> None:
        """Asks for a form and a folder, and sends a worker to write each run once more."""
        if folders := self.all_picked():
            plan = await self.ask(Export(folders, all(folder.distilled.exists() for folder in folders)))
            if plan:
                self.app.run_worker(self._export(folders, plan), group="export")

    async def _export(self, folders: Sequence[RunFolder], plan: ExportPlan) -> None:
        async def export(folder: RunFolder) -> int | None:
            process = await self._launch(folder, plan.arguments(folder), reads_only=plan.form == "tensorboard")
            if process is None:
                return None
            result = str(plan.target_of(folder))
            return await end_announced(self.app, self.worker_handles, process, folder, "export", result=result)

        await self._one_after_another(export, folders, "exported")

    async def _one_after_another(
        self, task: Callable[[RunFolder], Awaitable[int | None]], folders: Sequence[RunFolder], done: str
    ) -> None:
        """Does a task on each run until one is stopped, or the program ends; names the runs that are left then.

        task: returns the exit code of its worker. done: what a run is after it, such as "evaluated".
        """
        left = list(folders)
        try:
            while left and await task(left.pop(0)) != STOPPED:
                pass
        except asyncio.CancelledError:
            if left:
                # Printed below the screen when that is closed.
                words = Text(f"not {done}, since this program was left: {names_of(left)}")
                self.app.exit(return_code=self.app.return_code or 0, message=words)
            raise
        if left:
            self.tell(f"not {done}, since the one before was stopped", title=names_of(left), severity="warning")

    @work
    async def action_rename(self) -> None:
        """Asks for a name, and gives it to the run."""
        folders = self.all_picked()
        if len(folders) > 1:
            self.tell("one run at a time; escape takes the marks off", title="rename", severity="warning")
            return
        name = await self.ask(Rename(folders[0])) if folders else None
        if name is not None:
            try:
                self.changed(await asyncio.to_thread(manage.rename, folders[0], name))
            except LtddError as error:
                self.complain(error)

    @work
    async def action_tag(self) -> None:
        """Asks for tags and a note, and keeps them beside each run."""
        folders = self.all_picked()
        if not folders:
            return
        before = await asyncio.to_thread(read_notes, folders[0].notes) if len(folders) == 1 else Notes()
        notes = await self.ask(EditNotes(folders, before))
        if notes is not None:
            try:
                await asyncio.to_thread(note_all, folders, notes)
            except InputError as error:
                self.complain(error)
            self.changed()

    @work
    async def action_delete(self) -> None:
        """Asks, saying what would be gone, and deletes the runs; while one is at work it refuses before that."""
        folders = self.all_picked()
        working = await asyncio.to_thread(lambda: [folder for folder in folders if folder.is_running()])
        if working or not folders:
            if working:
                self.complain(InputError("a worker is at work", names_of(working), "stop it first"))
            return
        bytes_ = await asyncio.to_thread(lambda: sum(size_of(folder.root) for folder in folders))
        place = short_path(folders[0].root if len(folders) == 1 else folders[0].root.parent)
        details = f"{size(bytes_)} in {place}\nThis cannot be undone. Experts in the cache stay."
        if not await self.ask(Confirm(f"Delete {names_of(folders)}?", details, yes="Delete", dangerous=True)):
            return
        for folder in folders:
            try:
                await asyncio.to_thread(manage.delete, folder)
            except LtddError as error:
                self.complain(error)
            else:
                self.tell("deleted", title=folder.name)
        self.changed()

    def action_copy_path(self) -> None:
        """Copies the path of the run's folder, through the terminal, so over ssh too."""
        if paths := "\n".join(str(folder.root) for folder in self.all_picked()):
            try:
                self.app.copy_to_clipboard(paths)
            except UnicodeEncodeError:
                self.complain(InputError("a path that is no UTF-8 cannot be copied", paths))
            else:
                self.tell(paths, title="path copied")

    def action_open_folder(self) -> None:
        """Opens the run's folder in the desktop's file manager, or says where it is."""
        if folder := self.picked():
            program = _file_manager()
            if program:
                # Not by `click.launch`: what xdg-open prints would be written over the screen.
                nowhere = subprocess.DEVNULL
                command = [program, str(folder.root)]
                subprocess.Popen(command, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True)
            title = "opened" if program else "no desktop here; the run is in"
            self.tell(str(folder.root), title=title, timeout=5 if program else 15)

    async def _launch(
        self, folder: RunFolder, arguments: Sequence[str], reads_only: bool = False
    ) -> WorkerProcess | None:
        """The launched worker; None where it could not be launched, after a notification that says why."""
        try:
            if reads_only:
                return await asyncio.to_thread(launch_reader, arguments)
            return await asyncio.to_thread(launch, folder, arguments)
        except LtddError as error:
            self.complain(error)
        except OSError as error:
            self.complain(InputError(f"no worker can be started: {error.strerror}", str(error.filename or folder.root)))
        return None


def _file_manager() -> str | None:
    """The program that opens a folder here; None over ssh and on machines without a desktop."""
    if "SSH_CONNECTION" in os.environ:
        return None
    if sys.platform == "darwin":
        return shutil.which("open")
    return shutil.which("xdg-open") if {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys() else None
