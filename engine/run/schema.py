"""The settings as a flat table, one row each: error messages, docs/settings.md and the form are made from it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from engine.run.settings import RunSettings

KINDS = {"integer": "a whole number", "number": "a number", "string": "text", "boolean": "true or false"}
"""What a value is in words, by its type in a JSON schema."""
_BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


@dataclass(frozen=True)
class Leaf:
    """One setting: its dotted key, what kind of value it takes, and its documentation.

    kind: in words, without bounds ("a number or natural"). bounds: ">= 0 and < 1", or empty. choices: the words that
    it takes; where is_list, a list of some of them. optional: whether it may be empty (None).
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


@functools.cache
def leaves() -> dict[str, Leaf]:
    """Every setting by its dotted key, in the order of the blocks."""
    schema, rows = RunSettings.model_json_schema(), list[Leaf]()
    for name, field in RunSettings.model_fields.items():
        if block := blocks().get(name):
            properties = schema["$defs"][block.__name__]["properties"]
            rows += [_leaf(f"{name}.{key}", properties[key], own.default) for key, own in block.model_fields.items()]
        else:
            rows.append(_leaf(name, schema["properties"][name], field.default))
    return {leaf.key: leaf for leaf in rows}


@functools.cache
def blocks() -> dict[str, type[BaseModel]]:
    """The blocks by key, in order, also the one that may be left out."""
    return {
        name: candidate
        for name, field in RunSettings.model_fields.items()
        for candidate in (field.annotation, *get_args(field.annotation))
        if isinstance(candidate, type) and issubclass(candidate, BaseModel)
    }


def _leaf(key: str, schema: dict[str, Any], default: Any) -> Leaf:
    """The row of a setting from its JSON schema, as pydantic makes it from the annotation and the bounds."""
    is_list = schema.get("type") == "array"
    alternatives = [schema["items"]] if is_list else schema.get("anyOf", [schema])
    choices = [word for one in alternatives for word in one.get("enum", [one["const"]] if "const" in one else [])]
    kinds = [KINDS[one["type"]] for one in alternatives if one["type"] in KINDS and not {"enum", "const"} & one.keys()]
    kind = " or ".join([*kinds, *choices] if kinds else [f"one of {', '.join(choices)}"])
    return Leaf(
        key,
        f"a list, each {kind}" if is_list else kind,
        " and ".join(f"{sign} {one[name]:g}" for one in alternatives for name, sign in _BOUNDS.items() if name in one),
        tuple(choices),
        is_list,
        {"type": "null"} in alternatives,
        default,
        schema["unit"],
        schema["source"],
        schema["description"],
    )


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted keys."""
    flattened: dict[str, Any] = {}
    for key, value in values.items():
        flattened |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flattened
