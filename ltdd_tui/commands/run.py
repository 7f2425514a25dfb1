"""`run`, `resume`, `watch` and `stop`: a run from its start to its end, attached or not."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Annotated

import typer

from engine.run.errors import InputError
from engine.run.folder import RunFolder
from ltdd_tui import worker
from ltdd_tui.consoles import note
from ltdd_tui.options import Detach, Device, Overrides, Plain, PresetName, RunName, RunsDir
from ltdd_tui.runs import find_run, handle, readable_metrics, replayed
from ltdd_tui.screen_entry import is_terminal, show_screen


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
    from ltdd_tui.preparing import prepare, show_plan

    if dry_run:
        if name is not None:
            worker.check_free(name, runs_dir)
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
    from ltdd_tui.attend import attend, display_for
    from ltdd_tui.follow import Watched

    watched = Watched(folder)
    watched.skip_old()
    process = worker.start(folder, device)
    note(f"{folder.name}: {folder.root}")
    if detach:
        _leave(folder, process)
        return
    raise typer.Exit(attend(watched, display_for(plain, as_json), process, show_table=not as_json))


def _leave(folder: RunFolder, process: subprocess.Popen[bytes]) -> None:
    """Waits only until the worker holds the folder, so that `watch` finds it, or has already failed."""
    from ltdd_tui.attend import runs_on

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
    from ltdd_tui.attend import attend, display_for
    from ltdd_tui.follow import Watched

    folder = find_run(run, runs_dir)
    if is_terminal() and not plain and not as_json:
        raise typer.Exit(show_screen(folder.root.parent, folder=folder))
    raise typer.Exit(attend(Watched(folder), display_for(plain, as_json), None, show_table=not as_json))


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
