"""What a worker does before its work begins: it takes stop requests, and waits in the queue. No torch.

torch takes half a gigabyte, which a run that waits for hours need not hold.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence

from engine.run.errors import STOPPED, LtddError, Stopped, StopSignals
from engine.run.event_log import EventLog
from engine.run.events import Emit, Queued, RunBroke, RunStopped
from engine.run.folder import RunFolder
from engine.run.locks import run_is_gone
from engine.run.presets import load_preset

QUEUE_SECONDS = 0.5


def wait_in_queue(folder: RunFolder, others: Sequence[RunFolder], requests: StopSignals) -> bool:
    """Waits until the runs before it are over; false where it cannot wait without torch.

    That is a run which starts from a set made elsewhere: the set is copied before (engine/worker.py), since it may be
    gone when its turn comes. The caller holds the folder. An error is also written to the events.
    """
    log = EventLog(folder.events)
    try:
        if load_preset(str(folder.config), quiet=True).initialize.start_set is not None:
            return False
        wait_for(others, log, stop_check(folder, requests, "run"))
    except Stopped:
        log.emit(RunStopped(""))
        raise
    except LtddError as error:
        emit_faults(log.emit, error)
        raise
    return True


def emit_faults(emit: Emit, error: LtddError) -> None:
    """Writes the faults of an error to the events, for whoever watches the run."""
    for fault in error.faults:
        emit(RunBroke(fault.what, fault.where, fault.hint))


def wait_for(others: Sequence[RunFolder], log: EventLog, check_stop: Callable[[], None]) -> None:
    """Says behind which runs the run is queued, and waits as `wait_until_over`."""
    log.emit(Queued([other.name for other in others]))
    wait_until_over(others, check_stop)


def wait_until_over(others: Sequence[RunFolder], check_stop: Callable[[], None]) -> None:
    """Waits until no worker holds any of these runs or is about to; `check_stop` raises where it is to end before."""
    while any(other.is_running() or other.is_starting() for other in others):
        check_stop()
        time.sleep(QUEUE_SECONDS)


def stop_signals() -> StopSignals:
    """Installs handlers of SIGINT and SIGTERM, which ask for a stop; a second request ends the process at once."""
    requests = StopSignals()

    def on_signal(number: int, _frame: object) -> None:
        requests.take(number)
        if len(requests.numbers) > 1:
            os._exit(STOPPED)

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    return requests


def stop_check(folder: RunFolder, requests: StopSignals, command: str) -> Callable[[], None]:
    """What stages call at safe points: it raises Stopped after a stop request, by signal or by the stop file."""

    def check() -> None:
        if not folder.config.exists():
            raise run_is_gone(folder.root)
        if requests.numbers or folder.stop_request.exists():
            # Removed before the run ends, or resuming it would stop it again.
            folder.stop_request.unlink(missing_ok=True)
            resumed = command == "run"  # a finished run has nothing to resume
            what = f"`ltdd-tui resume {folder.cli_name}`" if resumed else f"the same {command} command"
            raise Stopped("stopped on request", folder.name, f"{what} goes on from here")

    return check
