"""The worker: `python -m engine run FOLDER` does what the folder's config.yaml asks for, and goes on where it stopped.

`evaluate FOLDER --arch A,B --repeats N` and `export FOLDER [--images DIR] [--pt DIR]` work on a finished run,
`export FOLDER --tensorboard DIR` on any. `calibrate [--compiler]` measures the machine, for estimates.
Exit codes: 0 done, 1 the run failed, 2 bad input, 130 stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import torch

from engine import pipeline
from engine.context import STAGES, Clock, Context
from engine.device import keep_freed_memory, pick_device
from engine.manifest import refuse_changed_settings, write_manifest
from engine.results.tensorboard import write_tensorboard
from engine.run.errors import LtddError, RunFailed, Stopped
from engine.run.events import EventLog, RunBroke, RunStarted, RunStopped, Warned
from engine.run.folder import RunFolder, cache_root
from engine.run.presets import DeletedSettingWarning, load_preset
from engine.run.settings import NetworkName, settings_hash

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def main(arguments: list[str] | None = None) -> int:
    """Runs one command of the worker and returns its exit code; errors go to events.jsonl and to stderr."""
    asked = _parser().parse_args(arguments)
    keep_freed_memory()
    if asked.command == "calibrate":
        return _calibrate(asked)
    folder = RunFolder(asked.folder)
    try:
        if asked.command == "export" and asked.tensorboard is not None:
            # Outside of the lock and of the events: this only reads, so the run may be at work.
            for warning in write_tensorboard(folder, asked.tensorboard):
                print(f"warning: {warning.message}", file=sys.stderr)
            if asked.images is None and asked.pt is None:
                return 0
        with folder.held():
            return _work(asked, folder)
    except LtddError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _calibrate(asked: argparse.Namespace) -> int:
    # It loads every stage, which no other command needs at once.
    from engine.calibration import calibrate

    try:
        calibrate(pick_device(asked.device), asked.compiler)
    except LtddError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _work(asked: argparse.Namespace, folder: RunFolder) -> int:
    log = EventLog(folder.events)
    try:
        context = _context(asked, folder, log)
        if asked.command == "run":
            log.emit(_started(context))
            pipeline.run(context)
        elif asked.command == "evaluate":
            pipeline.evaluate_architectures(context, asked.arch.split(","), asked.repeats)
        else:
            pipeline.export_copies(context, asked.images, asked.pt)
        return 0
    except Stopped:
        log.emit(RunStopped(log.stage))
        raise
    except LtddError as error:
        for fault in error.faults:
            log.emit(RunBroke(fault.what, fault.where, fault.hint))
        raise
    except torch.cuda.OutOfMemoryError as error:
        log.emit(RunBroke("the GPU's memory is full", str(asked.device), "lower matching.batch_syn, or --device cpu"))
        raise RunFailed(f"the GPU's memory is full: {error}") from error
    except BaseException as error:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise _told(log, _no_room(error, folder)) from None
        if isinstance(error, OSError) and _is_of_the_cache(error):
            raise _told(log, _no_cache(error)) from None
        log.emit(RunBroke(f"{type(error).__name__}: {error}", "engine", f"the traceback is in {folder.console}"))
        raise


def _no_room(error: OSError, folder: RunFolder) -> RunFailed:
    hint = f"make room, then `ltdd-tui resume {folder.name}` goes on from the last checkpoint"
    return RunFailed(f"nothing can be written: {error.strerror}", str(error.filename or folder.root), hint)


def _is_of_the_cache(error: OSError) -> bool:
    path, root = Path(str(error.filename or ".")), cache_root()
    return path.is_absolute() and (path.is_relative_to(root) or root.is_relative_to(path))


def _no_cache(error: OSError) -> RunFailed:
    hint = "LTDD_CACHE names the folder where experts are kept; it is to be one that can be written"
    return RunFailed(f"the cache cannot be used: {error.strerror}", str(error.filename), hint)


def _told(log: EventLog, failed: RunFailed) -> RunFailed:
    """The failure, told as an event where even that can still be written."""
    with contextlib.suppress(OSError):
        for fault in failed.faults:
            log.emit(RunBroke(fault.what, fault.where, fault.hint))
    return failed


def _context(asked: argparse.Namespace, folder: RunFolder, log: EventLog) -> Context:
    with warnings.catch_warnings(record=True) as ignored:
        warnings.simplefilter("always", DeletedSettingWarning)
        settings = load_preset(str(folder.config))
    device = pick_device(asked.device)
    if asked.command == "run":
        for warning in ignored:
            log.emit(Warned(str(warning.message)))
        refuse_changed_settings(folder, settings)
        # On what a finished run is evaluated or copied says nothing of what it was made on.
        write_manifest(folder, settings, device)
    return Context(settings, folder, device, log.emit, _stop_check(folder), Clock(folder))


def _stop_check(folder: RunFolder) -> Callable[[], None]:
    """Stops at the next safe point after SIGINT, SIGTERM or the stop file; a second signal ends the process at once."""
    asked: list[int] = []

    def on_signal(number: int, _frame: object) -> None:
        if asked:
            os._exit(130)
        asked.append(number)

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)

    def check() -> None:
        if not folder.config.exists():
            raise RunFailed("the run's folder was deleted", str(folder.root), "nothing is left to go on with")
        if asked or folder.stop_request.exists():
            folder.stop_request.unlink(missing_ok=True)
            raise Stopped("stopped on request", folder.name, f"`ltdd-tui resume {folder.name}` goes on from here")

    return check


def _started(context: Context) -> RunStarted:
    settings = context.settings
    return RunStarted(
        context.folder.name,
        settings.method,
        settings.dataset.name,
        settings.dataset.imbalance_factor,
        settings.ipc,
        settings.seed,
        settings.experts.network,
        str(context.device),
        STAGES,
        settings.matching.iterations,
        settings_hash(settings),
        os.getpid(),
        resumed=context.folder.checkpoint.exists(),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m engine", description=__doc__.splitlines()[0] if __doc__ else "")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "evaluate", "export"):
        command = commands.add_parser(name)
        command.add_argument("folder", type=Path)
        command.add_argument("--device", default="auto")
        if name == "evaluate":
            command.add_argument("--arch", default=",".join(get_args(NetworkName)))
            command.add_argument("--repeats", type=int, default=None)
        if name == "export":
            command.add_argument("--images", type=Path)
            command.add_argument("--pt", type=Path)
            command.add_argument("--tensorboard", type=Path)
    calibration = commands.add_parser("calibrate")
    calibration.add_argument("--device", default="auto")
    calibration.add_argument("--compiler", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
