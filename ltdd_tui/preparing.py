"""From a preset's name and some overrides to a run folder that a worker can take up, or to a plan of it."""

from __future__ import annotations

from pathlib import Path

from engine.run.errors import InputError
from engine.run.estimate import remaining_cost
from engine.run.folder import RunFolder, expanded
from engine.run.presets import dump, load_preset, resolve
from engine.run.schema import flat
from engine.run.settings import RunSettings
from engine.run.validation import check_runnable
from ltdd_tui import worker
from ltdd_tui.consoles import show, show_json
from ltdd_tui.planning import UNKNOWN_COST, as_plain, device_here
from ltdd_tui.tables import DEFAULT, estimate_table, settings_table


def prepare(preset: str, overrides: list[str], runs_dir: Path, name: str | None) -> RunFolder:
    """Writes config.yaml, every value resolved, into a new run folder; raises SettingsError or InputError."""
    if name is not None:
        worker.check_free(name, runs_dir)
    settings = load_preset(preset, overrides)
    if lacking := check_runnable(settings):
        raise InputError(lacking)
    config = dump(with_absolute_path(settings))
    return worker.create(name or worker.free_name(default_name(preset, settings), runs_dir), runs_dir, config)


def default_name(preset: str, settings: RunSettings) -> str:
    """The preset's own name, with the method where it is another one than the name says."""
    stem = Path(preset).stem if preset.endswith((".yaml", ".yml")) else Path(preset).name
    method = settings.method
    return stem if method == "ltdd" or method in stem.split("-") else f"{stem}-{method}"


def with_absolute_path(settings: RunSettings) -> RunSettings:
    """The run may be resumed from another folder than the one it was started in."""
    if settings.dataset.path is None:
        return settings
    path = str(expanded(settings.dataset.path).absolute())
    return settings.model_copy(update={"dataset": settings.dataset.model_copy(update={"path": path})})


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
