"""Workers on one machine take turns at its cores.

The threads of a worker wait for each other by spinning, many times in each step. Where two workers have more threads
than there are cores, one waits for a thread that the other keeps from its core, and both run 10 times slower. So a
worker holds as many cores as it has threads, half a second at a time where others wait for them. Nothing but time
depends on it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from engine.run.device_profiles import usable_cores

TURN_SECONDS = 0.5
PATIENCE_SECONDS = 30.0
"""After so long a worker goes on without its cores: the one that holds them may be suspended, or in a long step."""
_POLL_SECONDS = 0.01
_TRIAL = 1 << 30  # the byte that shows whether the file system has locks: all share it
_QUEUE = 0  # the byte of the lock file that is held by the one worker that is next; core c has the byte 1 + c


def lock_file() -> Path:
    """One file for a user's workers on this machine, whatever their caches and runs folders are."""
    return Path(tempfile.gettempdir()) / f"ltdd-cores-{os.getuid()}.lock"


class _Turns:
    """This process's place among the workers; the system ends its locks with it, however it ends."""

    def __init__(self, file: int) -> None:
        self._file, self._cores, self._until = file, set[int](), 0.0

    def take(self) -> None:
        """Returns at once within a turn or where nobody waits; else lets the others have theirs first."""
        now = time.monotonic()
        if now < self._until:
            return
        if self._cores and self._locked(_QUEUE):
            self._unlock(_QUEUE)
        else:
            self.give_back()
            if not self._wait(now + PATIENCE_SECONDS):
                self.give_back()
                # As long as it has waited: one worker that never gives back costs the others half their time at most.
                self._until = time.monotonic() + PATIENCE_SECONDS
                return
        self._until = time.monotonic() + TURN_SECONDS

    def _wait(self, give_up: float) -> bool:
        """Whether the cores came free before `give_up`. Only the worker that is next takes cores: no two hold half."""
        while not self._locked(_QUEUE):
            if time.monotonic() > give_up:
                return False
            time.sleep(_POLL_SECONDS)
        try:
            usable = usable_cores()
            wanted = min(torch.get_num_threads(), len(usable))
            while True:
                for core in usable:
                    if len(self._cores) < wanted and core not in self._cores and self._locked(1 + core):
                        self._cores.add(core)
                if len(self._cores) == wanted:
                    return True
                if time.monotonic() > give_up:
                    return False
                time.sleep(_POLL_SECONDS)
        finally:
            self._unlock(_QUEUE)

    def give_back(self) -> None:
        """Lets other workers have the cores until the next `take`."""
        for core in self._cores:
            self._unlock(1 + core)
        self._cores.clear()
        self._until = 0.0

    def _locked(self, byte: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _unlock(self, byte: int) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, byte)


_turns: _Turns | None = None  # of the process, as PyTorch's threads are


@contextlib.contextmanager
def shared_cores(device: torch.device) -> Iterator[None]:
    """Within the block `take_turn` lets other workers have their turns, where the device is the CPU."""
    global _turns
    with contextlib.ExitStack() as opened:
        # Without locks in the temporary folder workers disturb each other, but they work.
        with contextlib.suppress(OSError):
            file = os.open(lock_file(), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            opened.callback(os.close, file)
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, _TRIAL)
            _turns = _Turns(file) if device.type == "cpu" else None
        try:
            yield
        finally:
            _turns = None


def take_turn() -> None:
    """Called before each step on the CPU, of a network or a student: waits for this worker's next turn.

    Within a turn it returns in a quarter of a microsecond. What lies between two calls must not take PATIENCE_SECONDS.
    """
    if _turns:
        _turns.take()


def give_cores_back() -> None:
    """Called before a wait for another worker, which may need them."""
    if _turns:
        _turns.give_back()
