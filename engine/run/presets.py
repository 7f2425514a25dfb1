"""Presets: YAML files that extend each other, with overrides on top, become checked settings; settings become YAML.

The way is: `find_preset` (a name to a file), `read_preset` (the values of a file and its bases), `put_override`
(--set), `checked` (all values to RunSettings, or every fault at once). A sweep goes the same way (engine/sweep).
"""

from __future__ import annotations

import difflib
import os
import re
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from engine.run.datasets import FACTS
from engine.run.errors import Fault, InputError, SettingsError, shortened
from engine.run.folder import expanded, user_config_root, write_atomically
from engine.run.methods import METHOD_DEFAULTS
from engine.run.regular_files import natural_order
from engine.run.schema import KINDS, flat, leaves
from engine.run.settings import RunSettings
from engine.run.validation import (
    combination_faults,
    infeasible_faults,
    last_written,
    layer_of,
    location,
    mentioned,
    value_faults,
)
from engine.run.yaml_text import (
    NULLS,
    KeyPath,
    WrittenSettings,
    dump_yaml,
    nested,
    overlap,
    parse_file,
    parse_text,
    parse_value,
)

Origin = Literal["shipped", "yours"]
SUFFIXES = (".yaml", ".yml")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def shipped_folder() -> Path:
    """The presets that come with the program."""
    installed = Path(str(files("engine.run"))) / "shipped_presets"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "presets"


def user_folder() -> Path:
    """The user's own presets."""
    return user_config_root() / "presets"


def preset_files() -> dict[str, tuple[Path, Origin]]:
    """Every preset by name; the user's own replaces a shipped one. A leading `_` marks a base, which is left out."""
    origins: tuple[tuple[Path, Origin], ...] = ((shipped_folder(), "shipped"), (user_folder(), "yours"))
    files_by_name: dict[str, tuple[Path, Origin]] = {}
    for folder, origin in origins:
        for path in sorted(folder.glob("*")):
            if path.suffix in SUFFIXES and not path.name.startswith(("_", ".")):
                files_by_name[path.stem] = (path, origin)
    # if50 before if100
    return dict(sorted(files_by_name.items(), key=lambda item: natural_order(item[0])))


def find_preset(name_or_path: str, beside: Path | None = None) -> Path:
    """The file of a preset; `beside` is a file that extends it. Raises SettingsError with the nearest names.

    A path is one that has a slash or ends in .yaml, and is relative to the folder of `beside`. A name is looked for
    next to `beside`, then among the user's presets, then among those shipped; a file never extends itself by name.
    """
    folder = beside.parent if beside else Path()
    if os.sep in name_or_path or name_or_path.endswith(SUFFIXES):
        path = folder / expanded(name_or_path)
        if os.path.exists(path) and not os.path.isdir(path):
            return path
        raise SettingsError([_missing(name_or_path, "there is no such file", name_or_path)])
    folders = ([folder] if beside else []) + [user_folder(), shipped_folder()]
    for path in (place / f"{name_or_path}{suffix}" for place in folders for suffix in SUFFIXES):
        # Not Path.is_file, which raises for a name that is longer than the system allows.
        if os.path.isfile(path) and not (beside and path.resolve() == beside.resolve()):
            return path
    if beside and beside.stem == name_or_path:
        raise SettingsError("this preset extends itself", hint="name another one, or take `extends` out")
    raise SettingsError([_missing(name_or_path, f"there is no preset {name_or_path!r}")])


def _missing(name_or_path: str, what: str, where: str = "") -> Fault:
    if os.path.isdir(expanded(name_or_path)):
        return Fault("this is a folder, no preset", name_or_path, f"`ltdd-tui new {name_or_path}` writes one for it")
    near = difflib.get_close_matches(Path(name_or_path).stem, list(preset_files()), n=3, cutoff=0.5)
    return Fault(what, where, f"did you mean {', '.join(near)}?" if near else "`ltdd-tui presets list` shows all")


# Layers of values before they are checked: the farthest base first, then the files that extend it, then overrides.

OVERRIDE = "--set"
"""The place of a value that was given on the command line."""


def is_text_setting(path: KeyPath) -> bool:
    """Whether the setting takes any text, so that its value is taken as written."""
    leaf = leaves().get(".".join(path))
    return leaf is not None and leaf.kind == KINDS["string"]


