"""The worker process: `python -m engine run FOLDER` does the run that the folder's config.yaml asks for, or resumes it.

Started by torchrun, several of them share the run's trajectories (engine/distributed.py).
With `--after OTHER` it waits until no worker is at work on that run. `evaluate FOLDER [--arch A,B] [--labels C,D]
[--repeats N]`, `scores FOLDER [--repeats N]` and `export FOLDER [--images DIR] [--pt DIR] [--set best] [--teacher]`
work on a finished run, `export FOLDER --tensorboard DIR` on any.
`calibrate [--compiler]` measures the machine, for estimates. `inspect PATH` prints what a set made elsewhere holds,
`import-experts PATH --preset P` takes over experts from replay buffers.
Exit codes: 0 done, 1 the run failed, 2 bad input, 130 stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

from engine import pipeline
from engine.context import Clock, Context, stages_of
from engine.device import DeviceMeter, keep_freed_memory, pick_device
from engine.distributed import joined, rank_here
from engine.failures import as_failure
from engine.importing.imported_sets import copy_imported_set, imported_sources
from engine.importing.set_files import read_imported_set
from engine.manifest import estimated_seconds, write_manifest
from engine.parallel import assist, refuse_unequal_shares
from engine.results.tensorboard import write_tensorboard
from engine.resume import refuse_changed_settings
from engine.run.device_profiles import device_for
from engine.run.errors import DONE, STOPPED, LtddError, RunFailed, Stopped, StopSignals
from engine.run.estimate import estimate_for_manifest
from engine.run.events import Emit, Event, EventLog, Queued, RunBroke, RunStarted, RunStopped, Warned
from engine.run.folder import RunFolder
from engine.run.presets import DeletedSettingWarning, load_preset
from engine.run.settings import NetworkName, settings_hash
from engine.stages.export import export_copies

QUEUE_SECONDS = 0.5


def main(argv: list[str] | None = None) -> int:
    """Runs one command of the worker and returns its exit code; errors go to events.jsonl and to stderr."""
    arguments = _parser().parse_args(argv)
    keep_freed_memory()
    try:
        if arguments.command == "run" and rank_here() > 0:
            return _assist(arguments)
        if arguments.command == "calibrate":
            # Imported here: no other command needs it.
            from engine.calibration import calibrate

            calibrate(pick_device(arguments.device), arguments.compiler)
            return DONE
        if arguments.command in ("inspect", "import-experts"):
            return _print_answer(arguments)
        folder = RunFolder(arguments.folder)
        if arguments.command == "export" and arguments.tensorboard is not None:
            # Without the lock and without events: it only reads, so another worker may be running the run.
            for warning in write_tensorboard(folder, arguments.tensorboard):
                print(f"warning: {warning.message}", file=sys.stderr)
            if arguments.images is None and arguments.pt is None and not arguments.teacher:
                return DONE
        with folder.held():
            _do_command(arguments, folder)
        return DONE
    except LtddError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _assist(arguments: argparse.Namespace) -> int:
    """Another rank than 0 of a gang: it needs no folder, and its end is rank 0's decision."""
    for number in (signal.SIGINT, signal.SIGTERM):  # torchrun hands on a stop request to all ranks
        signal.signal(number, signal.SIG_IGN)
    with joined() as gang:
        assist(gang, pick_device(arguments.device))
    return DONE


def _print_answer(arguments: argparse.Namespace) -> int:
    """Prints as JSON what the files made elsewhere hold, or their faults; returns the exit code."""
    try:
        if arguments.command == "inspect":
            answer, code = read_imported_set(arguments.path).describe(), DONE
        else:
            # Imported here: no other command needs it.
            from engine.importing.replay_buffers import import_experts

            settings, device = load_preset(arguments.preset, arguments.set), pick_device(arguments.device)
            answer, code = {"imported": import_experts(arguments.path, settings, device, _print_warning)}, DONE
    except LtddError as error:
        answer, code = {"faults": [vars(fault) for fault in error.faults]}, error.exit_code
    print(json.dumps(answer))
    return code


def _print_warning(event: Event) -> None:
    if isinstance(event, Warned):
        print(f"warning: {event.message}", file=sys.stderr)


def _do_command(arguments: argparse.Namespace, folder: RunFolder) -> None:
    """Runs run, evaluate, scores or export; an error is also written to the events, for whoever watches the run.

    Not of a copy: nothing has broken in the run that it is taken from.
    """
    log, check_stop = EventLog(folder.events), _stop_check(folder, arguments.command)
    emit = log.emit if arguments.command != "export" else lambda event: None
    try:
        if arguments.command == "run":
            _copy_imported_set(folder)
        if arguments.command == "run" and arguments.after:
            _wait_for([RunFolder(other) for other in arguments.after], log, check_stop)
        context = _context(arguments, folder, log, check_stop)
        if arguments.command == "run":
            with joined() as gang:
                refuse_unequal_shares(context.settings, gang)
                log.emit(_run_started(context))
                pipeline.run(replace(context, gang=gang))
        elif arguments.command == "evaluate":
            archs, labels = (names and names.split(",") for names in (arguments.arch, arguments.labels))
            if not archs and not labels:
                archs = list(get_args(NetworkName))
            pipeline.evaluate_again(context, archs, arguments.repeats, labels)
        elif arguments.command == "scores":
            pipeline.score(context, arguments.repeats)
        else:
            if arguments.teacher:
                pipeline.keep_teacher(context)
            export_copies(context, arguments.images, arguments.pt, arguments.set)
    except Stopped:
        log.emit(RunStopped(log.stage))
        raise
    except LtddError as error:
        _emit_faults(emit, error)
        raise
    except BaseException as error:
        if failure := as_failure(error, folder, log.stage, arguments.device):
            # The disk that is full may be the very one that holds the events.
            with contextlib.suppress(OSError):
                _emit_faults(emit, failure)
            raise failure from None
        emit(RunBroke(f"{type(error).__name__}: {error}", "engine", f"the traceback is in {folder.console}"))
        raise


