"""Workers and commands as forks of a process that has loaded torch: a run of the tiny settings takes a second.

Each has its own session, cache and output. What it calls is what `python -m engine` and `ltdd-tui` call.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO

SOURCE = Path(__file__).with_name("write_faults.c")
ROOT = Path(__file__).parents[2]
LOADED = [
    *("torch", "torch._dynamo", "sklearn.datasets", "PIL.PngImagePlugin"),
    *("engine.__main__", "engine.commands", "ltdd_tui.cli.main", "benchmarks.robustness.inputs"),
]
"""What every fork has without loading it."""
HANGS_AFTER_SECONDS, WORKER_HANGS_AFTER_SECONDS = 10, 90
FAULTS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EDQUOT": errno.EDQUOT}
EXTENTS = ("once", "from then on", "short write", "short, then fails", "killed")
"""As the enumeration in write_faults.c."""


@dataclass(frozen=True)
class Fault:
    """What happens at the n-th call that writes: an error of FAULTS, to the extent that EXTENTS lists."""

    call: int
    error: str
    extent: str


COUNT_ONLY = Fault(0, "EIO", "once")


@dataclass(frozen=True)
class Answer:
    """How a command ended: its exit code, negative for a signal and None where it hung, and what it printed."""

    code: int | None
    out: str
    err: str

    @property
    def breakage(self) -> str | None:
        """What no input may lead to: a hang, a death by a signal, or a traceback."""
        if self.code is None:
            return "hang"
        if self.code < 0:
            return f"killed by {signal.Signals(-self.code).name}"
        return "traceback" if "Traceback (most recent call last)" in self.out + self.err else None

    @property
    def refused(self) -> bool:
        """Whether it ended with an error that it names."""
        return bool(self.code) and self.breakage is None and "error: " in self.err


class Forks:
    """The process that forks; `library_folder` is where the library of write faults is built."""

    def __init__(self, library_folder: Path) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(LOADED)
        # Read when the process that forks starts, at the first fork. With threads of OpenMP it could not fork.
        environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "LD_PRELOAD": _built(library_folder)}
        before = dict(os.environ)
        os.environ.update(environment)
        try:
            first = self._context.Process(target=os.getpid)
            first.start()
            first.join()
        finally:
            os.environ.clear()
            os.environ.update(before)

    def start(
        self,
        action: Callable[..., int],
        arguments: Sequence[object],
        home: Path,
        output: Path,
        fault: Fault | None = None,
        errors: Path | None = None,
    ) -> BaseProcess:
        """Starts `action(*arguments)`, a function of a module, in `home`, whose cache is `home/cache`.

        Its stdout goes to `output`, its stderr to `errors` or else to a file beside that.
        """
        outputs = output, errors or _errors(output)
        process = self._context.Process(target=_child, args=(action, arguments, home, outputs, fault))
        process.start()
        return process

    def run(
        self,
        action: Callable[..., int],
        arguments: Sequence[object],
        home: Path,
        output: Path,
        fault: Fault | None = None,
        seconds: float = WORKER_HANGS_AFTER_SECONDS,
    ) -> Answer:
        """Starts it and waits for its end; what takes longer than `seconds` hangs and is killed."""
        return ended(self.start(action, arguments, home, output, fault), output, seconds)


def ended(process: BaseProcess, output: Path, seconds: float = WORKER_HANGS_AFTER_SECONDS) -> Answer:
    """How a process ended that `Forks.start` began, with all that it started."""
    process.join(seconds)
    code = process.exitcode
    kill_group(process)
    process.join()
    texts = (path.read_text(errors="replace") if path.is_file() else "" for path in (output, _errors(output)))
    return Answer(code, *texts)


def kill_group(process: BaseProcess, number: int = signal.SIGKILL) -> None:
    """Sends a signal to the process and all that it started."""
    assert process.pid is not None
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _errors(output: Path) -> Path:
    return output.with_name(f"{output.name}.err")


def _built(folder: Path) -> str:
    """The library of write faults."""
    library = folder / "write_faults.so"
    folder.mkdir(parents=True, exist_ok=True)
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return str(library)


# --- In the fork ------------------------------------------------------------------------------------------------------


def _child(
    action: Callable[..., int],
    arguments: Sequence[object],
    home: Path,
    outputs: tuple[Path, Path],
    fault: Fault | None,
) -> None:
    os.setsid()
    for number, path in enumerate(outputs, 1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        os.dup2(file, number)
        os.close(file)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    os.environ["LTDD_CACHE"], os.environ["LTDD_HOME"] = str(home / "cache"), str(home / "home")
    os.chdir(home)
    if fault:
        library = ctypes.CDLL(None)
        library.arm_write_fault(ctypes.c_long(fault.call), FAULTS[fault.error], EXTENTS.index(fault.extent))
    code = _exit_code(action, *arguments)
    if fault == COUNT_ONLY:
        (home / "write_calls").write_text(str(ctypes.CDLL(None).counted_write_calls()))
    os._exit(code)


def _exit_code(action: Callable[..., int], *arguments: object) -> int:
    """What Python would exit with; a traceback goes to stderr as Python would print it."""
    code: object = 1
    try:
        code = action(*arguments) or 0
    except SystemExit as end:
        code = end.code or 0
    except Hang:
        raise
    except BaseException:
        sys.excepthook(*sys.exc_info())
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    return code if isinstance(code, int) else 1


def worker(*arguments: str) -> int:
    """What `python -m engine` does."""
    from engine.__main__ import main

    return main(list(arguments))


def command(*arguments: str) -> int:
    """What `ltdd-tui` does; the worker that it starts is a fork of it."""
    from ltdd_tui.cli.main import main
    from ltdd_tui.runs import worker as workers

    workers.spawn = ForkedWorker  # type: ignore[assignment]
    sys.argv = ["ltdd-tui", *arguments]
    main()
    return 0


class ForkedWorker:
    """In the place of subprocess.Popen: a worker that prints to `output`."""

    def __init__(self, arguments: Sequence[str], output: IO[bytes], _: object = ()) -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid:
            return
        os.setsid()
        for number in (1, 2):
            os.dup2(output.fileno(), number)
        # The command's own may be a buffer of `answer`.
        sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os._exit(_exit_code(worker, *arguments))

    def poll(self) -> int | None:
        """The exit code, None while it works."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self) -> int:
        """Waits for its end and returns the exit code."""
        while (code := self.poll()) is None:
            time.sleep(0.01)
        return code


class Hang(BaseException):
    """It took longer than it may."""


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raises Hang where the block takes longer; in a main thread only."""

    def give_up(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, give_up)
    # pytest may have set one of its own.
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, left)


def answer(action: Callable[..., int], *arguments: str) -> Answer:
    """How a function of this process ends, and what it prints; for commands that start no worker."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2)]
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = streams
    code: int | None = None
    try:
        with contextlib.suppress(Hang), at_most(HANGS_AFTER_SECONDS):
            code = _exit_code(action, *arguments)
    finally:
        sys.stdout, sys.stderr = before
    out, err = (stream.buffer.getvalue().decode(errors="replace") for stream in streams)
    return Answer(code, out, err)