def _chain(path: Path, parsed: WrittenSettings | None = None) -> list[tuple[Path, WrittenSettings]]:
    """The file and all it extends, the farthest base last; `parsed` is the content of a file not yet written."""
    chain: list[tuple[Path, WrittenSettings]] = []
    current: Path | None = path
    while current is not None:
        file = parsed if parsed and not chain else parse_file(current, is_text_setting)
        chain.append((current, file))
        current = _extended(current, file, [before.resolve() for before, _ in chain])
    return chain


def _extended(path: Path, parsed: WrittenSettings, seen: list[Path]) -> Path | None:
    """The file that this one extends, or None; an `extends` that is wrong adds to the file's faults."""
    where = f"{parsed.places.pop(('extends',), parsed.name)}: extends"
    if ("extends",) not in parsed.values:
        return None
    name = parsed.values.pop(("extends",))
    try:
        if not isinstance(name, str):
            raise SettingsError("a preset's name or a path is needed", hint="for example: extends: quickstart")
        base = find_preset(name, beside=path)
        if base.resolve() in seen:
            raise SettingsError(f"{name} extends this file in turn: a circle", hint="let one of them stand alone")
    except SettingsError as error:
        parsed.faults += [Fault(fault.what, where, fault.hint) for fault in error.faults]
        return None
    return base


def read_preset(path: Path, parsed: WrittenSettings | None = None) -> WrittenSettings:
    """The values of a file over those of all it extends."""
    layers = WrittenSettings(str(path))
    for _, file in reversed(_chain(path, parsed)):
        # A published figure belongs to one cell, not to the presets that extend it.
        layers.drop("expected")
        layers.add(file.values, file.places)
        layers.faults += file.faults
    return layers


def put_override(layers: WrittenSettings, override: str) -> None:
    """Adds `a.b=c` as the top layer, c read as YAML; where a setting takes a list, `a,b` is one."""
    key, equals, text = override.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        layers.faults.append(
            Fault(f"{shortened(override)!r} is no KEY=VALUE", OVERRIDE, "for example: matching.iterations=500")
        )
        return
    try:
        layers.add({path: _typed(key.strip(), text.strip())}, {path: OVERRIDE})
    except ValueError as error:
        layers.faults.append(Fault(f"{shortened(text)!r} is no value: {error}", f"{OVERRIDE}: {key}"))


def _typed(key: str, text: str) -> Any:
    """The value of a text from the command line, which needs no quotes where a setting takes any text."""
    if is_text_setting(tuple(key.split("."))) and text not in NULLS:
        return text
    leaf, value = leaves().get(key), parse_value(text)
    if leaf and leaf.is_list and isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return value


# From layers to settings.

SMALLEST_IN_PARTS = 16
DEFAULT = "default"
"""The place of a value that nobody wrote."""
# A published figure belongs to its cell: it goes when one of these is changed on the command line.
CELL: tuple[KeyPath, ...] = (("dataset", "name"), ("dataset", "imbalance_factor"), ("ipc",), ("method",))


@dataclass(frozen=True)
class PresetInfo:
    """A preset with its settings and its origin: shipped with the program, or yours."""

    name: str
    path: Path
    settings: RunSettings
    origin: Origin


class Resolved(NamedTuple):
    """Settings, and the origin of each value by dotted key: file and line, --set, or default."""

    settings: RunSettings
    origins: dict[str, str]


def list_presets() -> tuple[list[PresetInfo], list[Fault]]:
    """Every preset without faults in natural order, and the faults of the others; bases (`_x.yaml`) are left out."""
    presets, faults = [], []
    for name, (path, origin) in preset_files().items():
        try:
            presets.append(PresetInfo(name, path, checked(read_preset(path)), origin))
        except SettingsError as error:
            faults += error.faults
    return presets, faults


def load_preset(name_or_path: str | None, overrides: Sequence[str] = (), quiet: bool = False) -> RunSettings:
    """The settings of a preset or YAML file, or the defaults, with `a.b=c` overrides; raises SettingsError.

    Issues a DeletedSettingWarning for each setting of an older version, unless `quiet`.
    """
    with warnings.catch_warnings():
        if quiet:
            warnings.simplefilter("ignore", DeletedSettingWarning)
        return resolve(name_or_path, overrides).settings


