"""Settings as YAML text: reading with the file and line of each key, and writing what reads back equal.

YAML 1.1 lets some mistakes pass silently, such as a key that stands twice; here they are faults.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from engine.run.errors import Fault

KeyPath = tuple[str, ...]
"""The keys from the top level down to a value: ("matching", "image_lr")."""
# Deeper mappings are read as one value: no setting is nested as deep.
DEEPEST = 6
NO_ALIASES = "aliases (*name) are not taken"
NOT_OF_ITS_TAG = "this is no value of its tag"
# What PyYAML raises where a tag such as !!bool stands before something else.
TAG_ERRORS = (KeyError, IndexError, AttributeError, TypeError)
TOO_DEEP = "brackets or blocks are nested too deep"
NOTHING_SO_DEEP = "no setting needs that"
# libyaml has a limit of its own since 0.2.6 and words it so; older ones and Python's parser end in a RecursionError.
_LIMIT_OF_LIBYAML = "maximum nesting depth"

# PyYAML follows YAML 1.1, where a float needs a dot and a signed exponent: it reads `1e-3` and `2.5e3` as text.
# This is the float of YAML 1.2. A dot or an exponent is required, so that whole numbers stay whole.
_FLOAT_TAG = "tag:yaml.org,2002:float"
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$")
_CSafeLoader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_CSafeLoader):  # type: ignore[misc]
    """The safe loader with the floats of YAML 1.2."""

    def construct_yaml_float(self, node: Any) -> float:
        """A number with an exponent is whole where its value is: iterations may be written 1e4."""
        value: float = super().construct_yaml_float(node)
        return int(value) if "e" in node.value.lower() and value.is_integer() else value


class _Dumper(yaml.SafeDumper):
    """The safe dumper, which quotes the text `1e-3`: the loader would read it as a number."""


_Loader.add_implicit_resolver(_FLOAT_TAG, _FLOAT, list("-+.0123456789"))
_Loader.add_constructor(_FLOAT_TAG, _Loader.construct_yaml_float)
_Dumper.add_implicit_resolver(_FLOAT_TAG, _FLOAT, list("-+.0123456789"))


def dump_yaml(value: Any, width: float = 120, **options: Any) -> str:
    """YAML text of plain values, keys in the order given, that reads back as the same values."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width, **options)
    return text


