"""`run`, `resume`, `watch` and `stop`: a run from its start to its end, attached or not."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from engine.run.errors import InputError
from engine.run.estimate import remaining_cost
from engine.run.folder import RunFolder
from engine.run.metrics import readable_metrics
from engine.run.presets import resolve
from engine.run.schema import flat
from engine.run.validation import check_runnable
from ltdd_tui.cli.options import Detach, Device, Overrides, Plain, PresetName, RunName, RunsDir
from ltdd_tui.cli.output import DEFAULT, estimate_table, note, settings_table, show, show_json
from ltdd_tui.cli.progress import runs_on
from ltdd_tui.launch.machine import UNKNOWN_COST, as_plain, device_here
from ltdd_tui.runs import manage, worker
from ltdd_tui.runs.index import find_run, handle, replayed, run_folders

# From the command line to the screen: only where there is a terminal, and only then is Textual loaded.


MOST_NAMED = 5


def is_terminal() -> bool:
    """Whether a screen can be shown: both ways lead to a terminal, or to the browser that `serve` speaks with."""
    return "TEXTUAL_DRIVER" in os.environ or (sys.stdin.isatty() and sys.stdout.isatty())


def show_screen(runs_dir: Path, device: str = "auto", folder: RunFolder | None = None) -> int:
    """Opens the app, on one run if `folder` is given, and returns its exit code; InputError without a terminal."""
    if not is_terminal():
        raise InputError(
            "the screen needs a terminal",
            hint="`ltdd-tui run quickstart` needs none; `ltdd-tui --help` lists the commands",
        )
    # Until the first picture is there, looking for garbage takes a fifteenth of the time and finds hardly any.
    gc.disable()
    try:
        from ltdd_tui.app import open_screen

        code = open_screen(runs_dir, device, folder)
    finally:
        gc.enable()
    for line in last_words(runs_dir, folder):
        note(line)
    return code


def last_words(runs_dir: Path, watched: RunFolder | None = None) -> list[str]:
    """How to come back, now that the screen is closed: to the run that was watched, and to all that still work."""
    at_work = [folder for folder in run_folders(runs_dir) if folder.is_running()]
    lines = [f"{folder.name}: {runs_on(folder)}" for folder in at_work[:MOST_NAMED]]
    if watched is not None and watched.exists() and watched.root not in [folder.root for folder in at_work]:
        lines.insert(0, f"{watched.name}: `ltdd-tui watch {handle(watched)}` shows it again")
    if len(at_work) > MOST_NAMED:
        lines.append(f"and {len(at_work) - MOST_NAMED} more: `ltdd-tui runs` lists them")
    return lines


def run(
    preset: PresetName,
    runs_dir: RunsDir,
    overrides: Overrides = None,
    name: Annotated[str | None, typer.Option("--name", help="the run's name; else the preset's, with a number")] = None,
    device: Device = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="print every setting with its origin and the estimate; start nothing")
    ] = False,
    plain: Plain = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the events as JSON lines to stdout")] = False,
    detach: Detach = False,
) -> None:
    """Distill: data, experts, initialization, matching, evaluation, export. Ctrl-C stops at the next safe point."""
    from ltdd_tui.launch.create import prepare

    if dry_run:
        if name is not None:
            manage.check_free(name, runs_dir)
        show_plan(preset, overrides or [], device, as_json)
        return
    folder = prepare(preset, overrides or [], runs_dir, name)
    _begin(folder, device, plain, as_json, detach)


def resume(
    run: RunName,
    runs_dir: RunsDir,
    device: Device = "auto",
    plain: Plain = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the new events as JSON lines to stdout")] = False,
    detach: Detach = False,
) -> None:
    """Go on with a run that was stopped, crashed or failed, from its last checkpoint."""
    folder = find_run(run, runs_dir)
    if readable_metrics(folder) and folder.distilled.exists() and replayed(folder).status == "done":
        note(f"{folder.name} is done; `ltdd-tui show {handle(folder)}` shows it")
        return
    _begin(folder, device, plain, as_json, detach)


def _begin(folder: RunFolder, device: str, plain: bool, as_json: bool, detach: bool) -> None:
    from ltdd_tui.cli.progress import display_for, follow_run
    from ltdd_tui.runs.live import Watched

    watched = Watched(folder)
    watched.skip_old()
    process = worker.start(folder, device)
    note(f"{folder.name}: {folder.root}")
    if detach:
        _leave(folder, process)
        return
    raise typer.Exit(follow_run(watched, display_for(plain, as_json), process, show_table=not as_json))


def _leave(folder: RunFolder, process: subprocess.Popen[bytes]) -> None:
    """Waits only until the worker holds the folder, so that `watch` finds it, or has already failed."""
    from ltdd_tui.cli.progress import runs_on

    while process.poll() is None and not folder.is_running():
        time.sleep(0.05)
    if process.returncode:
        note("\n".join(worker.console_tail(folder)))
        raise typer.Exit(process.returncode if process.returncode in (2, 130) else 1)
    note(runs_on(folder))


def watch(
    run: RunName,
    runs_dir: RunsDir,
    plain: Plain = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the events as JSON lines to stdout")] = False,
) -> None:
    """Show a run as it goes, or once more how it went: on a terminal as a screen. Leaving it stops nothing."""
    from ltdd_tui.cli.progress import display_for, follow_run
    from ltdd_tui.runs.live import Watched

    folder = find_run(run, runs_dir)
    if is_terminal() and not plain and not as_json:
        raise typer.Exit(show_screen(folder.root.parent, folder=folder))
    raise typer.Exit(follow_run(Watched(folder), display_for(plain, as_json), None, show_table=not as_json))


def stop(
    run: RunName,
    runs_dir: RunsDir,
    wait: Annotated[bool, typer.Option("--wait", help="return when it has stopped")] = False,
) -> None:
    """Ask a run to stop at its next safe point; `resume` goes on with it."""
    folder = find_run(run, runs_dir)
    if not folder.is_running():
        raise InputError("no worker is at work on this run", str(folder.root), "`ltdd-tui runs` lists those that run")
    worker.request_stop(folder)
    note(f"{folder.name} is asked to stop at its next safe point")
    while wait and folder.is_running():
        time.sleep(0.1)
    sys.stderr.flush()


def show_plan(preset: str, overrides: list[str], device: str, as_json: bool) -> None:
    """Prints every resolved setting with where its value came from, and the estimate, to stdout; starts nothing.

    Raises SettingsError, and after the plan InputError where this machine lacks the data, or they are faulty.
    """
    from engine.run.datasets import image_faults

    resolved = resolve(preset, overrides)
    here = device_here(device)
    found, _ = remaining_cost(resolved.settings, here)
    values = flat(resolved.settings.model_dump(mode="json"))
    if as_json:
        settings = [
            {"key": key, "value": value, "origin": resolved.origins.get(key, DEFAULT)} for key, value in values.items()
        ]
        show_json({"preset": preset, "settings": settings, "estimate": as_plain(found, here)})
    else:
        show(settings_table(values, resolved.origins))
        show("")
        show(estimate_table(found, here.name) if found else UNKNOWN_COST)
    if faults := check_runnable(resolved.settings) or image_faults(resolved.settings.dataset):
        raise InputError(faults)
