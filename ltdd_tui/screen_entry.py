"""From the command line to the screen: only where there is a terminal, and only then is Textual loaded."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

from engine.run.errors import InputError
from engine.run.folder import RunFolder
from ltdd_tui.attend import runs_on
from ltdd_tui.consoles import note
from ltdd_tui.runs import handle, run_folders

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
