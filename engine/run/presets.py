"""Presets: from a name and overrides to settings with every fault at once, and from settings back to YAML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import yaml
from pydantic import ValidationError

from engine.run.checks import check_runnable, impossible
from engine.run.complaints import complaints, location, mentioned
from engine.run.drafts import Draft, put_override, read_chain
from engine.run.errors import Fault, InputError, SettingsError
from engine.run.folder import write_atomically
from engine.run.preset_folders import NAME, Origin, find_preset, preset_files, user_folder
from engine.run.settings import RunSettings

__all__ = ["PresetInfo", "Resolved", "broken_presets", "check_runnable", "dump", "list_presets", "load_preset",
           "resolve", "save_preset"]


@dataclass(frozen=True)
class PresetInfo:
    """A preset that can be run by its name; `origin` is shipped, or yours."""

    name: str
    path: Path
    settings: RunSettings
    origin: Origin


class Resolved(NamedTuple):
    """Settings, and for each dotted key that was written, where: file and line, or --set."""

    settings: RunSettings
    origins: dict[str, str]


def list_presets() -> list[PresetInfo]:
    """Every preset that is right, in reading order; bases that are only there to be extended are left out."""
    return _read_presets()[0]


def broken_presets() -> list[Fault]:
    """What is wrong with the presets that list_presets leaves out."""
    return _read_presets()[1]


def _read_presets() -> tuple[list[PresetInfo], list[Fault]]:
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
    """The settings as load_preset gives them, and where each written value came from."""
    draft = _draft(name_or_path, overrides)
    return Resolved(_settings(draft), {".".join(path): place for path, place in draft.places.items()})


def _draft(name_or_path: str, overrides: Sequence[str]) -> Draft:
    draft = read_chain(find_preset(name_or_path))
    for override in overrides:
        put_override(draft, override)
    return draft


def _settings(draft: Draft) -> RunSettings:
    """The checked settings of a draft; raises SettingsError with the faults of files, keys, values and their fit."""
    faults = list(draft.faults)
    try:
        settings = RunSettings.model_validate(draft.nested())
    except ValidationError as error:
        found = complaints(error, draft.places)
        raise SettingsError(faults + list(found.values()) + _impossible_beside(draft, set(found))) from None
    faults += [_placed(fault, draft) for fault in impossible(settings)]
    if faults:
        raise SettingsError(faults)
    return settings


def _impossible_beside(draft: Draft, wrong: set[tuple[str, ...]]) -> list[Fault]:
    """What cannot fit among the values that are right by themselves; nothing where that cannot be told."""
    try:
        settings = RunSettings.model_validate(draft.nested(frozenset(wrong)))
    except ValidationError:
        return []
    faults = impossible(settings)
    return [_placed(fault, draft) for fault in faults if not wrong & set(mentioned(f"{fault.where} {fault.what}"))]


def _placed(fault: Fault, draft: Draft) -> Fault:
    return Fault(fault.what, location(tuple(fault.where.split(".")), draft.places), fault.hint)


def dump(settings: RunSettings) -> str:
    """Every value as YAML that loads back to equal settings."""
    text: str = yaml.dump(settings.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


class _Dumper(yaml.SafeDumper):
    """Writes 1e-05 as 1.0e-05, which YAML 1.1 reads back as a number."""


def _represent_float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    text = repr(value)
    return dumper.represent_scalar("tag:yaml.org,2002:float", text if "." in text else text.replace("e", ".0e"))


_Dumper.add_representer(float, _represent_float)


def save_preset(name: str, settings: RunSettings) -> Path:
    """Saves settings as a preset of yours; raises InputError for a name that is taken or no file name."""
    if not NAME.fullmatch(name):
        raise InputError(f"{name!r} cannot name a preset", hint="letters, digits, dots, dashes and underscores")
    if name in preset_files():
        raise InputError(f"there is a preset {name!r} already", hint="choose another name")
    path = user_folder() / f"{name}.yaml"
    write_atomically(path, dump(settings))
    return path
