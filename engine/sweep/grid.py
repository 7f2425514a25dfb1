"""A sweep: one YAML file that asks for many runs, a cell for each combination of a grid's values. No torch.

    preset: quickstart                     # what all cells start from: a preset's name, a path, or settings
    set: {matching.iterations: 60}         # settings of all cells
    grid:                                  # a cell for each combination
      method: [ltdd, random]
      dataset.imbalance_factor: [10, 100]
      seed: [0, 1, 2]
    overrides:                             # settings of some cells; a later entry is laid over an earlier one
      - where: {method: ltdd, dataset.imbalance_factor: [100]}
        set: {matching.image_lr: 10}       # or a preset, whose values lie below what the sweep itself sets
    published:                             # published accuracies, which become `expected` of a cell
      - {where: {method: ltdd}, accuracy: 53.4, source: Table 1}

A cell is a run like any other: its settings are those of `ltdd-tui run PRESET --set ...`, defaults of the method
included, and its run folder lies in the sweep's folder under the cell's name (engine/sweep/names.py).
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import itertools
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

from engine.run.auto_settings import train_counts, with_numbers
from engine.run.errors import Fault, InputError, SettingsError, listed, shortened
from engine.run.folder import expanded
from engine.run.presets import (
    OVERRIDE,
    SUFFIXES,
    checked,
    find_preset,
    is_text_setting,
    preset_files,
    put_override,
    read_preset,
    shipped_folder,
    user_folder,
)
from engine.run.schema import flat, leaves
from engine.run.settings import RunSettings
from engine.run.validation import location
from engine.run.yaml_text import KeyPath, WrittenSettings, dump_yaml, nested, parse_file, parse_value
from engine.sweep.names import LABELS, cell_names, in_a_name, value_names

PATHS = ("dataset.path", "initialize.start_set")
"""Settings whose relative paths are made absolute: workers go on with a sweep from any folder."""
FILE = "sweep.yaml"
"""The resolved sweep in the sweep's folder."""
PRESET = "preset:0"
"""The place of what presets say."""
MOST_CELLS = 5_000


@dataclass(frozen=True)
class Cell:
    """One run of a sweep: its name, its grid values by dotted key, and its settings as config.yaml has them.

    reasons: of the numbers that stand there in place of `auto`, by dotted key.
    """

    name: str
    values: dict[str, Any]
    settings: RunSettings
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sweep:
    """A sweep's name, its grid (the values of each dotted key, in order), and its cells in the order of the grid.

    resolved: the sweep as YAML that needs no preset and no present folder, which `load_sweep` reads back as the same.
    """

    name: str
    grid: dict[str, list[Any]]
    cells: tuple[Cell, ...]
    resolved: str = field(repr=False)


# ---- Where sweeps are: shipped with the presets, and the user's own ----


def sweep_files() -> dict[str, Path]:
    """Every sweep by name; the user's own replaces a shipped one."""
    folders = (place / "sweeps" for place in (shipped_folder(), user_folder()))
    files = (path for folder in folders for path in sorted(folder.glob("*")) if path.suffix in SUFFIXES)
    return {path.stem: path for path in files if not path.name.startswith(("_", "."))}


def find_sweep(name_or_path: str) -> Path:
    """The file of a sweep: of its name, of a path, or in a sweep's folder; raises SettingsError with the names."""
    path = expanded(name_or_path)
    if os.path.isfile(path / FILE):
        return path / FILE
    if os.path.isfile(path) and (os.sep in name_or_path or name_or_path.endswith(SUFFIXES)):
        return path
    if known := sweep_files().get(name_or_path.removeprefix("sweeps/")):
        return known
    hint = f"known: {listed(list(sweep_files()))}; or a file"
    if name_or_path in preset_files():
        hint = f"it is a preset: `ltdd-tui run {name_or_path}` runs it"
    raise SettingsError(f"there is no sweep {shortened(name_or_path)!r}", hint=hint)


def is_sweep(name_or_path: str) -> bool:
    """Whether a name or path that may also be a preset's is that of a sweep: a shipped name, a folder, a file."""
    path = expanded(name_or_path)
    if os.path.isfile(path) and name_or_path.endswith(SUFFIXES):
        return any(at[0] == "grid" for at in parse_file(path).places)
    named = name_or_path.removeprefix("sweeps/")
    return os.path.isfile(path / FILE) or (named in sweep_files() and name_or_path not in preset_files())


