"""`python -m engine.run.events_docs` prints docs/events.md from the events themselves."""

from __future__ import annotations

import dataclasses
import inspect
import json
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from engine.run.events import EVENT_TYPES, VERSION

INTRODUCTION = f"""\
# Events

Made by `python -m engine.run.events_docs > docs/events.md`; change engine/run/events.py instead.

A run tells what happens in `events.jsonl`, one JSON object a line, appended and never changed: \
`{{"v": {VERSION}, "seq": n, "t": seconds since 1970, "type": ..., ...fields}}`. `seq` counts lines from 0. A crash \
may leave a torn line; a resumed run tells once more what lies past its last checkpoint. A number that is not finite \
is null. Accuracies are percent. A field with a default may be absent in an older run's file.
"""
HEAD = "| type | fields | what it says |\n| --- | --- | --- |"
WORDS = {str: "text", int: "integer", float: "number", bool: "true or false", NoneType: "null"}


def document() -> str:
    """docs/events.md as it has to be."""
    rows = [_row(name, kind) for name, kind in EVENT_TYPES.items()]
    return "\n".join([INTRODUCTION, HEAD, *rows, ""])


def _row(name: str, kind: type[Any]) -> str:
    hints = get_type_hints(kind)
    fields = "<br>".join(f"`{field.name}` {_field(field, hints[field.name])}" for field in dataclasses.fields(kind))
    says = " ".join((inspect.getdoc(kind) or "").split())
    return f"| `{name}` | {fields} | {says} |"


def _field(field: dataclasses.Field[Any], hint: Any) -> str:
    if field.default is dataclasses.MISSING:
        return in_words(hint)
    return f"{in_words(hint)}, default `{json.dumps(field.default)}`"


def in_words(hint: Any) -> str:
    """A field's type as JSON has it; raises KeyError for one that no event had before."""
    inner = get_args(hint)
    match get_origin(hint):
        case origin if origin is UnionType:
            return " or ".join(in_words(choice) for choice in inner)
        case origin if origin is Literal:
            return " or ".join(inner)
        case origin if origin is list:
            return f"list of {in_words(inner[0])}"
        case origin if origin is dict:
            return f"object of {in_words(inner[1])}"
        case _:
            return WORDS[hint]


if __name__ == "__main__":
    print(document(), end="")
