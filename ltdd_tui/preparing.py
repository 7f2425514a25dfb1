"""From a preset's name and some overrides to a run folder that a worker can take up, or to a plan of it."""

from __future__ import annotations

from pathlib import Path

from engine.run.folder import RunFolder
from engine.run.presets import check_runnable, dump, load_preset
from engine.run.settings import RunSettings
from ltdd_tui import worker


def prepare(preset: str, overrides: list[str], runs_dir: Path, name: str | None) -> RunFolder:
    """Writes config.yaml, every value resolved, into a new run folder; raises SettingsError or InputError."""
    if name is not None:
        worker.check_name(name)
    settings = load_preset(preset, overrides)
    check_runnable(settings)
    config = dump(_with_absolute_path(settings))
    return worker.create(name or worker.free_name(default_name(preset, settings), runs_dir), runs_dir, config)


def default_name(preset: str, settings: RunSettings) -> str:
    """The preset's own name, with the method where it is another one than the name says."""
    stem = Path(preset).stem if preset.endswith((".yaml", ".yml")) else Path(preset).name
    method = settings.method
    return stem if method == "ltdd" or method in stem.split("-") else f"{stem}-{method}"


def _with_absolute_path(settings: RunSettings) -> RunSettings:
    """The run may be resumed from another folder than the one it was started in."""
    if settings.dataset.path is None:
        return settings
    path = str(Path(settings.dataset.path).expanduser().absolute())
    return settings.model_copy(update={"dataset": settings.dataset.model_copy(update={"path": path})})