def resolve(name_or_path: str | None, overrides: Sequence[str] = ()) -> Resolved:
    """As `load_preset`, with the origin of each value."""
    layers = WrittenSettings(DEFAULT) if name_or_path is None else read_preset(find_preset(name_or_path))
    for override in overrides:
        put_override(layers, override)
    overridden = [path for path, place in layers.places.items() if place == OVERRIDE]
    if any(path in CELL for path in overridden) and not any(path[0] == "expected" for path in overridden):
        layers.drop("expected")
    settings = checked(layers)
    return Resolved(settings, {key: layers.places.get(tuple(key.split(".")), DEFAULT) for key in leaves()})


# Settings of older versions, each with its default of that time and what became of it. They may stand in presets, and
# they stand in the config.yaml of every older run. The old default is dropped in silence, because nothing changes.
_ONE_COMPILE = "`compile` decides for experts, matching and evaluation together"
DELETED_SETTINGS: dict[KeyPath, tuple[Any, str]] = {
    ("experts", "compile"): ("auto", _ONE_COMPILE),
    ("matching", "compile"): ("auto", _ONE_COMPILE),
    ("evaluate", "compile"): ("auto", _ONE_COMPILE),
    ("matching", "keep_gib"): (1.0, "the memory for saved activations is chosen automatically"),
}


class DeletedSettingWarning(UserWarning):
    """A setting of an older version was given; the text says where it stands and what became of it."""


def _replace_deleted(layers: WrittenSettings) -> None:
    """Takes settings of older versions out of the layers, with a warning for each that was not at its default."""
    given = {path: layers.values[path] for path in DELETED_SETTINGS if path in layers.values}
    # What an older file says of every block in which it gives `compile` is what the one setting can say now.
    choices = [value for path, value in given.items() if path[1] == "compile"]
    agreed = any(choices == [word] * len(choices) for word in ("always", "never"))
    taken = agreed and ("compile",) not in layers.places
    for path, value in given.items():
        default, instead = DELETED_SETTINGS[path]
        place, fate = layers.places.pop(path), "is ignored"
        del layers.values[path]
        if taken and path[1] == "compile":
            layers.add({("compile",): value}, {("compile",): place})
            fate = f"becomes `compile: {value}`"
        if value != default or place == OVERRIDE:
            text = f"{place}: {'.'.join(path)} is no longer a setting and {fate}: {instead}"
            warnings.warn(text, DeletedSettingWarning, stacklevel=5)


def _add_defaults_of_method(layers: WrittenSettings) -> None:
    """Adds what the method has other defaults for, over all that was written before the method was named.

    A preset's values suit its own method. Who names another one, with --set or in a file that extends the preset, gets
    what belongs to that; what is written there too, or after it, stays.
    """
    method, named_in = layers.values.get(("method",)), layer_of(layers.places.get(("method",), ""))
    defaults = METHOD_DEFAULTS.get(method, {}) if isinstance(method, str) else {}  # type: ignore[call-overload]
    order = list(dict.fromkeys(layer_of(place) for place in layers.places.values()))
    earlier = order[: order.index(named_in)] if named_in in order else []
    taken: dict[KeyPath, Any] = {}
    for path, value in defaults.items():
        # A block that is wrong as a whole stays as it is, or its fault would be lost.
        written = next((at for at in (path, path[:1]) if at in layers.values), None)
        if written is None or layer_of(layers.places.get(written, "")) in earlier:
            taken[path] = value
    if _has_small_images(layers):
        taken.pop(("initialize", "partition"), None)
    layers.add(taken, dict.fromkeys(taken, f"default of {method}"))


def _has_small_images(layers: WrittenSettings) -> bool:
    """Whether mini-images would have fewer pixels a side than show anything (docs/log.md)."""
    facts = FACTS.get(layers.values.get(("dataset", "name"), "digits"))
    side = layers.values.get(("dataset", "resolution")) or (facts.image_size if facts else None)
    return isinstance(side, int) and side < SMALLEST_IN_PARTS


