"""A preset as the few lines in which it differs from another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from engine.run.preset_folders import find_preset
from engine.run.presets import load_preset
from engine.run.settings import RunSettings
from engine.run.yaml_text import parse_file


def extending(settings: RunSettings, preset: str, saved_as: str = "") -> str:
    """YAML of a preset that extends another and gives these settings; raises SettingsError where there is none.

    saved_as: the name that it will have. A file cannot extend itself, so one that is saved over its own base extends
    what that one extends.
    """
    parent = _parent(preset) if preset == saved_as else preset
    head = {"extends": parent} if parent else {}
    # A published figure belongs to its cell, and is not handed on.
    base = load_preset(parent).model_copy(update={"expected": None}) if parent else RunSettings()
    differing = _differing(settings.model_dump(mode="json"), base.model_dump(mode="json"))
    text: str = yaml.safe_dump(head | differing or {"seed": settings.seed}, sort_keys=False, allow_unicode=True)
    return text


def _parent(preset: str) -> str:
    value = parse_file(find_preset(preset)).values.get(("extends",), "")
    return value if isinstance(value, str) else ""


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
