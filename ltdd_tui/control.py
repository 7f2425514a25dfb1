"""The worker of one run, as far as this program started or stopped it: what is known before the run itself says it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from engine.run.errors import InputError
from engine.run.folder import HELD, RunFolder
from ltdd_tui import worker
from ltdd_tui.errands import Errand, send
from ltdd_tui.runs import last_change

if TYPE_CHECKING:
    from ltdd_tui.live import View

YOUNG_SECONDS = 20.0
"""A worker loads its libraries before it takes hold of the run."""


class Control:
    """Starts and stops; one for each run, shared by all screens. Raises LtddError, or OSError where the folder does."""

    def __init__(self, folder: RunFolder, device: str) -> None:
        self._folder, self._device = folder, device
        self._errand: Errand | None = None
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

    async def resume(self) -> Errand | None:
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

    def sent(self, errand: Errand) -> None:
        """Takes note of a worker that is on its way to the run."""
        self._errand, self._stopping_pid, self._has_begun = errand, None, False

    def seen_off(self, errand: Errand) -> None:
        """Forgets a worker of whose end somebody has told."""
        if self._errand is errand:
            self._errand = None

    def starting(self, view: View) -> bool:
        """Whether a worker is on its way: it was sent, or holds the run, and has not said yet that it begins."""
        status = view.state.status
        if view.alive and status in {"running", "done"}:
            return False
        if self._errand is not None and not self._begun(view):
            return self._errand.process.poll() is None
        if view.alive:
            return status == "waiting"
        return self._sending or (status == "waiting" and time.monotonic() < self._young_until)

    def exit_code(self, view: View) -> int | None:
        """How the worker ended that was sent, where it never began with the run; None while all is well."""
        if view.alive or self._errand is None or self._begun(view):
            return None
        code = self._errand.process.poll()
        if code and HELD in self._errand.words():
            # Another one was quicker, and the run is in good hands.
            self._errand = None
            return None
        return code or None

    def stopping(self, view: View) -> bool:
        """Whether the worker has been asked to stop, by whomever, and still works."""
        pid = view.state.started.pid if view.alive and view.state.started else None
        # The worker takes the request away when it has seen it, and is stopping still.
        if pid is not None and self._folder.stop_request.exists():
            self._stopping_pid = pid
        return pid is not None and pid == self._stopping_pid

    def _begun(self, view: View) -> bool:
        """Whether the worker sent from here has said that it begins, be it that another one has the run by now."""
        started = view.state.started
        if self._errand is not None and started is not None and started.pid == self._errand.process.pid:
            self._has_begun = True
        return self._has_begun
