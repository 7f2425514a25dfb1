"""Makes the run folder of a preset or a form, with a name that is free, and starts its worker."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from engine.run.auto_settings import config_text, with_numbers
from engine.run.errors import Fault, InputError
from engine.run.folder import RunFolder, expanded
from engine.run.presets import load_preset
from engine.run.settings import RunSettings
from engine.run.validation import check_runnable, data_faults
from ltdd_tui.launch.form import NAME, Form
from ltdd_tui.launch.machine import check_run
from ltdd_tui.runs import manage, worker
from ltdd_tui.runs.worker import WorkerProcess


def prepare(
    preset: str | None,
    overrides: list[str],
    runs_dir: Path,
    name: str | None,
    device: str = "auto",
    note: Callable[[str], None] = lambda text: None,
) -> RunFolder:
    """Writes config.yaml, every value resolved, into a new run folder; raises SettingsError or InputError.

    Refused is also what certainly does not fit on this machine; `note` is told of what may not.
    """
    if name is not None:
        manage.check_free(name, runs_dir)
    settings = load_preset(preset, overrides)
    if faults := check_runnable(settings) or data_faults(settings.dataset, open_images=False)[0]:
        raise InputError(faults)
    for close in check_run(settings, device, runs_dir):
        note(close)
    config = config_text(*with_numbers(with_absolute_path(settings)))
    return manage.create(name or manage.free_name(default_name(preset, settings), runs_dir), runs_dir, config)


def default_name(preset: str | None, settings: RunSettings) -> str:
    """The preset's own name, with the method where it is another one than the name says; of no preset the cell's."""
    if preset is None:
        return cell_name(settings)
    stem = Path(preset).stem if preset.endswith((".yaml", ".yml")) else Path(preset).name
    method = settings.method
    return stem if method == "ltdd" or method in stem.split("-") else f"{stem}-{method}"


def with_absolute_path(settings: RunSettings) -> RunSettings:
    """The run may be resumed from another folder than the one it was started in."""
    if (path := settings.dataset.path) is not None:
        dataset = settings.dataset.model_copy(update={"path": str(expanded(path).absolute())})
        settings = settings.model_copy(update={"dataset": dataset})
    if (path := settings.initialize.start_set) is not None:
        start = settings.initialize.model_copy(update={"start_set": str(expanded(path).absolute())})
        settings = settings.model_copy(update={"initialize": start})
    return settings


def begin(form: Form, name: str, runs_dir: Path, behind: Sequence[RunFolder] = ()) -> tuple[RunFolder, WorkerProcess]:
    """Creates the run that a form describes and starts its worker, which outlives this program.

    The worker waits for the runs `behind` which it is queued. It is what `ltdd-tui run` does; raises SettingsError or
    InputError.
    """
    folder = prepare(form.preset, form.overrides(), runs_dir, name, form.device)
    return folder, worker.start(folder, form.device, behind)


# ---- Names of runs. ----


def suggested_name(form: Form, settings: RunSettings, runs_dir: Path) -> str:
    """A free name: after the preset while its data set, factor and IPC are kept, after those otherwise."""
    wanted = default_name(form.preset, settings) if _cell(settings) == _cell(form.base) else cell_name(settings)
    try:
        return manage.free_name(wanted, runs_dir)
    except OSError:
        # A folder that cannot be looked into is reported when the run is to be made there.
        return wanted


def cell_name(settings: RunSettings) -> str:
    """`cifar10-lt-if100-ipc10`, with the method behind it where it is not ltdd."""
    dataset, factor = settings.dataset, settings.dataset.imbalance_factor
    name = expanded(dataset.path or "").name if dataset.name == "folder" else dataset.name
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
        manage.check_free(name, runs_dir)
    except InputError as error:
        return {NAME: Fault(error.faults[0].what, NAME, f"leave it empty for {free}")}
    return {}
