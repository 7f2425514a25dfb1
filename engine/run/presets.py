"""Presets: from a name and overrides to settings with every fault at once, and from settings back to YAML."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import yaml
from pydantic import ValidationError

from engine.run.checks import check_runnable, impossible
from engine.run.complaints import complaints, location, mentioned, misfits
from engine.run.drafts import OVERRIDE, Draft, put_override, read_chain
from engine.run.errors import Fault, InputError, SettingsError
from engine.run.folder import write_atomically
from engine.run.preset_folders import NAME, SUFFIXES, Origin, find_preset, preset_files, user_folder
from engine.run.schema import leaves
from engine.run.settings import RunSettings
from engine.run.yaml_text import KeyPath, display_name, parse_text

__all__ = [
    "PresetInfo",
    "Resolved",
    "check_runnable",
    "dump",
    "list_presets",
    "load_preset",
    "resolve",
    "save_preset",
]

DEFAULT = "default"
# A published figure belongs to its cell: it goes when one of these is changed on the command line.
CELL: tuple[KeyPath, ...] = (("dataset", "name"), ("dataset", "imbalance_factor"), ("ipc",), ("method",))


@dataclass(frozen=True)
class PresetInfo:
    """A preset that can be run by its name; `origin` is shipped, or yours."""

    name: str
    path: Path
    settings: RunSettings
    origin: Origin


class Resolved(NamedTuple):
    """Settings, and for each dotted key where its value was written: file and line, --set, or default."""

    settings: RunSettings
    origins: dict[str, str]


def list_presets() -> tuple[list[PresetInfo], list[Fault]]:
    """Every preset that is right, in reading order, and what is wrong with the others.

    Bases that are only there to be extended are left out.
    """
    good, faults = [], []
    for name, (path, origin) in preset_files().items():
        try:
            good.append(PresetInfo(name, path, _settings(read_chain(path)), origin))
        except SettingsError as error:
            faults += error.faults
    return good, faults


def load_preset(name_or_path: str, overrides: Sequence[str] = ()) -> RunSettings:
    """The settings of a preset or YAML file with `a.b=c` overrides; raises SettingsError with every fault."""
    return _settings(_draft(name_or_path, overrides))


def resolve(name_or_path: str, overrides: Sequence[str] = ()) -> Resolved:
    """The settings as load_preset gives them, and where each value came from."""
    draft = _draft(name_or_path, overrides)
    settings = _settings(draft)
    return Resolved(settings, {key: draft.places.get(tuple(key.split(".")), DEFAULT) for key in leaves()})


def _draft(name_or_path: str, overrides: Sequence[str]) -> Draft:
    draft = read_chain(find_preset(name_or_path))
    for override in overrides:
        put_override(draft, override)
    overridden = [path for path, place in draft.places.items() if place == OVERRIDE]
    if any(path in CELL for path in overridden) and not any(path[0] == "expected" for path in overridden):
        draft.forget("expected")
    return draft


def _settings(draft: Draft) -> RunSettings:
    """The checked settings of a draft; raises SettingsError with the faults of files, keys, values and their fit."""
    settings: RunSettings | None = None
    wrong: dict[KeyPath, Fault] = {}
    try:
        settings = RunSettings.model_validate(draft.nested())
    except ValidationError as error:
        wrong = complaints(error, draft.places)
    faults = [*draft.faults, *wrong.values(), *_faults_together(draft, wrong)]
    if faults or settings is None:
        raise SettingsError(faults)
    return settings


def _faults_together(draft: Draft, wrong: Collection[KeyPath]) -> list[Fault]:
    """Faults of values that do not fit together, judged with defaults in place of those that are wrong by themselves.

    A fault that names a wrong value is left out: mending that one may mend it.
    """
    doubtful = frozenset(path for path in draft.values if any(_overlap(path, bad) for bad in wrong))
    try:
        found = impossible(RunSettings.model_validate(draft.nested(without=doubtful)))
    except ValidationError as error:
        found = misfits(error)
    placed = []
    for fault in found:
        keys = mentioned(f"{fault.where} {fault.what}")
        if not any(_overlap(key, bad) for key in keys for bad in wrong):
            written = next((key for key in keys if key in draft.places), keys[0])
            placed.append(Fault(fault.what, location(written, draft.places), fault.hint))
    return placed


def _overlap(one: KeyPath, other: KeyPath) -> bool:
    """Whether one key path is the other or leads to it."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def dump(settings: RunSettings) -> str:
    """Every value as YAML that loads back to equal settings."""
    text: str = yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
    return text


def save_preset(name: str, text: str, overwrite: bool = False) -> Path:
    """Saves YAML text, such as `extending` gives of settings, as a preset of yours.

    Raises SettingsError for text with faults, InputError for a name that is taken or no file name.
    """
    if not NAME.fullmatch(name) or name.endswith(SUFFIXES):
        raise InputError(f"{name!r} cannot name a preset", hint="letters, digits, dots, dashes and underscores")
    path = user_folder() / f"{name}.yaml"
    _settings(read_chain(path, parse_text(text, display_name(path))))
    if name in preset_files() and not (overwrite and preset_files()[name][1] == "yours"):
        raise InputError(f"there is a preset {name!r} already", hint="choose another name, or --overwrite your own")
    write_atomically(path, text)
    return path
