"""What JSON may hold for each field of an event, by its annotation: no reader meets a text where a number belongs."""

from __future__ import annotations

import sys
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

LARGEST = sys.float_info.max


class FieldTypes:
    """The types of one event class's fields; `names` are the fields."""

    def __init__(self, kind: type) -> None:
        hints = get_type_hints(kind)
        self.names = frozenset(hints)
        self._types = {name: _types(hint) for name, hint in hints.items()}
        # Of the lists and objects among the fields: what their items may be.
        self._items = {
            name: _types(get_args(hint)[-1]) for name, hint in hints.items() if get_origin(hint) in (list, dict)
        }

    def fit(self, fields: dict[str, Any]) -> bool:
        """Whether every value, and every item of a list or object, is of its type, and every number finite."""
        types = self._types
        # Written out, not called, since a long run has a hundred thousand events.
        for name, value in fields.items():
            if not isinstance(value, types[name]) or (type(value) is float and not -LARGEST <= value <= LARGEST):
                return False
        for name, items in self._items.items():
            values = fields.get(name, ())
            for item in values.values() if isinstance(values, dict) else values:
                if not isinstance(item, items) or (type(item) is float and not -LARGEST <= item <= LARGEST):
                    return False
        return True


def _types(annotation: Any) -> tuple[type, ...]:
    """For a number also null: so one that is not finite was written."""
    origin = get_origin(annotation)
    if origin in (UnionType, Union):
        return tuple(kind for part in get_args(annotation) for kind in _types(part))
    if origin is Literal:
        return (str,)
    return {float: (int, float, NoneType)}.get(annotation, (origin or annotation,))
