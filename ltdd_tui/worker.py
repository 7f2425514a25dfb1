"""Starts, stops and watches the worker, the child process that does the work: the only file that does.

The worker lives in a session of its own, so that neither Ctrl-C nor a closed terminal reaches it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import engine.run
from engine.run.errors import InputError
from engine.run.folder import RunFolder, write_atomically
from ltdd_tui.console_marks import STARTS, last_said, since_start
from ltdd_tui.runs import folder_of_runs, handle

COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "engine")
LONGEST_NAME, LONGEST_NAME_BYTES = 100, 240


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


def create(name: str, runs_dir: Path, config: str) -> RunFolder:
    """A new run folder that holds `config`; raises InputError for a name that is taken or cannot be one."""
    check_name(name)
    folder = RunFolder(runs_dir / name)
    elsewhere = "--runs-dir or LTDD_RUNS_DIR names another place"
    try:
        folder_of_runs(runs_dir).mkdir(parents=True, exist_ok=True)
        # Not exist_ok: of two that ask for one name at once, one is refused.
        folder.root.mkdir()
    except FileExistsError:
        raise _taken(folder) from None
    except OSError as error:
        raise InputError(
            f"the run's folder cannot be made: {error.strerror}",
            str(folder.root),
            elsewhere,
        ) from None
    try:
        write_atomically(folder.config, config)
    except OSError as error:
        # Without its settings it is no run, and would only keep the name.
        with contextlib.suppress(OSError):
            folder.root.rmdir()
        raise InputError(
            f"the run's settings cannot be written: {error.strerror}", str(folder.config), elsewhere
        ) from None
    return folder


def check_free(name: str, runs_dir: Path) -> None:
    """Raises InputError where a new run cannot have this name, or another run has it."""
    check_name(name)
    if os.path.lexists((folder := RunFolder(runs_dir / name)).root):
        raise _taken(folder)


def _taken(folder: RunFolder) -> InputError:
    if not folder.exists():
        return InputError(f"something else is named {folder.name!r}", str(folder.root), "give another --name")
    return InputError(
        f"there is a run named {folder.name!r} already",
        str(folder.root),
        f"`ltdd-tui resume {handle(folder)}` goes on with it; another --name starts a new one",
    )


def check_name(name: str) -> None:
    """Raises InputError unless `name` is a plain folder name."""
    if not name.strip():
        raise InputError("a run's name must not be empty", "--name")
    if (
        any(sign in name for sign in "/\\")
        or name in {".", "..", "last"}
        or not name.isprintable()
        or name[0] in ".- "
        or len(name) > LONGEST_NAME
        or len(name.encode()) > LONGEST_NAME_BYTES
    ):
        raise InputError(
            f"{name!r} cannot be a run's name",
            "--name",
            "a plain name such as cifar10-ipc10; --runs-dir says where it lies",
        )


def free_name(wanted: str, runs_dir: Path) -> str:
    """`wanted`, or `wanted`-2, -3 and so on: the first that is not taken."""
    name, number = wanted, 1
    while (runs_dir / name).exists():
        number += 1
        name = f"{wanted}-{number}"
    return name


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
