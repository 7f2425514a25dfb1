"""What JSON may hold for each field of an event, by its annotation: no reader meets a text where a number belongs."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

LARGEST = 2**53
# A day three thousand years from now: what lies past it is no time that a calendar knows.
LATEST_SECONDS = 1e11


def as_seconds(value: Any) -> float:
    """A time in seconds since 1970; raises ValueError or TypeError where it can be none."""
    seconds = float(value)
    if not 0 <= seconds < LATEST_SECONDS:
        raise ValueError(seconds)
    return seconds


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
        """Whether every value, and every item of a list or object, is of its type."""
        types = self._types
        for name, value in fields.items():
            if not _fits(value, types[name]):
                return False
        for name, items in self._items.items():
            values = fields.get(name, ())
            if not all(_fits(item, items) for item in (values.values() if isinstance(values, dict) else values)):
                return False
        return True


def _fits(value: Any, types: tuple[type, ...]) -> bool:
    """JSON gives exact types: true is no number. One that is not finite, or fits no 64 bits, is not of this program."""
    kind = value.__class__
    if kind is float:
        return float in types and value - value == 0
    return kind in types and (kind is not int or -LARGEST <= value <= LARGEST)


def _types(annotation: Any) -> tuple[type, ...]:
    """For a number also null: so one that is not finite was written."""
    origin = get_origin(annotation)
    if origin in (UnionType, Union):
        return tuple(kind for part in get_args(annotation) for kind in _types(part))
    if origin is Literal:
        return (str,)
    return {float: (int, float, NoneType)}.get(annotation, (origin or annotation,))
