"""Options and arguments that several commands share, with shell completion of names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from engine.run.errors import InputError, shortened
from engine.run.folder import default_runs_dir
from engine.run.presets import preset_files
from ltdd_tui.runs.find import folder_of_runs, run_folders

DEVICE = re.compile(r"auto|(cpu|cuda|mps|xpu)(:[0-9]{1,3})?")
"""As PyTorch names devices."""


def complete_run(incomplete: str) -> list[str]:
    """The names of runs, and `last`, that begin with `incomplete`; for shell completion."""
    names = [folder.name for folder in run_folders(default_runs_dir(), with_sweeps=True)] + ["last"]
    return [name for name in names if name.startswith(incomplete)]


def complete_preset(incomplete: str) -> list[str]:
    """The names of presets that begin with `incomplete`; for shell completion."""
    return [name for name in preset_files() if name.startswith(incomplete)]


def checked_device(name: str) -> str:
    """A name that may be a device's, which only the worker can tell; raises InputError for anything else."""
    if not DEVICE.fullmatch(name):
        raise InputError(f"there is no device {shortened(name)!r}", "--device", "auto, cpu, cuda, or cuda:1")
    return name


RunName = Annotated[
    str,
    typer.Argument(metavar="RUN", help="a run's name, its path, or `last` for the newest", autocompletion=complete_run),
]
PresetName = Annotated[
    str,
    typer.Argument(
        metavar="PRESET",
        help="a preset's name (`ltdd-tui presets list`) or a YAML file",
        autocompletion=complete_preset,
    ),
]
PresetOfData = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help="the preset whose data set and evaluation are used; a set of ltdd-tui names its own",
        autocompletion=complete_preset,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="change one setting, e.g. matching.iterations=500; may be repeated"
    ),
]
RunsDir = Annotated[
    Path,
    typer.Option(
        "--runs-dir",
        envvar="LTDD_RUNS_DIR",
        help="the folder that holds the runs",
        default_factory=default_runs_dir,
        callback=folder_of_runs,
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda:0, ...", callback=checked_device)]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON to stdout")]
Plain = Annotated[bool, typer.Option("--plain", help="print plain lines, even on a terminal")]
After = Annotated[
    list[str] | None,
    typer.Option("--after", metavar="RUN", help="queue: begin once no worker is at work on that run; may be repeated"),
]
SameBytes = Annotated[
    bool | None,
    typer.Option(
        "--same-bytes/--any-origin",
        help="refuse experts of the cache, and workers of this run, of another origin (device, instructions, threads,"
        " versions), so that the same settings give the same bytes; by default another origin is only told",
        show_default=False,
    ),
]
Detach = Annotated[bool, typer.Option("--detach", help="start it and return at once")]
