"""Settings as YAML 1.2 text: reading with the file and line of each key, and writing what reads back equal.

PyYAML follows YAML 1.1, in which `010` is 8, `1:30` is 90 and `off` is false. Here a number is decimal, and every other
text is text, which a setting then takes or refuses. A key that stands twice, which PyYAML lets pass, is a fault.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml

from engine.run.errors import Fault
from engine.run.regular_files import read_regular

KeyPath = tuple[str, ...]
"""The keys from the top level down to a value: ("matching", "image_lr")."""
# Deeper mappings are read as one value: no setting is nested as deep.
DEEPEST = 6
NO_ALIASES = "aliases (*name) are not taken"
NOT_OF_ITS_TAG = "this is no value of its tag"
# What PyYAML raises where a tag such as !!bool stands before something else.
TAG_ERRORS = (KeyError, IndexError, AttributeError, TypeError)
# Python converts no more than 4300, in a time that grows with their square.
MOST_DIGITS = 400
LARGEST_BYTES = 1_000_000
"""No preset and no sweep is as large, and PyYAML takes seconds for each megabyte."""
TOO_DEEP = "brackets or blocks are nested too deep"
NOTHING_SO_DEEP = "no setting needs that"
# libyaml has a limit of its own since 0.2.6 and words it so; older ones and Python's parser end in a RecursionError.
_LIMIT_OF_LIBYAML = "maximum nesting depth"

# The scalars of YAML 1.2 (core schema) that are no text, without its octal and hexadecimal numbers: `010` is ten, and
# 0o10, 0x10, 1_000, 1:30, yes, off, 2026-11-28, = and << are text. A float has a dot or an exponent, so that whole
# numbers stay whole.
NULLS = ("", "~", "null", "Null", "NULL")
_TAG = "tag:yaml.org,2002:"
_NOT_TEXT = {
    "null": re.compile(rf"(?:{'|'.join(NULLS)})$"),
    "bool": re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"),
    "int": re.compile(r"[-+]?[0-9]+$"),
    "float": re.compile(
        r"(?:[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
}
_CSafeLoader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_CSafeLoader):  # type: ignore[misc]
    """The safe loader with the scalars of YAML 1.2."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}
    # What PyYAML's own constructors take under an explicit tag: no yes, no octal.
    bool_values: ClassVar[dict[str, bool]] = {"true": True, "false": False}

    def construct_yaml_int(self, node: Any) -> int:
        """A decimal number; raises ValueError for one of YAML 1.1 behind a tag, as in `!!int 0x10`."""
        if not _NOT_TEXT["int"].match(node.value):
            raise ValueError(f"{node.value!r} is no decimal number")
        if len(node.value) > MOST_DIGITS:
            raise ValueError(f"a number of {len(node.value)} digits is too large")
        return int(node.value)

    def construct_yaml_float(self, node: Any) -> float:
        """A number with an exponent is whole where its value is: iterations may be written 1e4."""
        if not (_NOT_TEXT["float"].match(node.value) or _NOT_TEXT["int"].match(node.value)):
            raise ValueError(f"{node.value!r} is no decimal number")
        value: float = super().construct_yaml_float(node)
        return int(value) if "e" in node.value.lower() and value.is_integer() else value


class _Dumper(yaml.SafeDumper):
    """The safe dumper, which quotes text that YAML 1.1 or 1.2 would read as something else, such as `off` or `1e-3`."""


for _kind, _pattern in _NOT_TEXT.items():
    _Loader.add_implicit_resolver(_TAG + _kind, _pattern, None)
    _Dumper.add_implicit_resolver(_TAG + _kind, _pattern, None)
for _kind in ("int", "float"):
    _Loader.add_constructor(_TAG + _kind, getattr(_Loader, f"construct_yaml_{_kind}"))


