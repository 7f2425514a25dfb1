"""A preset as the few lines in which it differs from another one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from engine.run.drafts import read_chain
from engine.run.errors import SettingsError
from engine.run.preset_folders import find_preset, user_folder
from engine.run.presets import load_preset
from engine.run.settings import RunSettings


def extending(settings: RunSettings, preset: str, saved_as: str) -> str:
    """YAML of a preset that extends another and gives these settings; raises SettingsError where there is none.

    saved_as: the name that it will have. A file cannot extend itself, and one that lies elsewhere may be moved: of such
    a base it extends what that one extends, or nothing.
    """
    parent = _parent(preset, saved_as)
    head = {"extends": parent} if parent else {}
    # A published figure belongs to its cell, and is not handed on.
    base = load_preset(parent).model_copy(update={"expected": None}) if parent else RunSettings()
    differing = _differing(settings.model_dump(mode="json"), base.model_dump(mode="json"))
    text: str = yaml.safe_dump(head | differing or {"seed": settings.seed}, sort_keys=False, allow_unicode=True)
    return text


def _parent(preset: str, saved_as: str) -> str:
    """The nearest file of a preset's chain that the new one finds by its name, and that does not extend the new one."""
    saved = user_folder() / f"{saved_as}.yaml"
    files = read_chain(find_preset(preset)).files
    own = next((place for place, file in enumerate(files, 1) if file.resolve() == saved.resolve()), 0)
    return next((file.stem for file in files[own:] if _is_named(file, saved)), "")


def _is_named(file: Path, saved: Path) -> bool:
    try:
        return find_preset(file.stem, beside=saved).resolve() == file.resolve()
    except SettingsError:
        return False


def _differing(values: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a tree that is not in the other one."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        old = base.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            if below := _differing(value, old):
                found[key] = below
        elif value != old:
            found[key] = value
    return found
