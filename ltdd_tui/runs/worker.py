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
from typing import IO

from engine.run.errors import InputError, RunFailed
from engine.run.event_log import EventLog
from engine.run.events import RunStopped
from engine.run.folder import STARTING_SECONDS, RunFolder, cli_name
from engine.run.locks import HELD
from engine.sweep.cells import SweepFolder
from engine.sweep.supervisor import HELD as AT_WORK
from ltdd_tui.runs.console import last_lines
from ltdd_tui.runs.find import last_change
from ltdd_tui.runs.state import RunView
from ltdd_tui_start import own_code_first

END_SECONDS = 10.0
"""How long the system may take to end a process that is killed."""
NO_WORKER = "no worker is at work on this run any more"
COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "engine")
SWEEP_COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "engine.sweep.supervisor")
CLUSTER_COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "engine.cluster.driver")
NODES_COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "engine.cluster.nodes")
REPORT_COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "ltdd_tui", "report")


def start(folder: RunFolder, device: str, behind: Sequence[RunFolder] = ()) -> WorkerProcess:
    """Starts a worker that does what the folder's config.yaml asks for, from where it stopped; raises as `launch`.

    It waits until no worker is at work on the runs `behind` which it is queued.
    """
    return launch(folder, ["run", str(folder.root), "--device", device, *after(behind)])


def launch(folder: RunFolder, arguments: Sequence[str], command: Sequence[str] = ()) -> WorkerProcess:
    """Starts a worker that holds the run and prints to console.log; raises InputError where one is at work already."""
    if folder.is_running():
        stopping = "a worker was asked to stop and is still at work on this run"
        raise InputError(
            stopping if folder.stop_request.exists() else "a worker is at work on this run",
            str(folder.root),
            f"`ltdd-tui watch {folder.cli_name}` shows it, `ltdd-tui stop {folder.cli_name} --wait` ends it and waits",
        )
    folder.stop_request.unlink(missing_ok=True)
    console = folder.open_console()
    return WorkerProcess(spawn(arguments, console, command), console)


def start_sweep(
    folder: SweepFolder,
    device: str,
    jobs: int,
    threads: int,
    only: Sequence[str],
    failed: bool,
    behind: Sequence[RunFolder] = (),
    cluster: Sequence[str] = (),
) -> WorkerProcess:
    """Starts `jobs` workers that do the cells of a sweep, each one after another, and a process that looks after them.

    threads: of each worker. only: as of `only_cells`. failed: cells that failed before are tried again. It waits for
    the runs `behind` which it is queued. cluster: options of engine.cluster.driver, which does the cells in place of
    workers of this machine. Raises InputError where it is at work.
    """
    if folder.is_running():
        hint = f"`ltdd-tui show {folder.cli_name}` shows it, `ltdd-tui stop {folder.cli_name}` stops it"
        raise InputError(AT_WORK, str(folder.root), hint)
    arguments = [str(folder.root), "--device", device]
    arguments += [text for own in only for text in ("--only", own)] + ["--failed"] * failed
    if cluster:
        return launch(RunFolder(folder.root), [*arguments, *cluster], CLUSTER_COMMAND)
    counts = ["--jobs", str(jobs), "--threads", str(threads)]
    return launch(RunFolder(folder.root), [*arguments, *counts, *after(behind)], SWEEP_COMMAND)


def after(others: Sequence[RunFolder]) -> list[str]:
    """The arguments by which a worker waits until these runs are over."""
    return [argument for other in others for argument in ("--after", str(other.root))]


def launch_reader(arguments: Sequence[str], command: Sequence[str] = ()) -> WorkerProcess:
    """Starts a worker that only reads a run, which may be at work."""
    # A file of its own: what is said of a copy has no place in the run's console, and pipes fill up.
    output = tempfile.TemporaryFile()  # noqa: SIM115
    return WorkerProcess(spawn(arguments, output, command), output)


def run_and_wait(arguments: Sequence[str]) -> int:
    """Runs a worker that holds no run, prints to stderr and ends with this program; returns its exit code."""

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    # No signal reaches the worker, which has a session of its own.
    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    process = spawn(arguments, sys.stderr)
    try:
        return process.wait()
    except BaseException:
        kill(process.pid)
        process.wait()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def answer(arguments: Sequence[str], errors_here: bool = False) -> str:
    """What a worker that holds no run prints to stdout; raises RunFailed where it ends without an answer.

    errors_here: its stderr is ours, for the progress that it tells there.
    """
    errors = None if errors_here else subprocess.PIPE
    done = subprocess.run(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env=environment(),
        check=False,
    )
    if not done.stdout:
        last = (done.stderr or "").strip().rpartition("\n")[2]
        raise RunFailed(f"the worker process failed: {last or f'exit code {done.returncode}'}", " ".join(arguments))
    return done.stdout


