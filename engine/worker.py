"""One worker at work on one run: its context, its stop requests, and its errors as events.

`python -m engine run` does one run, a worker of a sweep one after another (engine/sweep_worker.py).
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from engine import pipeline
from engine.context import Clock, Context, stages_of
from engine.cores import shared_cores
from engine.device import DeviceMeter, pick_device
from engine.distributed import joined
from engine.failures import as_failure
from engine.importing.imported_sets import copy_imported_set, imported_sources
from engine.manifest import check_workers, estimated_seconds, write_manifest
from engine.queue import emit_faults, wait_for
from engine.resume import refuse_changed_settings
from engine.run.device_profiles import device_for
from engine.run.errors import Fault, LtddError, SettingsError, Stopped, listed
from engine.run.estimate import estimate_for_manifest
from engine.run.event_log import EventLog, told_since_start
from engine.run.events import Emit, Evaluated, RunBroke, RunStarted, RunStopped, Warned
from engine.run.folder import RunFolder, clear_temporaries, evaluations_root
from engine.run.manifest import refuse_newer
from engine.run.presets import DeletedSettingWarning, load_preset
from engine.run.settings import settings_hash


def do_run(
    folder: RunFolder, device: str, log: EventLog, check_stop: Callable[[], None], behind: Sequence[RunFolder] = ()
) -> None:
    """Does the run that the folder's config.yaml asks for, or goes on with it, after the runs `behind` it is queued.

    The caller holds the folder. Raises as `pipeline.run`, and InputError for settings or data that cannot be used.
    """
    refuse_newer(folder)
    clear_temporaries(folder.root)
    # Others write there at this moment, perhaps on other machines.
    clear_temporaries(evaluations_root(), older_than_seconds=3600)
    _copy_imported_set(folder)
    if behind:
        wait_for(behind, log, check_stop)
    context = open_context(folder, device, log, check_stop, begins=True)
    check_workers(context)
    with joined() as gang, shared_cores(context.device):
        gang.refuse_unequal_shares(context.settings.trajectories)
        log.emit(_run_started(context))
        _tell_lost_evaluations(context, log)
        pipeline.run(replace(context, gang=gang))


def _tell_lost_evaluations(context: Context, log: EventLog) -> None:
    """Emits Warned where a result is made anew to which `evaluate` has added more than the settings ask for."""
    own, folder = context.settings.evaluate, context.folder
    events = told_since_start(folder.events, Evaluated) if folder.result.exists() else []
    lost = {
        f"`ltdd-tui evaluate {folder.cli_name} --arch {event.arch} --labels {event.labels} --repeats {event.repeats}`"
        for event in events
        if event.subject == "final"
        and (event.repeats > own.repeats or event.arch not in own.arch or event.labels not in own.labels)
    }
    if lost:
        what = "the result is made anew, without what evaluations have added to it"
        log.emit(Warned(what, f"their networks are kept: {listed(sorted(lost))}"))


@contextlib.contextmanager
def failures_told(folder: RunFolder, log: EventLog, emit: Emit, device: str) -> Iterator[None]:
    """Writes an error of the block to the events, for whoever watches the run, and raises it again.

    What the system refuses, such as memory, is raised as RunFailed.
    """
    try:
        yield
    except Stopped:
        log.emit(RunStopped(log.stage))
        raise
    except LtddError as error:
        emit_faults(emit, error)
        raise
    except BaseException as error:
        if failure := as_failure(error, folder, log.stage, device):
            # The disk that is full may be the very one that holds the events.
            with contextlib.suppress(OSError):
                emit_faults(emit, failure)
            raise failure from None
        emit(RunBroke(f"{type(error).__name__}: {error}", "engine", f"the traceback is in {folder.console}"))
        raise


def _copy_imported_set(folder: RunFolder) -> None:
    """Copies a set made elsewhere before the run waits in the queue: it may be gone when its turn comes."""
    copy_imported_set(folder, load_preset(str(folder.config), quiet=True))


def open_context(
    folder: RunFolder, device_name: str, log: EventLog, check_stop: Callable[[], None], begins: bool = False
) -> Context:
    """What the stages of the run get; writes its manifest where its work `begins` or goes on.

    Raises SettingsError, or InputError for a device that is not there, for settings that have changed, and for a run
    of a newer version.
    """
    refuse_newer(folder)
    with warnings.catch_warnings(record=True) as ignored:
        warnings.simplefilter("always", DeletedSettingWarning)
        settings = load_preset(str(folder.config))
    if settings.unresolved:
        hint = "`ltdd-tui run` and `sweep` write numbers there"
        what = f"auto is for presets, a run needs a number: {', '.join(settings.unresolved)}"
        raise SettingsError([Fault(what, str(folder.config), hint)])
    device = pick_device(device_name)
    # Of a finished run too: what is made of it stands beside figures of the settings before.
    refuse_changed_settings(folder, settings)
    if begins:
        for warning in ignored:
            log.emit(Warned(str(warning.message)))
        # Only here: the machine on which a finished run is evaluated or copied says nothing of how it was made.
        estimate = partial(estimate_for_manifest, settings, device_for(str(device)))
        write_manifest(folder, settings, device, estimate, imported_sources(folder, settings))
    return Context(settings, folder, device, DeviceMeter(device, log.emit).emit, check_stop, Clock(folder))


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