# ---- From the file to cells ----


def _by_dotted_key(given: Any) -> Any:
    """Blocks as dotted keys; refuses a setting that stands in a block and under its dotted key."""
    if not isinstance(given, Mapping):
        return given
    values: dict[str, Any] = {}
    for key, value in given.items():
        own = flat({key: value})
        if twice := next(iter(own.keys() & values.keys()), ""):
            raise PydanticCustomError("twice", "{key} stands here a second time", {"key": twice})
        values |= own
    return values


def _all_absolute(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _absolute(key, value) for key, value in values.items()}


def _absolute(key: str, value: Any) -> Any:
    """The value, a relative path (or several, in a grid) as absolute ones; no path stays none."""
    if key not in PATHS or value in (None, ""):
        return value
    return [_absolute(key, own) for own in value] if isinstance(value, list) else str(expanded(str(value)).absolute())


ByDottedKey, Absolute = BeforeValidator(_by_dotted_key), AfterValidator(_all_absolute)
Settings = Annotated[dict[str, Any], ByDottedKey, Absolute]
"""Values by dotted key, with absolute paths; blocks within are taken too."""


class _Strict(BaseModel, extra="forbid", frozen=True):
    """No key that is not known."""


class _OfCells(_Strict):
    """What holds in the cells whose grid values are those of `where` (of a list, any of them); in all without."""

    where: Settings = {}

    def holds_in(self, values: Mapping[str, Any]) -> bool:
        """Whether a cell of these grid values is one of them."""
        return all(_fits(values[key], wanted) for key, wanted in self.where.items())


def _fits(value: Any, wanted: Any) -> bool:
    return bool(value == wanted) or (isinstance(wanted, list) and value in wanted)


class Override(_OfCells):
    """Settings of some cells, or of all; those of a preset lie below what the sweep itself sets."""

    set: Settings = {}
    preset: str | Settings = {}


class Published(_OfCells):
    """A published accuracy, which becomes the setting `expected` of its cells."""

    accuracy: float
    source: str
    note: str = ""


class SweepFile(_Strict):
    """A sweep as its file says it."""

    preset: str | Settings | None = None
    set: Settings = {}
    grid: Annotated[dict[str, Annotated[list[Any], Field(min_length=1)]], ByDottedKey, Absolute, Field(min_length=1)]
    overrides: list[Override] = []
    published: list[Published] = []


def load_sweep(name_or_path: str, overrides: Sequence[str] = ()) -> Sweep:
    """The sweep of a name, a file or a sweep's folder, with `a.b=c` laid over the settings of all cells.

    Raises SettingsError with every fault: of the file, and of cells with the cell's name.
    """
    path = find_sweep(name_or_path)
    file, places = _read(path)
    last = WrittenSettings(OVERRIDE)
    for override in overrides:
        put_override(last, override)
    for key in map(".".join, last.values):
        if key in file.grid:
            what = f"{key} is in the grid of the sweep"
            last.faults.append(Fault(what, f"{OVERRIDE}: {key}", "--only takes some of its values"))
    if last.faults:
        raise SettingsError(last.faults)
    last.values = {at: _absolute(".".join(at), value) for at, value in last.values.items()}
    values = [dict(zip(file.grid, chosen, strict=True)) for chosen in itertools.product(*file.grid.values())]
    # Of many cells, a folder is looked at once.
    cells, faults, count = list[Cell](), dict[Fault, list[str]](), functools.cache(train_counts)
    for name, own in zip(cell_names(file.grid), values, strict=True):
        layers = _layers(file, places, own)
        layers.add(last.values, last.places)
        try:
            cells.append(Cell(name, own, *with_numbers(checked(layers), count)))
        except (SettingsError, InputError) as error:
            for fault in error.faults:
                faults.setdefault(fault, []).append(name)
    if faults:
        raise SettingsError([_in_cells(fault, names) for fault, names in faults.items()])
    if last.values:
        laid_over = Override(set={".".join(at): value for at, value in last.values.items()})
        file = file.model_copy(update={"overrides": [*file.overrides, laid_over]})
    name = path.parent.name if path.name == FILE else path.stem
    return Sweep(name, file.grid, tuple(cells), dump_yaml(file.model_dump(mode="json"), default_flow_style=None))


