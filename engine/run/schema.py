"""The settings as a flat table, one row each: error messages, docs/settings.md and the form are made from it.

And how values of settings make the name of a run folder, which a sweep's cells have.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from engine.run.errors import SettingsError, shortened
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


# ---- Names of a sweep's cells ----

LABELS = {
    "dataset.imbalance_factor": "if",
    "dataset.name": "",
    "method": "",
    "experts.network": "",
    "evaluate.arch": "",
}
"""What stands before a value in a cell's name, where it is not the last part of the key."""
LONGEST_NAME = 120


def cell_names(grid: Mapping[str, Sequence[Any]]) -> list[str]:
    """A name for each cell, in the grid's order, all different: its values joined by `-`, as in ltdd-if100-ipc10-seed0.

    A method and a network are their own name; another value stands behind the last part of its key (`lambda_cls0.5`),
    or `if`. A key or value with one choice alone is named too. Raises SettingsError for a name that is too long.
    """
    labels = [LABELS.get(key, key.rpartition(".")[2]) for key in grid]
    parts = [[label + name for name in value_names(own)] for label, own in zip(labels, grid.values(), strict=True)]
    names = _numbered(list(map("-".join, itertools.product(*parts))))
    if longest := [name for name in names if len(name) > LONGEST_NAME]:
        raise SettingsError(f"a cell's name would have {len(longest[0])} letters: {shortened(longest[0])}", "grid")
    return names


def value_names(values: Sequence[Any]) -> list[str]:
    """Each of a key's values as a part of a name, all different.

    Of a fraction six digits, and all where six do not tell it from another value; what is still alike gets a number.
    """
    names = [in_a_name(value) for value in values]
    if len(set(names)) < len(names):
        names = [in_a_name(value, repr) for value in values]
    return _numbered(names)


def in_a_name(value: Any, of_fraction: Callable[[float], str] = "{:g}".format) -> str:
    """A grid value as a part of a folder's name."""
    if isinstance(value, list):
        return "-".join(in_a_name(own, of_fraction) for own in value) or "none"
    is_huge = isinstance(value, int) and 10**15 <= abs(value) < 10**300
    if isinstance(value, float) or is_huge:
        # 1e30 and 1e-30 are two values.
        text = of_fraction(float(value)).replace("e+", "e")
    else:
        text = "none" if value is None else str(value).rstrip("/").rpartition("/")[2]
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip(".")


def _numbered(names: Sequence[str]) -> list[str]:
    """The names; one that stands in the list before gets -2, -3 ... behind it."""
    used, told = set(names), dict[str, None]()
    numbers = defaultdict[str, Iterator[int]](lambda: itertools.count(2))
    for name in names:
        numbered = (f"{name}-{number}" for number in numbers[name])
        own = name if name not in told else next(other for other in numbered if other not in used)
        used.add(own)
        told[own] = None
    return list(told)
