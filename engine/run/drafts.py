"""A preset before it is checked: the values of a file and all it extends, overrides on top, and where each stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.run.complaints import NUMBER_IN_TEXT
from engine.run.errors import Fault, SettingsError
from engine.run.preset_folders import find_preset
from engine.run.schema import leaves
from engine.run.yaml_text import KeyPath, ParsedFile, parse_file, parse_value

OVERRIDE = "--set"


@dataclass
class Draft:
    """Values by key path on their way to settings, with the place of every key that was written."""

    values: dict[KeyPath, Any] = field(default_factory=dict)
    places: dict[KeyPath, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    def put(self, values: Mapping[KeyPath, Any], places: Mapping[KeyPath, str]) -> None:
        """Lays values over those that are there; a block and a value of the same key replace each other."""
        for path in values:
            prefixes = {path[:length] for length in range(1, len(path))}
            self.values = {
                old: value for old, value in self.values.items() if old not in prefixes and old[: len(path)] != path
            }
            self.values[path] = values[path]
        self.places.update(places)

    def forget(self, block: str) -> None:
        """Takes out everything below a key."""
        self.values = {path: value for path, value in self.values.items() if path[0] != block}
        self.places = {path: place for path, place in self.places.items() if path[0] != block}

    def nested(self, without: frozenset[KeyPath] = frozenset()) -> dict[str, Any]:
        """The values as blocks."""
        root: dict[str, Any] = {}
        for path, value in self.values.items():
            if path in without:
                continue
            block = root
            for key in path[:-1]:
                block = block.setdefault(key, {})
            block[path[-1]] = value
        return root


def read_chain(path: Path, parsed: ParsedFile | None = None) -> Draft:
    """The file and all it extends, the farthest first."""
    chain: list[tuple[Path, ParsedFile]] = []
    current: Path | None = path
    while current is not None:
        file = parsed if parsed and not chain else parse_file(current)
        chain.append((current, file))
        current = _extended(current, file, [before.resolve() for before, _ in chain])
    draft = Draft(files=[file for file, _ in chain])
    for _, file in reversed(chain):
        draft.forget("expected")
        draft.put(file.values, file.places)
        draft.faults += file.faults
    return draft


def _extended(path: Path, parsed: ParsedFile, seen: list[Path]) -> Path | None:
    """The file that this one extends; what is wrong with `extends` joins the file's faults."""
    key = ("extends",)
    where = f"{parsed.places.pop(key, parsed.name)}: extends"
    if key not in parsed.values:
        return None
    name = parsed.values.pop(key)
    if not isinstance(name, str):
        parsed.faults.append(Fault("a preset's name or a path is needed", where, "for example: extends: quickstart"))
        return None
    try:
        found = find_preset(name, beside=path)
    except SettingsError as error:
        parsed.faults += [Fault(fault.what, where, fault.hint) for fault in error.faults]
        return None
    if found.resolve() in seen:
        parsed.faults.append(Fault(f"{name} extends this file in turn: a circle", where, "let one of them stand alone"))
        return None
    return found


def put_override(draft: Draft, override: str) -> None:
    """`a.b=c`, c read as YAML reads it, but more kindly: 1e2 is a number, and a,b a list where one is needed."""
    key, equals, text = override.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        draft.faults.append(Fault(f"{override!r} is no KEY=VALUE", OVERRIDE, "for example: matching.iterations=500"))
        return
    try:
        value = _typed(key.strip(), text.strip())
    except ValueError as error:
        draft.faults.append(Fault(f"{text!r} is no value: {error}", f"{OVERRIDE}: {key}"))
        return
    draft.put({path: value}, {path: OVERRIDE})


def _typed(key: str, text: str) -> Any:
    leaf = leaves().get(key)
    if leaf and leaf.takes_text and text not in ("", "null", "~"):
        return text
    value = parse_value(text)
    if isinstance(value, str) and text[:1] not in "'\"" and NUMBER_IN_TEXT.fullmatch(value):
        number = float(value)
        return int(number) if number.is_integer() else number
    if leaf and leaf.is_list and isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return value