def _in_cells(fault: Fault, names: list[str]) -> Fault:
    """The fault with the cells that have it."""
    cells = f"cell {names[0]}" + (f" and {len(names) - 1:,} more" if len(names) > 1 else "")
    return Fault(fault.what, f"{cells}: {fault.where}" if fault.where else cells, fault.hint)


def _read(path: Path) -> tuple[SweepFile, dict[KeyPath, str]]:
    """What a sweep's file says, with the settings of its preset in it, and where each part stands.

    Raises SettingsError with every fault of its form.
    """
    parsed = parse_file(path, lambda at: is_text_setting(tuple(".".join(at[1:]).split("."))))
    places = {tuple(".".join(at).split(".")): place for at, place in parsed.places.items()}
    if parsed.faults:
        raise SettingsError(parsed.faults)
    try:
        file = SweepFile.model_validate(nested(parsed.values))
    except ValidationError as error:
        of_form = (_fault_of_form(one, parsed) for one in error.errors(include_url=False))
        raise SettingsError(list(dict.fromkeys(of_form))) from None
    if faults := [Fault(what, location(at, places), hint) for at, what, hint in _faults_of_grid(file)]:
        raise SettingsError(faults)
    if isinstance(file.preset, Mapping):
        base = checked(_layer(file.preset, f"{parsed.name} (preset)"))
    else:
        base = checked(read_preset(find_preset(file.preset, beside=path))) if file.preset else RunSettings()
    settings = flat(base.model_dump(mode="json", exclude={"expected"}))
    rows = [row.model_copy(update={"preset": _written(row.preset, path)}) for row in file.overrides]
    return file.model_copy(update={"preset": _all_absolute(settings), "overrides": rows}), places


def _written(preset: str | Mapping[str, Any], beside: Path) -> Mapping[str, Any]:
    """What a preset and those that it extends say, by dotted key; raises SettingsError with the faults of its form."""
    if not isinstance(preset, str):
        return preset
    layers = read_preset(find_preset(preset, beside))
    if layers.faults:
        raise SettingsError(layers.faults)
    return _all_absolute({".".join(at): value for at, value in layers.values.items() if at[0] != "expected"})


def _fault_of_form(error: Any, parsed: WrittenSettings) -> Fault:
    """A fault of the file's form in our words, at the nearest key that has a line."""
    # Of a value that may have several types, pydantic names the type as a further key.
    at = tuple(str(key) for key in error["loc"] if key != "str" and "[" not in str(key))
    place = location(at, parsed.places)
    if error["type"] == "list_type":
        return Fault("a list is needed", place, "write [a, b]")
    if at[-1] == "preset":
        return Fault("the name of a preset is needed, or settings", place, "such as preset: quickstart")
    if error["type"] == "twice":
        return Fault(error["msg"], place, "keep one of the two")
    known = {"extra_forbidden": "there is no such key in a sweep", "missing": "this key is missing"}
    known |= {"too_short": "it is empty", "string_type": "a text is needed"}
    known |= dict.fromkeys(("dict_type", "model_type"), "settings are needed, each as `name: value`")
    what = known.get(error["type"], error["msg"][0].lower() + error["msg"][1:])
    return Fault(what, place, "a sweep has preset, set, grid, overrides and published (docs/sweeps.md)")


def _faults_of_grid(file: SweepFile) -> Iterator[tuple[KeyPath, str, str]]:
    """What is wrong between the parts of a sweep: where, what, and a hint."""
    if (count := math.prod(map(len, file.grid.values()))) > MOST_CELLS:
        # And nothing more: comparing that many values with each other takes minutes.
        yield ("grid",), f"the grid has {count:,} cells, more than {MOST_CELLS:,}", "make several sweeps of it"
        return
    for block in ("set", "grid"):
        for key in getattr(file, block):
            if key not in leaves():
                near = difflib.get_close_matches(key, leaves(), n=1)
                hint = f"did you mean {near[0]}?" if near else "docs/settings.md lists all"
                yield (block, *key.split(".")), "there is no such setting", hint
    for key, values in file.grid.items():
        at = ("grid", *key.split("."))
        if key in file.set:
            yield at, f"{key} stands below `set` as well", "keep one of the two"
        if any(value in values[:number] for number, value in enumerate(values)):
            yield at, "a value stands here a second time", "write it once"
    rows: list[tuple[str, int, _OfCells]] = [("overrides", number, row) for number, row in enumerate(file.overrides, 1)]
    rows += [("published", number, row) for number, row in enumerate(file.published, 1)]
    for block, number, row in rows:
        for key, wanted in row.where.items():
            if key not in file.grid:
                yield (block,), f"entry {number}: {key} is not in the grid", f"it has {', '.join(file.grid)}"
            elif not any(_fits(value, wanted) for value in file.grid[key]):
                what = f"entry {number}: no cell of the grid fits {key}: {shortened(str(wanted))}"
                yield (block,), what, f"the grid has {shortened(listed(list(map(str, file.grid[key]))))}"
    for number, override in enumerate(file.overrides, 1):
        for key in override.set.keys() & file.grid.keys():
            what = f"entry {number}: {key} is in the grid of the sweep"
            yield ("overrides",), what, "every cell keeps its value of the grid; make two sweeps of it"


