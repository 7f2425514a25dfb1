"""What a new run is called unless somebody names it, and what is wrong with a name that somebody typed."""

from __future__ import annotations

import re
from pathlib import Path

from engine.run.errors import Fault, InputError
from engine.run.settings import RunSettings
from ltdd_tui import worker
from ltdd_tui.form import NAME, Form
from ltdd_tui.preparing import default_name


def suggested_name(form: Form, settings: RunSettings, runs_dir: Path) -> str:
    """The first free name of the kind: after the preset while its cell is kept, after the cell otherwise."""
    wanted = default_name(form.preset, settings) if _cell(settings) == _cell(form.base) else cell_name(settings)
    try:
        return worker.free_name(wanted, runs_dir)
    except OSError:
        return wanted  # a folder that cannot be looked into is told when the run is to be made there


def cell_name(settings: RunSettings) -> str:
    """`cifar10-lt-if100-ipc10`, with the method behind it where it is not ltdd."""
    dataset, factor = settings.dataset, settings.dataset.imbalance_factor
    name = Path(dataset.path or "").name if dataset.name == "folder" else dataset.name
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:40] or "folder"
    tail = "natural" if factor == "natural" else f"if{factor:g}"
    lt = "" if factor == "natural" or plain.endswith("-lt") else "-lt"
    method = "" if settings.method == "ltdd" else f"-{settings.method}"
    return f"{plain}{lt}-{tail}-ipc{settings.ipc}{method}"


def _cell(settings: RunSettings) -> tuple[str, str | None, float | str, int]:
    dataset = settings.dataset
    return dataset.name, dataset.path, dataset.imbalance_factor, settings.ipc


def name_faults(name: str, free: str, runs_dir: Path) -> dict[str, Fault]:
    """Why a run cannot have this name; an empty one is no fault, since `free` stands for it."""
    if not name:
        return {}
    try:
        worker.check_free(name, runs_dir)
    except InputError as error:
        return {NAME: Fault(error.faults[0].what, NAME, f"leave it empty for {free}")}
    return {}
