"""Starts, stops and watches the worker, the child process that does the work: the only file that does.

The worker lives in a session of its own, so that neither Ctrl-C nor a closed terminal reaches it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import engine.run
from engine.run.errors import InputError
from engine.run.folder import HELD, RunFolder
from ltdd_tui.runs import worker
from ltdd_tui.runs.console import STARTS, as_shown, last_said, since_start
from ltdd_tui.runs.index import handle, last_change

if TYPE_CHECKING:
    from ltdd_tui.runs.state import RunView

COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "engine")


def start(folder: RunFolder, device: str) -> subprocess.Popen[bytes]:
    """Starts a worker that does what the folder's config.yaml asks for, from where it stopped."""
    return launch(folder, run_arguments(folder, device))


def run_arguments(folder: RunFolder, device: str) -> list[str]:
    """What to tell a worker that is to do the run."""
    return ["run", str(folder.root), "--device", device]


def launch(folder: RunFolder, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """Starts a worker with `arguments`; what it prints goes to console.log. Raises InputError where one is at work."""
    if folder.is_running():
        raise InputError(
            "a worker is at work on this run",
            str(folder.root),
            f"`ltdd-tui watch {handle(folder)}` shows it, `ltdd-tui stop {handle(folder)} --wait` ends it and waits",
        )
    folder.stop_request.unlink(missing_ok=True)
    with open(folder.console, "ab") as console:
        if console.tell():
            console.write(f"{STARTS}\n".encode())
            console.flush()
        return subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
            env=environment(),
        )


def ask(arguments: Sequence[str]) -> int:
    """Lets a worker do what only reads a run, at work or not, and returns its exit code; it speaks to stderr."""
    return subprocess.call(
        [*COMMAND, *arguments], stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True, env=environment()
    )


