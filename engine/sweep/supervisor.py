"""Starts the workers of a sweep on this machine, and others in place of those that die. No torch.

`python -m engine.sweep.supervisor FOLDER [--jobs N] [--threads T] [--device D] [--only KEY=VALUE,...] [--failed]
[--after RUN]` does the sweep. It is a process of its own, so that a sweep goes on when the program that started it, or
its terminal, is closed. Exit codes: 0 all cells are finished, 1 some are not, 2 bad input, 130 stopped.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.queue import wait_until_over
from engine.run.device_profiles import usable_cores
from engine.run.errors import BAD_INPUT, DONE, FAILED, STOPPED, LtddError, Stopped, StopSignals
from engine.run.folder import RunFolder, write_atomically
from engine.run.locks import exclusive
from engine.sweep.cells import SweepFolder, statuses
from engine.sweep.grid import only_cells

POLL_SECONDS = 0.1
MOST_FRUITLESS = 3
"""Workers in a row that die before they begin with a cell: the next one would, too."""
WORKER: tuple[str, ...] = (sys.executable, "-P", "-m", "engine")
HELD = "this sweep is at work already"


def supervise(
    folder: SweepFolder,
    jobs: int,
    device: str,
    only: Sequence[str] = (),
    failed: bool = False,
    behind: Sequence[RunFolder] = (),
    threads: int = 0,
) -> int:
    """Runs `jobs` workers until the sweep is done, after the runs `behind` it is queued; returns the exit code.

    A first SIGINT or SIGTERM, or the sweep's stop file, asks the workers to stop at safe points; a second signal kills
    them. failed: whether cells that failed are tried again. threads: of each worker; by default as many as those before
    had, else an equal part of the cores. Returns DONE where all cells are finished, FAILED where
    some are not, BAD_INPUT for a worker that could not begin, STOPPED after a stop request.
    """
    cells = only_cells(folder.sweep(), only)
    with exclusive(folder.lock, HELD, "`ltdd-tui show` shows it"):
        requests = StopSignals()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _frame: requests.take(number))
        if not _wait_in_queue(folder, behind, requests):
            return STOPPED
        arguments = ["sweep", str(folder.root), "--device", device, "--since", f"{time.time():.3f}"]
        arguments += [text for own in only for text in ("--only", own)] + ["--failed"] * failed
        kept = folder.worker_kind()
        threads = threads or (kept.threads if kept else threads_of(jobs))
        workers = [_Slot(folder, arguments, threads) for _ in range(jobs)]
        while any([worker.goes_on() for worker in workers]):
            if requests.numbers and folder.exists():  # else its workers end by themselves
                folder.stop_request.touch()
            if len(requests.numbers) > 1:
                for worker in workers:
                    worker.process.kill()
            time.sleep(POLL_SECONDS)
        if requests.numbers or folder.stop_request.exists():
            return STOPPED
        if any(worker.process.returncode == BAD_INPUT for worker in workers):
            return BAD_INPUT
        return DONE if all(status.state == "finished" for status in statuses(folder, cells)) else FAILED


def threads_of(jobs: int) -> int:
    """The threads of each of `jobs` workers, which share the cores; the bytes of a run depend on their number."""
    return max(1, len(usable_cores()) // jobs)


def _wait_in_queue(folder: SweepFolder, behind: Sequence[RunFolder], requests: StopSignals) -> bool:
    """Waits until no worker holds these runs or is about to; false where it is asked to stop before that."""

    def check_stop() -> None:
        if requests.numbers or folder.stop_request.exists() or not folder.exists():
            raise Stopped("stopped on request", folder.name)

    if behind:
        write_atomically(folder.queue, "".join(f"{other.name}\n" for other in behind))
    try:
        wait_until_over(behind, check_stop)
        return True
    except Stopped:
        return False
    finally:
        folder.queue.unlink(missing_ok=True)


@dataclass
class _Slot:
    """The place of one worker at a time."""

    folder: SweepFolder
    arguments: Sequence[str]
    threads: int
    fruitless: int = 0

    def __post_init__(self) -> None:
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        # Not in a session of its own: whoever kills this process's group ends the workers with it.
        return subprocess.Popen(
            [*WORKER, *self.arguments],
            stdin=subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": str(self.threads)},
        )

    def goes_on(self) -> bool:
        """Whether a worker is at work; starts another one where the last has died."""
        code = self.process.poll()
        if code is None:
            return True
        # One that FAILED has said why, such as a full disk; another one could do no more.
        if code in (DONE, FAILED, BAD_INPUT, STOPPED) or self.folder.stop_request.exists():
            return False
        print(f"a worker process ended with code {code}; another one goes on", file=sys.stderr, flush=True)
        self.fruitless = 0 if self._has_begun_a_cell() else self.fruitless + 1
        if self.fruitless >= MOST_FRUITLESS:
            print(f"error: {self.fruitless} workers died before they began with a cell", file=sys.stderr, flush=True)
            return False
        self.process = self._start()
        return True

    def _has_begun_a_cell(self) -> bool:
        """Whether the last worker has begun with a cell, where its death is counted, or has finished one."""
        here = os.uname().nodename, self.process.pid
        return any(
            status.pid == self.process.pid or (status.state == "finished" and status.folder.holder() == here)
            for status in statuses(self.folder, self.folder.sweep().cells)
        )


def main() -> int:
    """Reads the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m engine.sweep.supervisor")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--failed", action="store_true")
    parser.add_argument("--after", type=Path, action="append", default=[])
    own = parser.parse_args()
    try:
        behind = [RunFolder(other) for other in own.after]
        return supervise(SweepFolder(own.folder), own.jobs, own.device, own.only, own.failed, behind, own.threads)
    except LtddError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
