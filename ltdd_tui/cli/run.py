"""`run`, `import`, `resume`, `watch` and `stop`: a run from its start to its end, as a screen, attached or detached."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from engine.run.auto_settings import with_numbers
from engine.run.errors import BAD_INPUT, DONE, FAILED, STOPPED, Fault, InputError
from engine.run.estimate import estimate_remaining
from engine.run.folder import RunFolder
from engine.run.presets import DEFAULT, Resolved, load_preset, resolve
from engine.run.schema import flat
from engine.run.validation import check_runnable, data_faults
from engine.sweep.grid import is_sweep
from ltdd_tui.cli.options import (
    After,
    Detach,
    Device,
    Overrides,
    Plain,
    PresetName,
    PresetOfData,
    RunName,
    RunsDir,
    SameBytes,
)
from ltdd_tui.cli.output import estimate_table, print_data, print_json, print_note, settings_table
from ltdd_tui.cli.progress import display_for, exit_code_after, exit_code_of, follow, print_crash
from ltdd_tui.cli.results import print_result
from ltdd_tui.cli.sweep import resume_sweep, stop_sweep, watch_sweep
from ltdd_tui.formatting import first_few
from ltdd_tui.launch.create import cell_name, prepare
from ltdd_tui.launch.imported_set import check_start, inspect_set, ipc_of, made_with_overrides, start_overrides
from ltdd_tui.launch.machine import UNKNOWN_COST, as_plain, check_rest, device_here
from ltdd_tui.runs import manage, worker
from ltdd_tui.runs.feed import events_size
from ltdd_tui.runs.find import at_work, find_run, find_run_or_sweep, find_sweep_folder
from ltdd_tui.runs.live import RunStateReader
from ltdd_tui.runs.messages import closing_line_of
from ltdd_tui.runs.worker import WorkerProcess

MOST_NAMED = 5
Space = Literal["whitened", "normalized", "pixels"]
SPACE = "initialize.start_space"
SPACES = {
    "whitened": "as dataset.whitening of the preset prepares train images (ZCA; with none, mean and std)",
    "normalized": "less the mean of the channels, over their standard deviation",
    "pixels": "0 to 1",
}


def is_terminal() -> bool:
    """Whether a screen can be shown: stdin and stdout are a terminal, or `serve` started us for a browser."""
    return "TEXTUAL_DRIVER" in os.environ or (sys.stdin.isatty() and sys.stdout.isatty())


def show_screen(runs_dir: Path, device: str = "auto", folder: RunFolder | None = None) -> int:
    """Opens the app, on one run if `folder` is given, and returns its exit code; InputError without a terminal."""
    if not is_terminal():
        raise InputError(
            "the screen needs a terminal",
            hint="`ltdd-tui run quickstart` needs none; `ltdd-tui --help` lists the commands",
        )
    with contextlib.suppress(termios.error):
        rows, columns = termios.tcgetwinsize(sys.stdout)
        # A serial line, and some containers, say 0 by 0, and textual-image divides by that.
        termios.tcsetwinsize(sys.stdout, (rows or 24, columns or 80))
    # Until the first picture is there, looking for garbage takes a fifteenth of the time and finds hardly any.
    gc.disable()
    try:
        from ltdd_tui.app import open_screen

        code = open_screen(runs_dir, device, folder)
    finally:
        gc.enable()
    for line in closing_notes(runs_dir, folder):
        print_note(line)
    return code


def closing_notes(runs_dir: Path, watched: RunFolder | None = None) -> list[str]:
    """What to print once the screen is closed: how to get back to runs that still work and to the one watched."""
    working = at_work(runs_dir)
    lines = [f"{folder.name}: {_runs_on(folder)}" for folder in working]
    lines = first_few(lines, MOST_NAMED, ": `ltdd-tui runs` lists them")
    if watched is not None and watched.exists() and watched.root not in [folder.root for folder in working]:
        lines.insert(0, f"{watched.name}: `ltdd-tui watch {watched.cli_name}` shows it again")
    return lines


def _runs_on(folder: RunFolder) -> str:
    return f"it runs on; `ltdd-tui watch {folder.cli_name}` shows it, `ltdd-tui stop {folder.cli_name}` stops it"


def run(
    preset: PresetName,
    runs_dir: RunsDir,
    overrides: Overrides = None,
    name: Annotated[
        str | None, typer.Option("--name", help="the run's name; by default the preset's, with a number if it is taken")
    ] = None,
    device: Device = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="print every setting with its origin and the estimate; start nothing")
    ] = False,
    plain: Plain = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the events as JSON lines to stdout")] = False,
    detach: Detach = False,
    after: After = None,
    same_bytes: SameBytes = None,
    start_set: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="RUN_OR_FILE",
            help="start from this set in place of real images: a run, its distilled.safetensors, images.pt, or a folder"
            " of images a class",
        ),
    ] = None,
) -> None:
    """Distill: data, experts, initialization, matching, evaluation, export. Ctrl-C stops at the next safe point."""
    if is_sweep(preset):
        raise InputError("this is a sweep", preset, f"`ltdd-tui sweep {preset}` runs it")
    overrides = overrides or []
    if start_set is not None:
        facts = inspect_set(start_set, runs_dir)
        method = load_preset(preset, [f"initialize.start_set={facts.path}", *overrides]).traits
        print_note(facts.sentence())
        # Recovery labels its images by a teacher, whatever they had.
        takes_labels = method.learns_labels and method.synthesis != "recovery"
        overrides = [*start_overrides(facts, takes_labels), *overrides]
        check_start(facts, load_preset(preset, overrides))
    if dry_run:
        if name is not None:
            manage.check_free(name, runs_dir)
        _print_plan(preset, overrides, device, as_json)
        return
    # Before the run is made: a name that is not there must leave nothing behind.
    behind = [find_run_or_sweep(other, runs_dir) for other in after or []]
    if not behind and (working := at_work(runs_dir)):
        names = ", ".join(first_few([folder.name for folder in working], MOST_NAMED))
        print_note(
            f"{names}: at work as well, so that each takes longer; --after {working[-1].cli_name} would wait for it"
        )
    folder = prepare(preset, overrides, runs_dir, name, device, _print_warning)
    manage.promise_same_bytes(folder, same_bytes)
    _start(folder, device, plain, as_json, detach, behind)


def import_set(
    given: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="images.pt with labels.pt and lr.pt beside it, or their folder; a torch dict `data` (DC, DM); a folder"
            " of images a class; a distilled.safetensors; a run",
        ),
    ],
    runs_dir: RunsDir,
    preset: PresetOfData = None,
    overrides: Overrides = None,
    space: Annotated[
        Space | None,
        typer.Option("--space", help="what the values of the images are; a folder and a set of ltdd-tui tell it"),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="the run's name; by default after the data set")] = None,
    device: Device = "auto",
    plain: Plain = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the events as JSON lines to stdout")] = False,
    detach: Detach = False,
    after: After = None,
) -> None:
    """Evaluate a set that was made elsewhere: it becomes a run that is shown, compared, exported and resumed.

    Every class needs the same number of images. Files are read without running any code that they may hold.
    """
    behind = [find_run_or_sweep(other, runs_dir) for other in after or []]
    if name is not None:
        manage.check_free(name, runs_dir)
    facts, own = inspect_set(given, runs_dir), list(overrides or [])
    print_note(facts.sentence())
    if preset is None and facts.config:
        preset = str(facts.config)
    elif preset is None and facts.made_with:
        own = made_with_overrides(facts.made_with) + own
    elif preset is None and not any(override.startswith("dataset.name=") for override in own):
        hint = "--preset NAME, whose data set and evaluation are used, or --set dataset.name=..."
        preset = _asked("the preset of its data set", "which data set the set was made of is not known", hint)
    told = space is not None or any(override.startswith(f"{SPACE}=") for override in own)
    if facts.space == "auto" and not told and is_terminal():
        print_note("\n".join(f"{name}: {meaning}" for name, meaning in SPACES.items()))
        own.insert(0, f"{SPACE}={_asked('the values of the images are whitened, normalized or pixels', '', '')}")
    hard = [] if facts.soft_labels else ["initialize.labels=class"]
    # Also where it is auto: a run that is imported may have been imported itself, from another space.
    own = ["method=imported", *start_overrides(facts, True), f"{SPACE}={space or 'auto'}", *hard, *own]
    own = [f"ipc={ipc_of(facts, load_preset(preset, own).dataset)}", *own]
    settings = load_preset(preset, own)
    check_start(facts, settings)
    name = name or manage.free_name(cell_name(settings), runs_dir)
    _start(prepare(preset, own, runs_dir, name, device, _print_warning), device, plain, as_json, detach, behind)


def _print_warning(text: str) -> None:
    print_note(f"warning: {text}")


def _asked(question: str, what: str, hint: str) -> str:
    """The answer of whoever sits at the terminal; raises InputError without one."""
    if not is_terminal():
        raise InputError(what, "import", hint)
    answer: str = typer.prompt(question, err=True)
    return answer


def _print_plan(preset: str, overrides: list[str], device: str, as_json: bool) -> None:
    """Prints every resolved setting with where its value came from, and the estimate; starts nothing.

    Raises SettingsError, and after the plan InputError where this machine lacks the data, or they are faulty.
    """
    resolved = resolve(preset, overrides)
    faults, notes = check_runnable(resolved.settings), tuple[str, ...]()
    if not faults:
        faults, notes = data_faults(resolved.settings.dataset, open_images=True)
    if not faults:
        numbers, reasons = with_numbers(resolved.settings)
        resolved = Resolved(numbers, resolved.origins | {key: f"auto: {why}" for key, why in reasons.items()})
    profile = device_here(device)
    estimate, _ = estimate_remaining(resolved.settings, profile)
    values = flat(resolved.settings.model_dump(mode="json"))
    if as_json:
        settings = [
            {"key": key, "value": value, "origin": resolved.origins.get(key, DEFAULT)} for key, value in values.items()
        ]
        print_json({"preset": preset, "settings": settings, "estimate": as_plain(estimate, profile)})
    else:
        print_data(settings_table(values, resolved.origins))
        print_data("")
        print_data(estimate_table(estimate, profile.name) if estimate else UNKNOWN_COST)
    for note in notes:
        print_note(f"note: {note}")
    if faults:
        raise InputError(faults)


def resume(
    run: RunName,
    runs_dir: RunsDir,
    device: Device = "auto",
    plain: Plain = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the new events as JSON lines to stdout")] = False,
    detach: Detach = False,
    after: After = None,
    same_bytes: SameBytes = None,
) -> None:
    """Continue a run that was stopped, crashed or failed, from its last checkpoint; or a sweep."""
    if sweep := find_sweep_folder(run, runs_dir):
        behind = [find_run_or_sweep(other, runs_dir) for other in after or []]
        resume_sweep(sweep, device, as_json, detach, behind, same_bytes)
        return
    folder, behind = find_run(run, runs_dir), [find_run_or_sweep(other, runs_dir) for other in after or []]
    manage.check_queue(folder, behind)
    if manage.is_whole(folder):
        manage.promise_same_bytes(folder, same_bytes)  # of what evaluations add to it
        print_note(f"{folder.name} is done; `ltdd-tui show {folder.cli_name}` shows it")
        return
    for close in check_rest(folder, device):
        _print_warning(close)
    manage.promise_same_bytes(folder, same_bytes)
    _start(folder, device, plain, as_json, detach, behind)


def _start(
    folder: RunFolder, device: str, plain: bool, as_json: bool, detach: bool, behind: Sequence[RunFolder]
) -> None:
    """Starts a worker and exits as it does; with `detach`, returns as soon as the worker holds the folder."""
    watched = RunStateReader(folder)
    watched.skip_old()

    def start() -> WorkerProcess:
        own = worker.start(folder, device, behind)
        print_note(f"{folder.name}: {folder.root}")
        return own

    if not detach:
        raise typer.Exit(follow_run(watched, start, plain, as_json))
    own = start()
    # Not at once: `watch` must find a worker at work, and one that failed before that must be reported.
    while own.process.poll() is None and not folder.is_running():
        time.sleep(0.05)
    if own.process.returncode:
        print_note(own.last_output())
        raise typer.Exit(exit_code_of(own.process.returncode))
    print_note(_runs_on(folder))


def watch(
    run: RunName,
    runs_dir: RunsDir,
    plain: Plain = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the events as JSON lines to stdout")] = False,
) -> None:
    """Show a run or a sweep as it goes, or how it went; on a terminal as a screen. Leaving it stops nothing."""
    folder, sweep = find_run_or_sweep(run, runs_dir), find_sweep_folder(run, runs_dir)
    if is_terminal() and not plain and not as_json:
        raise typer.Exit(show_screen(folder.root.parent, folder=folder))
    if sweep:
        raise typer.Exit(watch_sweep(sweep, as_json))
    raise typer.Exit(follow_run(RunStateReader(folder), None, plain, as_json))


def follow_run(watched: RunStateReader, start: Callable[[], WorkerProcess] | None, plain: bool, as_json: bool) -> int:
    """Follows a run until its worker exits: prints progress, forwards Ctrl-C and SIGTERM, returns the exit code.

    start: starts the worker; without it the run's worker is another program's, and a signal leaves it running.
    """
    folder, before = watched.folder, watched.state.failures
    state, own, signals = follow(watched, display_for(plain, as_json), start)
    code = own.process.returncode if own else None
    resume_hint = f"hint: `ltdd-tui resume {folder.cli_name}` goes on from there"
    if own is None and signals:
        print_note(f"detached; {folder.name} keeps running")
        return DONE if signals[-1] == signal.SIGINT else exit_code_after(signals)
    if len(signals) > 1:
        print_note(f"killed; the last checkpoint is kept\n{resume_hint}")
        return exit_code_after(signals)
    # Also one that was stopped while it waited in the queue, and never began.
    if state.status == "stopped" and code in (None, STOPPED):
        print_note(f"stopped at a safe point\n{resume_hint}")
        return exit_code_after(signals)
    pid = state.started.pid if state.started else None
    begun = pid == own.process.pid if own else state.status != "waiting"
    if not begun and state.failures == before:
        # What the events say is of an earlier worker, or of another one that has the run.
        return _report_no_begin(folder, own)
    if state.status == "done" and not code:
        if as_json:
            print_note("; ".join(filter(None, (closing_line_of(state), f"result: {folder.result}"))))
        else:
            print_result(folder, by_class=False)
        return DONE
    if state.status == "failed":
        # Displays print failures as they come, except the one whose lines are JSON.
        if as_json:
            print_note("\n".join(str(Fault(failure.what, failure.where, failure.hint)) for failure in state.failures))
        return BAD_INPUT if code == BAD_INPUT else FAILED
    place = f"iteration {state.checkpoint}" if state.checkpoint else "what is finished"
    print_crash(folder, own, f"`ltdd-tui resume {folder.cli_name}` resumes from {place}")
    return exit_code_of(code)


def _report_no_begin(folder: RunFolder, own: WorkerProcess | None) -> int:
    """Says why no worker began with the run, and returns the exit code."""
    if own is not None:
        print_crash(folder, own)
        return exit_code_of(own.process.returncode)
    if (size := events_size(folder)) > 0:
        raise InputError(f"{size:,} bytes hold no start of a run", str(folder.events), "its file of events is damaged")
    raise InputError(
        "no worker has begun with this run", str(folder.root), f"`ltdd-tui resume {folder.cli_name}` starts one"
    )


def stop(
    run: RunName,
    runs_dir: RunsDir,
    wait: Annotated[bool, typer.Option("--wait", help="return when it has stopped")] = False,
    now: Annotated[
        bool, typer.Option("--now", help="end its worker at once, which loses what came after the last checkpoint")
    ] = False,
) -> None:
    """Ask a run to stop after its present iteration, epoch or network; `resume` continues it."""
    if sweep := find_sweep_folder(run, runs_dir):
        stop_sweep(sweep, wait, now)
        return
    folder = find_run(run, runs_dir)
    if not folder.is_running():
        raise InputError("no worker is at work on this run", str(folder.root), "`ltdd-tui runs` lists those that run")
    if now:
        worker.stop_now(folder)
        print_note(f"{folder.name} is stopped")
        return
    worker.request_stop(folder)
    print_note(f"{folder.name} will stop at its next safe point")
    while wait and folder.is_running():
        time.sleep(0.1)