def _emit_faults(emit: Emit, error: LtddError) -> None:
    for fault in error.faults:
        emit(RunBroke(fault.what, fault.where, fault.hint))


def _copy_imported_set(folder: RunFolder) -> None:
    """Copies a set made elsewhere before the run waits in the queue: it may be gone when its turn comes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeletedSettingWarning)
        copy_imported_set(folder, load_preset(str(folder.config)))


def _wait_for(others: list[RunFolder], log: EventLog, check_stop: Callable[[], None]) -> None:
    """Waits until no worker holds any of these runs or is about to; raises Stopped when asked to."""
    log.emit(Queued([other.name for other in others]))
    while any(other.is_running() or other.is_starting() for other in others):
        check_stop()
        time.sleep(QUEUE_SECONDS)


def _context(
    arguments: argparse.Namespace, folder: RunFolder, log: EventLog, check_stop: Callable[[], None]
) -> Context:
    with warnings.catch_warnings(record=True) as ignored:
        warnings.simplefilter("always", DeletedSettingWarning)
        settings = load_preset(str(folder.config))
    device = pick_device(arguments.device)
    if arguments.command == "run":
        for warning in ignored:
            log.emit(Warned(str(warning.message)))
        refuse_changed_settings(folder, settings)
        # Only here: the machine on which a finished run is evaluated or copied says nothing of how it was made.
        estimate = partial(estimate_for_manifest, settings, device_for(str(device)))
        write_manifest(folder, settings, device, estimate, imported_sources(folder, settings))
    return Context(settings, folder, device, DeviceMeter(device, log.emit).emit, check_stop, Clock(folder))


def _stop_check(folder: RunFolder, command: str) -> Callable[[], None]:
    """Installs signal handlers; returns what stages call at safe points, which raises Stopped after a stop request.

    SIGINT, SIGTERM and the stop file ask for a stop; a second request by signal ends the process at once.
    """
    requests = StopSignals()

    def on_signal(number: int, _frame: object) -> None:
        requests.take(number)
        if len(requests.numbers) > 1:
            os._exit(STOPPED)

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)

    def check() -> None:
        if not folder.config.exists():
            raise RunFailed("the run's folder was deleted", str(folder.root), "there is nothing left to resume")
        if requests.numbers or folder.stop_request.exists():
            # Removed before the run ends, or resuming it would stop it again.
            folder.stop_request.unlink(missing_ok=True)
            resumed = command == "run"  # a finished run has nothing to resume
            what = f"`ltdd-tui resume {folder.name}`" if resumed else f"the same {command} command"
            raise Stopped("stopped on request", folder.name, f"{what} goes on from here")

    return check


def _run_started(context: Context) -> RunStarted:
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
        stages_of(settings),
        settings.matching.iterations,
        settings_hash(settings),
        os.getpid(),
        resumed=context.folder.checkpoint.exists(),
        estimated_seconds=estimated_seconds(context.folder),
        labels=list(settings.evaluate.labels),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m engine", description=__doc__.splitlines()[0] if __doc__ else "")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("inspect").add_argument("path", type=Path)
    importing = commands.add_parser("import-experts")
    importing.add_argument("path", type=Path)
    importing.add_argument("--preset", required=True)
    importing.add_argument("--set", action="append", default=[])
    importing.add_argument("--device", default="auto")
    for name in ("run", "evaluate", "scores", "export", "calibrate"):
        command = commands.add_parser(name)
        command.add_argument("--device", default="auto")
        if name == "calibrate":
            command.add_argument("--compiler", action="store_true")
            continue
        command.add_argument("folder", type=Path)
        if name == "run":
            command.add_argument("--after", type=Path, action="append")
        if name == "evaluate":
            command.add_argument("--arch")
            command.add_argument("--labels")
            command.add_argument("--repeats", type=int)
        if name == "scores":
            command.add_argument("--repeats", type=int, default=5)
        if name == "export":
            command.add_argument("--images", type=Path)
            command.add_argument("--pt", type=Path)
            command.add_argument("--set", choices=("final", "best"), default="final")
            command.add_argument("--tensorboard", type=Path)
            command.add_argument("--teacher", action="store_true")
    return parser


if __name__ == "__main__":
    # The app puts this Python's library there, in which a tool that is written for another Python would not run.
    os.environ.pop("PYTHONPATH", None)
    sys.exit(main())