def consult(arguments: Sequence[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Starts a worker that only reads a run, as `ask` does; it speaks to `output`."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        env=environment(),
    )


def environment() -> dict[str, str]:
    """This process's environment, with this very `engine` first: a folder of that name elsewhere loses."""
    home = str(Path(engine.run.__path__[0]).resolve().parents[1])
    known = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return os.environ | {"PYTHONPATH": os.pathsep.join([home, *known])}


def request_stop(folder: RunFolder) -> None:
    """Asks the worker to stop at its next safe point."""
    folder.stop_request.touch()


def kill(pid: int) -> None:
    """Ends the worker at once, and what it has started; the last checkpoint stays."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def console_tail(folder: RunFolder, lines: int = 8, own: bool = True) -> list[str]:
    """The last lines that the worker printed, for one that ended without a word in its events.

    own: whether it was started here; of others' workers, those that were refused the run are left out.
    """
    try:
        with open(folder.console, "rb") as console:
            console.seek(max(0, os.fstat(console.fileno()).st_size - 8192))
            printed = console.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return list((last_said if own else since_start)(printed)[-lines:])


# Workers that the screen sends: it goes on meanwhile, and is told how each one ended and what it said.


POLL_SECONDS = 0.3
LAST_BYTES, LAST_LINES = 8192, 8
STOPPED = 130


@dataclass(frozen=True)
class Ended:
    """The exit code of a worker, and its last words: the error that it told, or its last lines."""

    code: int
    words: str

    @property
    def went_wrong(self) -> bool:
        """Whether it failed; one that was asked to stop did not."""
        return self.code not in (0, STOPPED)


@dataclass(frozen=True)
class WorkerProcess:
    """A worker under way."""

    process: subprocess.Popen[bytes]
    _said: Callable[[], bytes]

    async def ended(self) -> Ended:
        """Waits for the end without holding anything up."""
        while self.process.poll() is None:
            await asyncio.sleep(POLL_SECONDS)
        return Ended(self.process.returncode, self.words())

    def words(self) -> str:
        """Its last words so far."""
        return last_words(self._said().decode("utf-8", errors="replace"))


def send(folder: RunFolder, arguments: Sequence[str]) -> WorkerProcess:
    """Sends a worker that holds the run; raises InputError where one is at work already."""
    begins = folder.console.stat().st_size if folder.console.exists() else 0

    def said() -> bytes:
        try:
            with open(folder.console, "rb") as console:
                console.seek(max(begins, os.fstat(console.fileno()).st_size - LAST_BYTES))
                return console.read()
        except OSError:
            return b""

    return WorkerProcess(worker.launch(folder, arguments), said)


def send_to_read(arguments: Sequence[str]) -> WorkerProcess:
    """Sends a worker that only reads a run, which may be at work."""
    # Its own file: what is said of a copy has no place in the run's console, and pipes fill up.
    output = tempfile.TemporaryFile()  # noqa: SIM115

    def said() -> bytes:
        with output:
            output.seek(max(0, os.fstat(output.fileno()).st_size - LAST_BYTES))
            return output.read()

    return WorkerProcess(worker.consult(arguments, output), said)


def last_words(said: str) -> str:
    """The last error of a worker's output with what follows it, else its last lines."""
    lines = last_said(as_shown(said.strip()))
    errors = [place for place, line in enumerate(lines) if line.startswith("error: ")]
    return "\n".join(lines[errors[-1] :] if errors else lines[-LAST_LINES:])


# The worker of one run, as far as this program started or stopped it: what is known before the run itself says it.


YOUNG_SECONDS = 20.0
"""A worker loads its libraries before it takes hold of the run."""


class WorkerHandle:
    """Starts and stops; one for each run, shared by all screens. Raises LtddError, or OSError where the folder does."""

    def __init__(self, folder: RunFolder, device: str) -> None:
        self._folder, self._device = folder, device
        self._errand: WorkerProcess | None = None
        self._sending = self._has_begun = False
        self._stopping_pid: int | None = None
        # A run that was made a moment ago, by another program, is most likely about to be taken up.
        self._young_until = time.monotonic() + YOUNG_SECONDS - (time.time() - last_change(folder))

    def is_on_its_way(self, status: str) -> bool:
        """Whether a worker was sent that has neither ended nor begun, for who knows no more of the run than this."""
        self._has_begun = self._has_begun or status == "running"
        return self.is_sent and not self._has_begun

    @property
    def is_sent(self) -> bool:
        """Whether a worker that was sent from here has not ended."""
        return self._sending or (self._errand is not None and self._errand.process.poll() is None)

    async def stop(self) -> None:
        """Asks the worker to stop at its next safe point."""
        if not await asyncio.to_thread(self._folder.is_running):
            raise InputError("no worker is at work on this run any more", self._folder.name)
        await asyncio.to_thread(worker.request_stop, self._folder)

    async def resume(self) -> WorkerProcess | None:
        """Sends a worker that goes on where the last one ended; None where one is at work, or on its way, already."""
        if self.is_sent:
            return None
        # Before anything is waited for, so that a second key in between sends no second one.
        self._sending = True
        try:
            if await asyncio.to_thread(self._folder.is_running):
                return None
            arguments = worker.run_arguments(self._folder, self._device)
            self.sent(await asyncio.to_thread(send, self._folder, arguments))
            return self._errand
        finally:
            self._sending = False

    def sent(self, process: WorkerProcess) -> None:
        """Takes note of a worker that is on its way to the run."""
        self._errand, self._stopping_pid, self._has_begun = process, None, False

    def forget(self, process: WorkerProcess) -> None:
        """Forgets a worker of whose end somebody has told."""
        if self._errand is process:
            self._errand = None

    def starting(self, view: RunView) -> bool:
        """Whether a worker is on its way: it was sent, or holds the run, and has not said yet that it begins."""
        status = view.state.status
        if view.alive and status in {"running", "done"}:
            return False
        if self._errand is not None and not self._begun(view):
            return self._errand.process.poll() is None
        if view.alive:
            return status == "waiting"
        return self._sending or (status == "waiting" and time.monotonic() < self._young_until)

    def exit_code(self, view: RunView) -> int | None:
        """How the worker ended that was sent, where it never began with the run; None while all is well."""
        if view.alive or self._errand is None or self._begun(view):
            return None
        code = self._errand.process.poll()
        if code and HELD in self._errand.words():
            # Another one was quicker, and the run is in good hands.
            self._errand = None
            return None
        return code or None

    def stopping(self, view: RunView) -> bool:
        """Whether the worker has been asked to stop, by whomever, and still works."""
        pid = view.state.started.pid if view.alive and view.state.started else None
        # The worker takes the request away when it has seen it, and is stopping still.
        if pid is not None and self._folder.stop_request.exists():
            self._stopping_pid = pid
        return pid is not None and pid == self._stopping_pid

    def _begun(self, view: RunView) -> bool:
        """Whether the worker sent from here has said that it begins, be it that another one has the run by now."""
        started = view.state.started
        if self._errand is not None and started is not None and started.pid == self._errand.process.pid:
            self._has_begun = True
        return self._has_begun


class WorkerHandles:
    """The handle of each run's worker, shared by all screens: one that a screen starts is known to the others."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._by_folder: dict[Path, WorkerHandle] = {}

    def of(self, folder: RunFolder) -> WorkerHandle:
        """The handle of a run, made when it is first asked for."""
        if folder.root not in self._by_folder:
            self._by_folder[folder.root] = WorkerHandle(folder, self.device)
        return self._by_folder[folder.root]

    def known(self, folder: RunFolder) -> WorkerHandle | None:
        """The same where a screen has had to do with the run's worker, else None: a list needs no handle for each."""
        return self._by_folder.get(folder.root)
