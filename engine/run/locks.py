"""Locks: the one worker that may write a run, and whether that run is still where the worker took hold of it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from engine.run.errors import InputError, RunFailed
from engine.run.regular_files import open_regular, opened_if_regular, read_regular

HELD = "another worker has this run"
"""The error of a second worker, by which the app (ltdd_tui) recognizes it in the console log."""


_runs_held: dict[Path, os.stat_result] = {}
"""The runs that this process holds, each once, with what tells its folder from another one that takes its place."""


@contextlib.contextmanager
def run_held(root: Path, lock: Path) -> Iterator[None]:
    """Holds a run's folder; raises InputError where it is missing, LockHeld where another worker has it."""
    try:
        before = os.stat(root)
    except OSError:
        raise InputError("there is no such run", str(root), "it was deleted or moved") from None
    with exclusive(lock, HELD, "`ltdd-tui watch` shows it"):
        _runs_held[root] = before
        try:
            yield
        finally:
            _runs_held.pop(root, None)  # another run may have come to its place, and gone


def gone_run(path: Path) -> Path | None:
    """The folder of the run of a file, where this worker holds it and it was deleted or moved meanwhile."""
    # A copy: another thread may take hold of a run or let it go meanwhile.
    of_file = [(root, before) for root, before in _runs_held.copy().items() if path.is_relative_to(root)]
    return next((root for root, before in of_file if not _is_in_place(root, before)), None)


def _is_in_place(root: Path, before: os.stat_result) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.stat(root), before)
    return False


def run_is_gone(root: Path) -> RunFailed:
    """The error of a worker whose run is no longer where it was."""
    hint = "nothing more is written; a run that was moved can be resumed where it is now"
    return RunFailed("the run's folder was deleted or moved", str(root), hint)


class LockHeld(InputError):
    """Another process holds the lock."""


@contextlib.contextmanager
def exclusive(lock: Path, held: str, hint: str = "") -> Iterator[None]:
    """Holds the lock file for this process.

    Raises LockHeld, with the words `held` and `hint`, where another one has it, and InputError on a file system
    without locks, or for what is no regular file.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        opened = open(lock, "a", opener=opened_if_regular)  # noqa: SIM115
    except OSError as error:
        raise InputError(f"the lock cannot be opened: {error.strerror}", str(lock), "take it away") from None
    with opened as file:
        try:
            taken = _taken(file)
        except OSError as error:
            what = f"this file system cannot lock files: {error.strerror}"
            mend = "--runs-dir and LTDD_CACHE name folders on another one, such as a local disk"
            raise InputError(what, str(lock.parent), mend) from None
        if not taken:
            raise LockHeld(held, str(lock.parent), hint)
        # For whoever wants to end it. A full disk, where this fails, must not keep a worker from its work.
        with contextlib.suppress(OSError):
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), f"{os.uname().nodename} {os.getpid()}\n".encode())
        yield


def is_held(lock: Path) -> bool:
    """Whether a process holds the lock file."""
    try:
        # Opened for reading, so that a run of another user can be watched, too.
        with open_regular(lock) as file:
            # A shared lock: two programs that ask at once must not take each other for a worker.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def holder(lock: Path) -> tuple[str, int] | None:
    """The machine and the id of the process that holds the lock file, or held it last; None if not known."""
    try:
        machine, pid = read_regular(lock, 1000).decode().split()
        return machine, int(pid)
    except (OSError, ValueError):
        return None


def _taken(file: IO[str]) -> bool:
    """Takes the lock, with some tries: `is_running` of another program holds it for microseconds."""
    for _ in range(20):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.02)
    return False
