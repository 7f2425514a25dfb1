"""From the command line to the screen: only where there is a terminal, and only then is Textual loaded."""

from __future__ import annotations

import sys
from pathlib import Path

from engine.run.errors import InputError
from engine.run.folder import RunFolder
from ltdd_tui.consoles import note


def is_terminal() -> bool:
    """Whether a screen can be shown: both ways lead to a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def show_screen(runs_dir: Path, device: str = "auto", folder: RunFolder | None = None) -> None:
    """Opens the app, on one run if `folder` is given; raises InputError without a terminal."""
    if not is_terminal():
        raise InputError(
            "the screen needs a terminal",
            hint="`ltdd-tui run PRESET` does the same without one; `ltdd-tui --help` lists the commands",
        )
    from ltdd_tui.app import open_screen

    for line in open_screen(runs_dir, device, folder):
        note(line)