def spawn(
    arguments: Sequence[str], output: IO[bytes] | IO[str], command: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """Starts a worker process that prints to `output`, in a session of its own."""
    return subprocess.Popen(
        [*(command or COMMAND), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        env=environment(),
    )


def environment() -> dict[str, str]:
    """This process's environment, in which a user's `engine.py` or `json.py` does not take the place of ours."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(own_code_first(sys.path))}


def request_stop(folder: RunFolder) -> None:
    """Asks the worker to stop at its next safe point."""
    folder.stop_request.touch()


def kill(pid: int) -> None:
    """Ends the worker at once, and what it has started; the last checkpoint stays."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def stop_now(folder: RunFolder) -> None:
    """Ends the worker that holds the run at once; what came after the last checkpoint is lost.

    Raises InputError where it has ended by itself, and where it cannot be ended from here.
    """
    if not folder.is_running():
        raise InputError(NO_WORKER, folder.name)
    pid = pid_here(folder)
    if SweepFolder(folder.root.parent).is_running() or has_in_command(folder.root.parent, pid):
        all_end = f"`ltdd-tui stop {cli_name(folder.root.parent)} --now` ends all workers"
        hint = f"without --now this cell alone stops; {all_end}"
        raise InputError("its worker does other cells of a sweep too", str(folder.root), hint)
    if not _is_worker_of(folder, pid):
        raise InputError("its worker cannot be found", str(folder.root), f"the process {pid} is another one")
    kill(pid)
    wait_for_end(folder)
    # In place of the worker, which could not say it; who reads the events knows the stage. A sweep has no events.
    with folder.held():
        if folder.exists():
            with EventLog(folder.events) as log:
                log.emit(RunStopped(""))
        folder.stop_request.unlink(missing_ok=True)


def pid_here(folder: RunFolder) -> int:
    """The id of the process that holds the run; raises InputError where it is not on this machine."""
    machine, pid = folder.holder() or ("", 0)
    if machine != os.uname().nodename:
        place = f"on the machine {machine}" if machine else "by an older version"
        raise InputError(f"its worker was started {place}", str(folder.root), "end its process there")
    return pid


def wait_for_end(folder: RunFolder) -> None:
    """Waits until no worker holds the run, for as long as the system may take to end one."""
    give_up = time.monotonic() + END_SECONDS
    while folder.is_running() and time.monotonic() < give_up:
        time.sleep(0.05)


def _is_worker_of(folder: RunFolder, pid: int) -> bool:
    """Whether the process does the work of this run: ids are given anew, and a container has ids of its own."""
    with contextlib.suppress(OSError):
        # A worker leads a group of its own.
        return os.getpgid(pid) == pid and has_in_command(folder.root, pid)
    return False


def has_in_command(root: Path, pid: int) -> bool:
    """Whether the process was started with this folder as an argument."""
    try:
        words, between = Path(f"/proc/{pid}/cmdline").read_bytes(), b"\0"
    except FileNotFoundError:
        # No Linux.
        process = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False)
        words, between = process.stdout.strip(), b" "
    except OSError:
        return False
    # A whole word: the run `a` lies at the start of the path of the run `ab`.
    return between + os.fsencode(root) + between in words + between


# ---------------------------------------------------------------------------------------------------------------------
# A worker that was started from here, with its exit code and last output

POLL_SECONDS = 0.3
LAST_LINES = 8


@dataclass(frozen=True)
class WorkerProcess:
    """A worker that was started from here, and the file that it prints to."""

    process: subprocess.Popen[bytes]
    output: IO[bytes]

    async def wait(self) -> int:
        """Waits for the end without blocking the event loop; returns the exit code."""
        while self.process.poll() is None:
            await asyncio.sleep(POLL_SECONDS)
        return self.process.returncode

    def last_output(self) -> str:
        """The last error that it printed with what follows it, else its last lines."""
        lines = last_lines(self.output)
        errors = [place for place, line in enumerate(lines) if line.startswith("error: ")]
        return "\n".join(lines[errors[-1] :] if errors else lines[-LAST_LINES:]).strip()


# ---------------------------------------------------------------------------------------------------------------------
# What is known of a run's worker before the run's events say it


Start = Callable[[RunFolder, str, Sequence[RunFolder]], WorkerProcess]
"""Starts a worker of a folder, on a device, behind other runs."""


class WorkerHandle:
    """Handle for one run's worker: start, stop, and state not yet in the event log. All screens share it.

    Raises LtddError, or OSError where the folder cannot be read.
    """

    def __init__(self, folder: RunFolder, device: str) -> None:
        self._folder, self._device = folder, device
        self._worker: WorkerProcess | None = None
        self._launching = self._has_begun = False
        self._stopping_pid: int | None = None
        self._stopping_since = 0.0
        self._last_end: tuple[int, int] | None = None
        # A run that was made a moment ago, by another program, most likely has a worker that is about to start. The
        # clock of a file server may be ahead of ours, but the run is no younger than this first look at it.
        age = max(0.0, time.time() - last_change(folder))
        self._young_until = time.monotonic() + STARTING_SECONDS - age

    def is_launched_but_not_begun(self, status: str) -> bool:
        """Whether a worker launched here has neither exited nor begun, for callers who know the run's status alone."""
        self._has_begun = self._has_begun or status in {"queued", "running"}
        return self.is_launched and not self._has_begun

    @property
    def is_launched(self) -> bool:
        """Whether a worker that was launched here has not exited."""
        return self._launching or (self._worker is not None and self._worker.process.poll() is None)

    async def stop(self) -> None:
        """Asks the worker to stop at its next safe point."""
        if not await asyncio.to_thread(self._folder.is_running):
            raise InputError(NO_WORKER, self._folder.name)
        await asyncio.to_thread(request_stop, self._folder)

    async def resume(self, start: Start, behind: Sequence[RunFolder] = ()) -> WorkerProcess | None:
        """Lets `start` launch a worker that goes on where the last one ended; None where one is at work or on its way.

        It waits for the runs `behind` which it is queued.
        """
        if self.is_launched:
            return None
        # Before anything is waited for, so that a second key press in between launches no second worker.
        self._launching = True
        try:
            if await asyncio.to_thread(self._folder.is_running):
                return None
            process = await asyncio.to_thread(start, self._folder, self._device, behind)
            self.launched(process)
            return process
        finally:
            self._launching = False

    def launched(self, process: WorkerProcess) -> None:
        """Takes note of a worker that is on its way to the run."""
        self._worker, self._stopping_pid, self._has_begun, self._last_end = process, None, False, None

    def forget(self, process: WorkerProcess) -> None:
        """Forgets a worker whose end has been announced."""
        if self._worker is process:
            self._last_end = process.process.pid, process.process.returncode
            self._worker = None

    def how_it_died(self, view: RunView) -> int | None:
        """The exit code of the worker that began last, below 0 for a signal; None where another program started it."""
        if self._worker is not None and (code := self._worker.process.poll()) is not None:
            self._last_end = self._worker.process.pid, code
        started = view.state.started
        return self._last_end[1] if self._last_end and started and started.pid == self._last_end[0] else None

    def is_starting(self, view: RunView) -> bool:
        """Whether a worker is on its way: launched, or holding the run, with no event yet that says it begins."""
        status = view.state.status
        if view.alive and status in {"queued", "running", "done"}:
            return False
        if self._worker is not None and not self._begun(view):
            return self._worker.process.poll() is None
        if view.alive:
            return status == "waiting"
        return self._launching or (status == "waiting" and time.monotonic() < self._young_until)

    def exit_code(self, view: RunView) -> int | None:
        """The exit code of a worker that was launched and never began with the run; None while all is well."""
        if view.alive or self._worker is None or self._begun(view):
            return None
        code = self._worker.process.poll()
        if code and HELD in self._worker.last_output():
            # Another worker took hold of the run first, and does the work.
            self._worker = None
            return None
        return code or None

    def stopping_seconds(self, view: RunView) -> float | None:
        """How long ago the worker was asked to stop, by anybody, while it still runs; None where it was not asked."""
        pid = view.state.started.pid if view.alive and view.state.started else None
        # The worker takes the request away when it has seen it, and is stopping still.
        if pid is not None and pid != self._stopping_pid and self._folder.stop_request.exists():
            self._stopping_pid, self._stopping_since = pid, time.monotonic()
        return time.monotonic() - self._stopping_since if pid is not None and pid == self._stopping_pid else None

    def _begun(self, view: RunView) -> bool:
        """Whether the worker launched here has said that it begins, even if another one has the run by now."""
        started = view.state.started
        if self._worker is not None and started is not None and started.pid == self._worker.process.pid:
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
