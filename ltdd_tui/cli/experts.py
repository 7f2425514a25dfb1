"""`import-experts`: experts that were trained elsewhere, for runs to follow in place of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from engine.run.errors import Fault, InputError
from engine.run.folder import expanded
from engine.run.presets import load_preset
from engine.run.validation import check_runnable
from ltdd_tui.cli.options import Device, Overrides, complete_preset
from ltdd_tui.cli.output import print_note, print_text
from ltdd_tui.runs import worker


def import_experts(
    buffers: Annotated[
        Path, typer.Argument(metavar="PATH", help="a replay_buffer_*.pt, or the folder that holds them")
    ],
    preset: Annotated[
        str,
        typer.Option("--preset", help="the preset of their data set and network", autocompletion=complete_preset),
    ],
    overrides: Overrides = None,
    device: Device = "auto",
) -> None:
    """Take over experts of the MTT family (replay_buffer_*.pt); prints the name that experts.imported takes.

    They are tested on the data set of the preset and kept in the cache, in a folder of their own.
    """
    # Before a worker is started, whose torch takes seconds to load.
    if faults := check_runnable(load_preset(preset, overrides or [])):
        raise InputError(faults)
    settings = [word for override in overrides or [] for word in ("--set", override)]
    path = expanded(str(buffers)).absolute()
    arguments = ["import-experts", str(path), "--preset", preset, *settings, "--device", device]
    found = json.loads(worker.answer(arguments, errors_here=True))
    if "faults" in found:
        raise InputError([Fault(**fault) for fault in found["faults"]])
    print_text(found["imported"])
    print_note(f"`ltdd-tui run {preset} --set experts.imported={found['imported']}` follows them")