def checked(layers: WrittenSettings) -> RunSettings:
    """The settings of all layers; raises SettingsError with the faults of files, keys, values and combinations."""
    _replace_deleted(layers)
    _add_defaults_of_method(layers)
    settings: RunSettings | None = None
    wrong: dict[KeyPath, Fault] = {}
    try:
        settings = RunSettings.model_validate(nested(layers.values))
    except ValidationError as error:
        wrong = value_faults(error, layers.places)
    faults = [*layers.faults, *wrong.values(), *_faults_between_values(layers, wrong)]
    if faults or settings is None:
        raise SettingsError(faults)
    return settings


def _faults_between_values(layers: WrittenSettings, wrong: Collection[KeyPath]) -> list[Fault]:
    """Faults of values that do not work together; a value that is wrong by itself is replaced by its default.

    A fault that names such a wrong value is left out: correcting the value may correct the combination.
    """
    doubtful = {bad[:length] for bad in wrong for length in range(1, len(bad) + 1)}
    right = {
        path: value
        for path, value in layers.values.items()
        if path not in doubtful and not any(path[:length] in wrong for length in range(1, len(path)))
    }
    try:
        faults = list(infeasible_faults(RunSettings.model_validate(nested(right))))
    except ValidationError as error:
        faults = combination_faults(error)
    placed = []
    for fault in faults:
        keys = mentioned(f"{fault.where} {fault.what}")
        if not any(overlap(key, bad) for key in keys for bad in wrong):
            blamed = last_written(keys, layers.places)
            placed.append(Fault(fault.what, location(blamed, layers.places), fault.hint))
    return placed


def dump(settings: RunSettings) -> str:
    """Every setting as YAML that loads back to equal settings."""
    return dump_yaml(settings.model_dump(mode="json"))


def save_preset(name: str, text: str, overwrite: bool = False) -> Path:
    """Saves YAML text, such as `extending` gives of settings, as a preset of yours.

    Raises SettingsError for text with faults, InputError for a name that is taken or no file name.
    """
    if not NAME.fullmatch(name) or name.endswith(SUFFIXES):
        raise InputError(f"{name!r} cannot name a preset", hint="letters, digits, dots, dashes and underscores")
    path = user_folder() / f"{name}.yaml"
    checked(read_preset(path, parse_text(text, path, is_text_setting)))
    if name in preset_files() and not (overwrite and preset_files()[name][1] == "yours"):
        raise InputError(f"there is a preset {name!r} already", hint="choose another name, or --overwrite your own")
    write_atomically(path, text)
    return path


# A preset written as the few lines in which it differs from another one.


def extending(settings: RunSettings, preset: str, saved_as: str) -> str:
    """YAML of a preset that extends `preset` and gives these settings; raises SettingsError where `preset` is missing.

    saved_as: the new preset's name. A preset cannot extend itself, and a file outside the presets' folders may be moved
    later: in both cases the new one extends the base of `preset` instead, or nothing.
    """
    saved = user_folder() / f"{saved_as}.yaml"
    files = [file for file, _ in _chain(find_preset(preset))]
    own = next((place for place, file in enumerate(files, 1) if file.resolve() == saved.resolve()), 0)
    parent = next((file.stem for file in files[own:] if _found_by_name(file, saved)), "")
    head = {"extends": parent} if parent else {}
    base = load_preset(parent) if parent else RunSettings()
    if base.method != settings.method:
        # What the method has other defaults for must be compared with those.
        head |= {"method": settings.method}
        alone = WrittenSettings("", {("method",): settings.method})
        base = load_preset(parent, [f"method={settings.method}"]) if parent else checked(alone)
    # `expected` is not inherited, so it is written again.
    inherited = flat(base.model_copy(update={"expected": None}).model_dump(mode="json"))
    differing = {
        tuple(key.split(".")): value
        for key, value in flat(settings.model_dump(mode="json")).items()
        if key not in inherited or inherited[key] != value
    }
    return dump_yaml(head | nested(differing) or {"seed": settings.seed}, width=80)


def _found_by_name(file: Path, saved: Path) -> bool:
    """Whether a preset at `saved` would find the file by its name alone."""
    try:
        return find_preset(file.stem, beside=saved).resolve() == file.resolve()
    except SettingsError:
        return False