def _layer(values: Mapping[str, Any], place: str) -> WrittenSettings:
    """Values by dotted key as a layer of settings, all of which stand at one place."""
    paths = {tuple(key.split(".")): value for key, value in values.items()}
    return WrittenSettings(place, paths, dict.fromkeys(paths, place))


def read_grid(file: Path) -> dict[str, list[Any]]:
    """The grid of a sweep, without the work of checking the settings of its cells; raises SettingsError."""
    return _read(file)[0].grid


def _layers(file: SweepFile, places: Mapping[KeyPath, str], values: Mapping[str, Any]) -> WrittenSettings:
    """The settings of one cell, not yet checked: the preset's, those of all cells, its grid values, its overrides."""
    assert isinstance(file.preset, Mapping)
    # A layer of its own: what a method has other defaults for is laid over a preset, but not over the sweep's settings.
    layers = _layer(file.preset, PRESET)
    for override in file.overrides:
        if override.preset and override.holds_in(values):
            assert isinstance(override.preset, Mapping)
            of_preset = _layer(override.preset, PRESET)
            layers.add(of_preset.values, of_preset.places)
    for block, own in (("set", file.set), ("grid", values)):
        paths = {tuple(key.split(".")): value for key, value in own.items()}
        layers.add(paths, {at: places.get((block, *at), "") for at in paths})
    published: list[tuple[_OfCells, Mapping[str, Any]]] = [
        (row, {f"expected.{key}": own for key, own in row if key != "where"}) for row in file.published
    ]
    overrides: list[tuple[_OfCells, Mapping[str, Any]]] = [(row, row.set) for row in file.overrides]
    for block, rows in (("overrides", overrides), ("published", published)):
        for of_cells, own in rows:
            if of_cells.holds_in(values):
                layer = _layer(own, places[(block,)])
                layers.add(layer.values, layer.places)
    return layers


# ---- Some of the cells ----


def only_cells(sweep: Sweep, only: Sequence[str]) -> list[Cell]:
    """The cells that fit all of `method=ltdd,dm`, `ipc=10` ...; several may stand in one text: `method=ltdd,dm,ipc=10`.

    A key may be its last part (`imbalance_factor`) or as in names of cells (`if`). Raises InputError for a key or value
    that the grid does not have.
    """
    wanted: dict[str, list[Any]] = {}
    for text in only:
        key = ""
        for part in re.split(r",(?![^\[]*\])", text):  # not within a list
            name, equals, value = part.partition("=")
            key = _grid_key(sweep, name.strip()) if equals else key
            if not key:
                raise InputError(f"{shortened(part)!r} is no KEY=VALUE", "--only", "such as --only method=ltdd,ipc=10")
            known = dict(zip(value_names(sweep.grid[key]), sweep.grid[key], strict=True))
            asked = (value if equals else part).strip()
            # As its name says it, or as YAML does: 1.0 is in names as 1, a list as its values.
            written: Any = None
            with contextlib.suppress(ValueError):
                written = parse_value(asked)
            found = [own for name, own in known.items() if name == in_a_name(asked) or own == written]
            if not found:
                raise InputError(f"{key} has no value {shortened(asked)!r}", "--only", f"it has {', '.join(known)}")
            wanted.setdefault(key, []).extend(found)
    return [cell for cell in sweep.cells if all(cell.values[key] in values for key, values in wanted.items())]


def _grid_key(sweep: Sweep, name: str) -> str:
    names = {short: key for key in sweep.grid for short in (key, key.rpartition(".")[2], LABELS.get(key, ""))}
    if not name or name not in names:
        raise InputError(f"there is no {shortened(name)!r} in the grid", "--only", f"it has {', '.join(sweep.grid)}")
    return names[name]
