"""The worker process: `python -m engine run FOLDER` does the run that the folder's config.yaml asks for, or resumes it.

Started by torchrun, several of them share the run's trajectories (engine/distributed.py).
With `--after OTHER` it waits until no worker is at work on that run. `sweep FOLDER` does those cells of a sweep, one
after another, that no other worker does (engine/sweep/supervisor.py starts it).
`evaluate FOLDER [--arch A,B] [--labels C,D] [--repeats N]`, `scores FOLDER [--repeats N]` and
`export FOLDER [--images DIR] [--pt DIR] [--set best] [--teacher]` work on a finished run, `export FOLDER
--tensorboard DIR` on any.
`calibrate [--compiler]` measures the machine, for estimates. `inspect PATH` prints what a set made elsewhere holds,
`import-experts PATH --preset P` takes over experts from replay buffers.
Exit codes: 0 done, 1 the run failed, 2 bad input, 130 stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import get_args

from engine import pipeline
from engine.cores import shared_cores
from engine.device import keep_freed_memory, pick_device
from engine.distributed import joined, rank_here
from engine.importing.set_files import read_imported_set
from engine.parallel import assist
from engine.results.tensorboard import write_tensorboard
from engine.run.errors import DONE, LtddError
from engine.run.events import Event, EventLog, Warned
from engine.run.folder import RunFolder
from engine.run.presets import load_preset
from engine.run.settings import NetworkName
from engine.stages.export import export_copies
from engine.sweep.cells import SweepFolder
from engine.sweep_worker import work_on_sweep
from engine.worker import do_run, failures_told, open_context, stop_check, stop_signals


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
        if arguments.command == "sweep":
            return work_on_sweep(
                SweepFolder(arguments.folder), arguments.device, arguments.only, arguments.since, arguments.failed
            )
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
    log, check_stop = EventLog(folder.events), stop_check(folder, stop_signals(), arguments.command)
    emit = log.emit if arguments.command != "export" else lambda event: None
    with failures_told(folder, log, emit, arguments.device):
        if arguments.command == "run":
            do_run(folder, arguments.device, log, check_stop, [RunFolder(other) for other in arguments.after or []])
            return
        context = open_context(folder, arguments.device, log, check_stop)
        with shared_cores(context.device):
            if arguments.command == "evaluate":
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m engine", description=__doc__.splitlines()[0] if __doc__ else "")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("inspect").add_argument("path", type=Path)
    importing = commands.add_parser("import-experts")
    importing.add_argument("path", type=Path)
    importing.add_argument("--preset", required=True)
    importing.add_argument("--set", action="append", default=[])
    importing.add_argument("--device", default="auto")
    sweep = commands.add_parser("sweep")
    sweep.add_argument("folder", type=Path)
    sweep.add_argument("--device", default="auto")
    sweep.add_argument("--only", action="append", default=[])
    sweep.add_argument("--since", type=float, default=None)
    sweep.add_argument("--failed", action="store_true")
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