def dump_yaml(value: Any, width: float = 120, **options: Any) -> str:
    """YAML text of plain values, keys in the order given, that reads back as the same values."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width, **options)
    return text


WIDTH = 120
"""Columns of a line of a file that is written for a person."""


def with_comments(text: str, comments: Mapping[str, str]) -> str:
    """YAML that `dump_yaml` wrote of blocks, with a comment at the line of each dotted key, or above it if it is long.

    A key may be that of a whole block.
    """
    lines, block = list[str](), ""
    for line in text.splitlines():
        indent, name = line[: len(line) - len(line.lstrip())], line.strip().partition(":")[0]
        block = block if indent else name
        comment = comments.get(f"{block}.{name}" if indent else name, "")
        if comment and len(line) + len(comment) + len("  # ") <= WIDTH and not line.endswith(":"):
            lines.append(f"{line}  # {comment}")
            continue
        lines += [f"{indent}# {part}" for part in textwrap.wrap(comment, WIDTH - len(indent) - len("# "))]
        lines.append(line)
    return "\n".join(lines) + "\n"


@dataclass
class WrittenSettings:
    """Values by key path as one file or several give them, where each key stands ("mine.yaml:5"), and what is wrong."""

    name: str
    values: dict[KeyPath, Any] = field(default_factory=dict)
    places: dict[KeyPath, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def add(self, values: Mapping[KeyPath, Any], places: dict[KeyPath, str]) -> None:
        """Lays values over those that are there; a block and a value of the same key replace each other."""
        # By sets, not by comparing each with each: a file of thousands of wrong keys is refused at once.
        blocks = {old[:length] for old in self.values for length in range(1, len(old))}
        for path, value in values.items():
            above = [path[:length] for length in range(1, len(path))]
            if value == {} and (path in blocks or any(block in self.values for block in above)):
                continue  # an empty block changes nothing of what is below it
            if path in blocks:
                self.values = {old: other for old, other in self.values.items() if not overlap(old, path)}
                blocks = {block for block in blocks if not overlap(block, path)}
            for old in (*above, path):
                self.values.pop(old, None)
            self.values[path] = value
            blocks.update(above)
        # In the order of the layers, the uppermost last: a fault is of the key that was written last.
        self.places = {old: place for old, place in self.places.items() if old not in places} | places

    def drop(self, block: str) -> None:
        """Removes everything below a key."""
        self.values = {path: value for path, value in self.values.items() if path[0] != block}
        self.places = {path: place for path, place in self.places.items() if path[0] != block}


def nested(values: Mapping[KeyPath, Any]) -> dict[str, Any]:
    """Values by key path as nested blocks."""
    root: dict[str, Any] = {}
    for path, value in values.items():
        block = root
        for key in path[:-1]:
            block = block.setdefault(key, {})
        block[path[-1]] = value
    return root


def overlap(one: KeyPath, other: KeyPath) -> bool:
    """Whether one key path is the other or leads to it."""
    return all(a == b for a, b in zip(one, other, strict=False))


def _shown(path: Path) -> str:
    """A path as messages show it: relative to the current folder where it is below."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(path)


IsText = Callable[[KeyPath], bool]
"""Whether a setting is text: its value is taken as written, also where it looks like a number."""


def parse_file(path: Path, is_text: IsText = lambda path: False, may_be_empty: bool = False) -> WrittenSettings:
    """Reads a file; one that cannot be read gives no values and a fault."""
    try:
        return parse_text(read_regular(path, LARGEST_BYTES).decode(), path, is_text, may_be_empty)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        return WrittenSettings(_shown(path), faults=[Fault(f"cannot be read: {reason}", _shown(path))])


def parse_text(
    text: str, path: Path, is_text: IsText = lambda path: False, may_be_empty: bool = False
) -> WrittenSettings:
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
            _read_mapping(root, (), loader, parsed, is_text)
        elif root is not None or not may_be_empty:
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


def _read_mapping(
    node: yaml.MappingNode, above: KeyPath, loader: Any, parsed: WrittenSettings, is_text: IsText
) -> None:
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
        # An empty one is a value, which a setting that is no block refuses.
        if isinstance(value_node, yaml.MappingNode) and value_node.value and len(path) < DEEPEST:
            _read_mapping(value_node, path, loader, parsed, is_text)
            continue
        if isinstance(value_node, yaml.ScalarNode) and value_node.tag != f"{_TAG}null" and is_text(path):
            parsed.values[path] = value_node.value
            continue
        try:
            parsed.values[path] = loader.construct_object(value_node, deep=True)
        except yaml.MarkedYAMLError as error:
            parsed.faults.append(_syntax_fault(error, parsed.name))
        except TAG_ERRORS:
            parsed.faults.append(Fault(NOT_OF_ITS_TAG, where_key, "leave the tag out"))
        except ValueError as error:
            parsed.faults.append(Fault(f"this is no value: {error}", where_key))
