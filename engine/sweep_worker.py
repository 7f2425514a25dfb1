"""A worker of a sweep: one process that does cell after cell, each as `python -m engine run` does a run.

To start a process for every cell would cost seconds each, most of them for loading torch. Nothing is carried from one
cell to the next, so that a cell has the same bytes as the same run alone. Workers know nothing of each other: the lock
of a cell's run folder says that one is at work on it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import time
import traceback
from collections.abc import Iterator, Sequence

import torch

from engine.compilation import forget_tried_compilers
from engine.device import pick_device
from engine.queue import stop_check, stop_signals
from engine.run.auto_settings import config_text
from engine.run.errors import DONE, STOPPED, Fault, LtddError, RunFailed, Stopped, StopSignals
from engine.run.event_log import EventLog
from engine.run.events import RunBroke
from engine.run.folder import RunFolder, write_atomically
from engine.run.locks import LockHeld
from engine.run.manifest import change_manifest, read_manifest, refuse_newer
from engine.sweep.cells import CellStatus, SweepFolder, WorkerKind, at_rest, cell_status, in_order, shared_by
from engine.sweep.grid import Cell, only_cells
from engine.training.from_scratch import release_compiled_networks
from engine.worker import do_run, failures_told

START_AGAIN = 75
"""Exit code of a worker whose cell failed for an unknown reason: what is left of it in this process is not trusted."""
MOST_DEATHS = 3
"""Workers that die at one cell before it counts as failed."""


def work_on_sweep(
    folder: SweepFolder, device: str, only: Sequence[str] = (), since: float | None = None, failed: bool = False
) -> int:
    """Does the cells that are waiting or were interrupted, and those that `failed`, until none is left for this worker.

    only: as of `only_cells`. since: when the sweep was started, in seconds since 1970; what was stopped or failed after
    that stays so. Returns DONE, STOPPED after a stop request, or START_AGAIN. Raises SettingsError, InputError, or
    RunFailed where the disk is full.
    """
    began, requests = since or time.time(), stop_signals()
    # Here, because a device that is not there is no fault of the first cell.
    folder.keep_worker_kind(WorkerKind(pick_device(device).type, torch.get_num_threads()))
    left = in_order(only_cells(folder.sweep(), only))
    last: Cell | None = None
    while not (requests.numbers or folder.stop_request.exists()):
        if not folder.exists():
            raise RunFailed("the sweep's folder was deleted or moved", str(folder.root), "its workers end")
        last = _next_cell(folder, left, last, began, failed)
        if last is None:
            return DONE
        try:
            with contextlib.suppress(FileExistsError):
                folder.run(last).root.mkdir()  # not the folders above it: a sweep that was deleted is not made anew
            with folder.run(last).held():
                if _is_to_be_done(at_rest(last, folder.run(last)), began, failed):
                    do_cell(folder, last, device, requests)
                    left.remove(last)  # whatever its folder says: nothing is tried twice by one worker
        except LockHeld:
            # Another worker was faster.
            continue
        except FileNotFoundError:
            continue  # the sweep was deleted just now
        except LtddError:
            raise
        except Exception as error:
            print(Fault(f"{type(error).__name__}: {error}", last.name), file=sys.stderr, flush=True)
            return START_AGAIN
        finally:
            forget_cell()
    return STOPPED


def _next_cell(folder: SweepFolder, left: list[Cell], last: Cell | None, began: float, failed: bool) -> Cell | None:
    """The next cell: one that shares its experts with the last, else one whose experts no other worker may be training.

    Cells that are over are taken out of `left`.
    """
    open_cells, busy = list[Cell](), set[str]()
    for cell in list(left):
        status = cell_status(cell, folder.run(cell))
        if status.state == "running":
            busy.add(shared_by(cell))
        elif _is_to_be_done(status, began, failed):
            open_cells.append(cell)
        else:
            left.remove(cell)
    own = shared_by(last) if last else ""
    # Of cells that are equal to it, `min` takes the first.
    return min(open_cells, key=lambda cell: (shared_by(cell) != own, shared_by(cell) in busy), default=None)


def _is_to_be_done(status: CellStatus, began: float, failed: bool) -> bool:
    if status.state == "failed":
        return failed and not status.foreign and status.ended < began
    return status.state == "waiting" or (status.state == "stopped" and (status.deaths > 0 or status.ended < began))


def do_cell(folder: SweepFolder, cell: Cell, device: str, requests: StopSignals) -> None:
    """Does one cell, whose lock is held; what it fails of is in its events.

    Raises what nobody knows a reason for, and RunFailed where the events cannot be written.
    """
    run, deaths = folder.run(cell), at_rest(cell, folder.run(cell)).deaths
    with EventLog(run.events) as log:
        if deaths >= MOST_DEATHS:
            hint = "most likely the memory is full: use fewer --jobs, or smaller settings"
            hint += "; `ltdd-tui resume` tries again"
            log.emit(RunBroke(f"its worker process died {deaths} times", str(run.console), hint))
            return
        run.stop_request.unlink(missing_ok=True)
        check_run = stop_check(run, requests, "run")

        def check_stop() -> None:
            if folder.stop_request.exists():
                raise Stopped(
                    "stopped with its sweep", run.name, f"`ltdd-tui resume {folder.cli_name}` goes on from here"
                )
            check_run()

        with _printing_to(run):
            try:
                with failures_told(run, log, log.emit, device):
                    if not run.exists():
                        write_atomically(run.config, config_text(cell.settings, cell.reasons))
                    refuse_newer(run)
                    if (promise := folder.same_bytes) is not None and promise != read_manifest(run).same_bytes:
                        change_manifest(run, same_bytes=promise)
                    do_run(run, device, log, check_stop)
            except LtddError as error:
                with contextlib.suppress(OSError):
                    print(error, file=sys.stderr)
                if not run.exists():
                    return  # its folder was deleted or moved; there are other cells
                if not isinstance(error, Stopped) and at_rest(cell, run).state != "failed":
                    raise  # on a full disk the events cannot tell it, and the next cell would fail alike
            except Exception:
                traceback.print_exc()
                raise


@contextlib.contextmanager
def _printing_to(run: RunFolder) -> Iterator[None]:
    """What is printed in the block, by C++ too, goes to the run's own console.log."""
    streams = (sys.stdout, sys.stderr)
    kept = [os.dup(number) for number in (1, 2)]
    with run.open_console() as console:
        for number, stream in enumerate(streams, 1):
            stream.flush()
            os.dup2(console.fileno(), number)
        try:
            yield
        finally:
            for number, (stream, before) in enumerate(zip(streams, kept, strict=True), 1):
                with contextlib.suppress(OSError):  # a full disk
                    stream.flush()
                os.dup2(before, number)
                os.close(before)


def forget_cell() -> None:
    """Frees what the last cell's process would have taken with it."""
    release_compiled_networks()
    forget_tried_compilers()
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()
    gc.collect()
    # What the first cell leaves is loaded code: to look through it after each cell would take a fifth of a second. Only
    # once, or what later cells leave in circles of references would never be freed.
    if not gc.get_freeze_count():
        gc.freeze()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
