"""The settings as a flat table, a leaf a row: what error messages, docs/settings.md and forms are made from."""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from engine.run.settings import RunSettings

KINDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
BOUNDS = {"ge": ">= {}", "gt": "> {}", "le": "<= {}", "lt": "< {}"}


@dataclass(frozen=True)
class Leaf:
    """One setting: its dotted key, what kind of value it takes, and what is told about it.

    kind: in words, without bounds ("a number or natural"). bounds: ">= 0 and < 1", or empty. choices: the words that
    it takes, of which some stand in a list where is_list.
    """

    key: str
    kind: str
    bounds: str
    choices: tuple[str, ...]
    is_list: bool
    optional: bool
    default: Any
    unit: str
    source: str
    help: str

    @property
    def required(self) -> bool:
        """Whether its block cannot do without it."""
        return self.default is PydanticUndefined

    @property
    def takes_text(self) -> bool:
        """Whether any text is a value of it."""
        return self.kind == KINDS[str]


@functools.cache
def leaves() -> dict[str, Leaf]:
    """Every setting by its dotted key, in the order of the blocks."""
    return {leaf.key: leaf for leaf in _leaves(RunSettings, "")}


@functools.cache
def blocks() -> dict[str, type[BaseModel]]:
    """The blocks by key, in order."""
    found = {name: _block(field) for name, field in RunSettings.model_fields.items()}
    return {name: block for name, block in found.items() if block is not None}


def _leaves(model: type[BaseModel], prefix: str) -> list[Leaf]:
    found: list[Leaf] = []
    for name, field in model.model_fields.items():
        block = _block(field)
        found += _leaves(block, f"{prefix}{name}.") if block else [_leaf(prefix + name, field)]
    return found


def _block(field: FieldInfo) -> type[BaseModel] | None:
    """The block that a field is, also where it may be left out."""
    for candidate in (field.annotation, *get_args(field.annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _leaf(key: str, field: FieldInfo) -> Leaf:
    shape = _Shape.of(field.annotation, field.metadata)
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    words = [*shape.kinds, *shape.choices] if shape.kinds else [f"one of {', '.join(shape.choices)}"]
    kind = " or ".join(words)
    return Leaf(
        key,
        f"a list, each {kind}" if shape.is_list else kind,
        " and ".join(shape.bounds),
        shape.choices,
        shape.is_list,
        shape.optional,
        field.default,
        str(extra.get("unit", "")),
        str(extra.get("source", "")),
        field.description or "",
    )


@dataclass(frozen=True)
class _Shape:
    kinds: tuple[str, ...] = ()
    bounds: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    is_list: bool = False
    optional: bool = False

    @staticmethod
    def of(annotation: Any, metadata: list[Any]) -> _Shape:
        """What an annotation takes, whatever it is nested in."""
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin in (Union, types.UnionType):
            return functools.reduce(_Shape.__or__, (_Shape.of(part, metadata) for part in arguments))
        if origin is Annotated:
            return _Shape.of(arguments[0], [*metadata, *arguments[1:]])
        if origin is tuple:
            inner = _Shape.of(arguments[0], [])
            return _Shape(inner.kinds, inner.bounds, inner.choices, is_list=True)
        if origin is Literal:
            return _Shape(choices=arguments)
        if annotation is type(None):
            return _Shape(optional=True)
        return _Shape((KINDS[annotation],), tuple(_bounds(metadata)))

    def __or__(self, other: _Shape) -> _Shape:
        return _Shape(
            self.kinds + other.kinds,
            self.bounds + other.bounds,
            self.choices + other.choices,
            self.is_list or other.is_list,
            self.optional or other.optional,
        )


def _bounds(metadata: list[Any]) -> list[str]:
    found: list[str] = []
    for item in metadata:
        found += (
            _bounds(item.metadata)
            if isinstance(item, FieldInfo)
            else [
                text.format(f"{getattr(item, name):g}")
                for name, text in BOUNDS.items()
                if getattr(item, name, None) is not None
            ]
        )
    return found


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A tree of settings as dotted keys."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return found
