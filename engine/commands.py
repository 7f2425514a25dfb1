"""The commands of the worker process, once torch is loaded; `engine/__main__.py` reads the command line."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from typing import get_args

from engine import pipeline
from engine.cores import shared_cores
from engine.device import keep_freed_memory, pick_device
from engine.distributed import joined, rank_here
from engine.importing.set_files import read_imported_set
from engine.manifest import check_workers, record_worker
from engine.parallel import assist
from engine.queue import stop_check, stop_signals
from engine.results.model import predictions_of, write_onnx
from engine.results.tensorboard import write_tensorboard
from engine.run.auto_settings import with_numbers
from engine.run.errors import DONE, LtddError, StopSignals, escaped
from engine.run.event_log import EventLog
from engine.run.events import Event, Warned
from engine.run.fields import NetworkName
from engine.run.folder import RunFolder
from engine.run.presets import load_preset
from engine.stages.export import export_copies
from engine.sweep.cells import SweepFolder
from engine.sweep_worker import work_on_sweep
from engine.worker import do_run, failures_told, open_context


def run_command(arguments: argparse.Namespace) -> int:
    """Runs one command of the worker and returns its exit code; errors go to events.jsonl too. Raises LtddError."""
    keep_freed_memory()
    if arguments.command == "run" and rank_here() > 0:
        return _assist(arguments)
    if arguments.command == "calibrate":
        # Imported here: no other command needs it.
        from engine.calibration import calibrate

        calibrate(pick_device(arguments.device), arguments.compiler)
        return DONE
    if arguments.command in ("inspect", "import-experts", "predict"):
        return _print_answer(arguments)
    if arguments.command == "sweep":
        return work_on_sweep(
            SweepFolder(arguments.folder), arguments.device, arguments.only, arguments.since, arguments.failed
        )
    folder = RunFolder(arguments.folder)
    if arguments.command == "export" and arguments.tensorboard is not None:
        # Without the lock and without events: it only reads, so another worker may be running the run.
        for warning in write_tensorboard(folder, arguments.tensorboard):
            print(escaped(f"warning: {warning.message}"), file=sys.stderr)
        if not any((arguments.images, arguments.pt, arguments.teacher, arguments.model, arguments.onnx)):
            return DONE
    with folder.held():
        _do_command(arguments, folder, stop_signals())
    return DONE


def go_on_after_queue(arguments: argparse.Namespace, folder: RunFolder, requests: StopSignals) -> None:
    """Does the run whose turn has come; the caller holds the folder, and took `requests` while it waited."""
    keep_freed_memory()
    _do_command(arguments, folder, requests)


def _assist(arguments: argparse.Namespace) -> int:
    """Another rank than 0 of a gang: it needs no folder, and its end is rank 0's decision."""
    for number in (signal.SIGINT, signal.SIGTERM):  # torchrun hands on a stop request to all ranks
        signal.signal(number, signal.SIG_IGN)
    with joined() as gang:
        assist(gang, pick_device(arguments.device))
    return DONE


def _print_answer(arguments: argparse.Namespace) -> int:
    """Prints as JSON what files made elsewhere hold, or what a model says of images; returns the exit code."""
    try:
        if arguments.command == "inspect":
            answer, code = read_imported_set(arguments.path).describe(), DONE
        elif arguments.command == "predict":
            answer, code = {"images": list(predictions_of(RunFolder(arguments.folder), arguments.paths))}, DONE
        else:
            # Imported here: no other command needs it.
            from engine.importing.replay_buffers import import_experts

            settings, _ = with_numbers(load_preset(arguments.preset, arguments.set))
            device = pick_device(arguments.device)
            answer, code = {"imported": import_experts(arguments.path, settings, device, _print_warning)}, DONE
    except LtddError as error:
        answer, code = {"faults": [vars(fault) for fault in error.faults]}, error.exit_code
    print(json.dumps(answer))
    return code


def _print_warning(event: Event) -> None:
    if isinstance(event, Warned):
        print(escaped(f"warning: {event.message}"), file=sys.stderr)


def _do_command(arguments: argparse.Namespace, folder: RunFolder, requests: StopSignals) -> None:
    """Runs run, evaluate, scores or export; an error is also written to the events, for whoever watches the run.

    Not of a copy: nothing has broken in the run that it is taken from.
    """
    log, check_stop = EventLog(folder.events), stop_check(folder, requests, arguments.command)
    emit = log.emit if arguments.command != "export" else lambda event: None
    with failures_told(folder, log, emit, arguments.device):
        if arguments.command == "run":
            do_run(folder, arguments.device, log, check_stop, [RunFolder(other) for other in arguments.after or []])
            return
        context = open_context(folder, arguments.device, log, check_stop)
        with shared_cores(context.device):
            if arguments.command in ("evaluate", "scores"):
                check_workers(context)
                record_worker(context)
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
                if arguments.model or (arguments.onnx and not folder.model.exists()):
                    pipeline.keep_model(context)
                if arguments.onnx:
                    write_onnx(folder)
                export_copies(context, arguments.images, arguments.pt, arguments.set)
