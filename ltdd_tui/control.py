"""What a screen does to a run's worker: asks it to stop, or starts another, and knows so before the run says it."""

from __future__ import annotations

import asyncio
import subprocess
import time

from engine.run.errors import InputError, LtddError
from engine.run.folder import RunFolder
from ltdd_tui import worker
from ltdd_tui.live import View

PATIENCE_SECONDS = 20.0
"""A worker loads its libraries before it takes hold of the run."""


class Control:
    """The worker of one run. Its methods raise LtddError, or OSError where the folder does not let them."""

    def __init__(self, folder: RunFolder, device: str) -> None:
        self._folder, self._device = folder, device
        self._process: subprocess.Popen[bytes] | None = None
        self._stop_asked = False
        # Whoever opens the screen of a run without events has most likely just started it.
        self._asked = time.monotonic()
        self._resumed = False

    async def stop(self) -> None:
        """Asks the worker to stop at its next safe point."""
        if not await asyncio.to_thread(self._folder.is_running):
            raise InputError("no worker is at work on this run any more", self._folder.name)
        await asyncio.to_thread(worker.request_stop, self._folder)
        self._stop_asked = True

    async def resume(self) -> None:
        """Starts a worker that goes on where the last one ended."""
        # Before it is started, so that a second key in between starts no second one.
        self._asked, self._resumed, self._stop_asked, self._process = time.monotonic(), True, False, None
        try:
            self._process = await asyncio.to_thread(worker.start, self._folder, self._device)
        except (LtddError, OSError):
            self._resumed = False
            raise

    def starting(self, view: View) -> bool:
        """Whether a worker that was asked for may still be loading."""
        if view.alive or (view.state.status != "waiting" and not self._resumed):
            self._resumed = self._resumed and not view.alive
            return False
        gone = self._process is not None and self._process.poll() is not None
        return not gone and time.monotonic() - self._asked < PATIENCE_SECONDS

    def exit_code(self, view: View) -> int | None:
        """How the worker ended that was started here, where it never took hold of the run; None while all is well."""
        if view.alive or not self._resumed or self._process is None:
            return None
        return self._process.poll() or None

    def stopping(self, view: View) -> bool:
        """Whether the worker has been asked to stop and still works."""
        self._stop_asked = self._stop_asked and view.alive
        return self._stop_asked