@dataclass
class WrittenSettings:
    """Values by key path as one file or several give them, where each key stands ("mine.yaml:5"), and what is wrong."""

    name: str
    values: dict[KeyPath, Any] = field(default_factory=dict)
    places: dict[KeyPath, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def add(self, values: Mapping[KeyPath, Any], places: Mapping[KeyPath, str]) -> None:
        """Lays values over those that are there; a block and a value of the same key replace each other."""
        for path, value in values.items():
            self.values = {old: other for old, other in self.values.items() if not overlap(old, path)}
            self.values[path] = value
        self.places.update(places)

    def drop(self, block: str) -> None:
        """Removes everything below a key."""
        self.values = {path: value for path, value in self.values.items() if path[0] != block}
        self.places = {path: place for path, place in self.places.items() if path[0] != block}


def overlap(one: KeyPath, other: KeyPath) -> bool:
    """Whether one key path is the other or leads to it."""
    return all(a == b for a, b in zip(one, other, strict=False))


def _shown(path: Path) -> str:
    """A path as messages show it: relative to the current folder where it is below."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(path)


def parse_file(path: Path) -> WrittenSettings:
    """Reads a file; one that cannot be read gives no values and a fault."""
    try:
        return parse_text(path.read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        return WrittenSettings(_shown(path), faults=[Fault(f"cannot be read: {reason}", _shown(path))])


def parse_text(text: str, path: Path) -> WrittenSettings:
    """Parses one YAML document whose top level is a mapping; `path` is where it is, or will be, written."""
    name = _shown(path)
    parsed = WrittenSettings(name)
    try:
        if (alias := _alias(text)) is not None:
            hint = "write it out, or share settings with `extends`"
            parsed.faults.append(Fault(NO_ALIASES, f"{name}:{alias.line + 1}", hint))
            return parsed
        loader = _Loader(text)
        root = loader.get_single_node()
        if isinstance(root, yaml.MappingNode):
            _read_mapping(root, (), loader, parsed)
        else:
            content = "empty" if root is None else "a list" if isinstance(root, yaml.SequenceNode) else "one value"
            what = f"a mapping of keys is needed, the file is {content}"
            parsed.faults.append(Fault(what, name, "write `key: value`"))
    except yaml.MarkedYAMLError as error:
        parsed.faults.append(_syntax_fault(error, name))
    except yaml.YAMLError as error:
        parsed.faults.append(Fault(f"this is no YAML: {str(error).splitlines()[0]}", name))
    except RecursionError:
        parsed.faults.append(Fault(TOO_DEEP, name, NOTHING_SO_DEEP))
    return parsed


def parse_value(text: str) -> Any:
    """One value as typed on a command line; raises ValueError."""
    try:
        if _alias(text) is not None:
            raise ValueError(NO_ALIASES)
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, RecursionError) as error:
        too_deep = isinstance(error, RecursionError) or _LIMIT_OF_LIBYAML in str(error)
        raise ValueError(TOO_DEEP if too_deep else str(error).splitlines()[0]) from None
    except TAG_ERRORS:
        raise ValueError(NOT_OF_ITS_TAG) from None


def reads_as_number(text: str) -> bool:
    """Whether the text would be a number if it stood in YAML without quotes."""
    try:
        return type(parse_value(text)) in (int, float)
    except ValueError:
        return False


def _alias(text: str) -> Any:
    """Where the first alias stands, or None.

    Aliases are refused because a few that each repeat the one before expand to millions of values.
    """
    if "*" not in text:
        return None  # the usual case, in which the text is parsed only once
    return next((event.start_mark for event in yaml.parse(text, _Loader) if isinstance(event, yaml.AliasEvent)), None)


def _syntax_fault(error: yaml.MarkedYAMLError, name: str) -> Fault:
    mark = error.problem_mark or error.context_mark
    where = f"{name}:{mark.line + 1}" if mark else name
    if _LIMIT_OF_LIBYAML in str(error.problem):
        return Fault(TOO_DEEP, where, NOTHING_SO_DEEP)
    what = f"this is no YAML: {error.problem or error.context}"
    return Fault(what, where, "indent with spaces, and put a space after `:`")


def _read_mapping(node: yaml.MappingNode, above: KeyPath, loader: Any, parsed: WrittenSettings) -> None:
    """Adds the values of a mapping and of those below it to `parsed`."""
    for key_node, value_node in node.value:
        where = f"{parsed.name}:{key_node.start_mark.line + 1}"
        if not isinstance(key_node, yaml.ScalarNode):
            parsed.faults.append(Fault("a key must be a word", where))
            continue
        path = (*above, key_node.value)
        where_key = f"{where}: {'.'.join(path)}"
        if path in parsed.places:
            first = parsed.places[path].rpartition(":")[2]
            what = f"this key stands here a second time, first in line {first}"
            parsed.faults.append(Fault(what, where_key, "keep one of the two"))
            continue
        parsed.places[path] = where
        if isinstance(value_node, yaml.MappingNode) and len(path) < DEEPEST:
            _read_mapping(value_node, path, loader, parsed)
            continue
        try:
            parsed.values[path] = loader.construct_object(value_node, deep=True)
        except yaml.MarkedYAMLError as error:
            parsed.faults.append(_syntax_fault(error, parsed.name))
        except TAG_ERRORS:
            parsed.faults.append(Fault(NOT_OF_ITS_TAG, where_key, "leave the tag out"))
        except ValueError as error:
            parsed.faults.append(Fault(f"this is no value: {error}", where_key))
