"""A mapping that grows without being copied, so that a pure `apply` stays cheap however many keys there are."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")
FEWEST = 16


class Table(Mapping[Key, Value]):
    """An immutable view of a dict: `with_item` gives another one that shares the items of this one.

    Older views never see what newer ones were given. Keys stand in the order in which they first came.
    """

    __slots__ = ("_count", "_keys", "_length", "_places", "_values")

    def __init__(self, items: Mapping[Key, Value] | None = None) -> None:
        found = items or {}
        self._keys = list(found)
        # Every value that a key was ever given, and where those of each key are: a view looks at the first `_length`.
        self._values = [found[key] for key in self._keys]
        self._places = {key: [place] for place, key in enumerate(self._keys)}
        self._count = self._length = len(self._keys)

    def with_item(self, key: Key, value: Value) -> Table[Key, Value]:
        """This table with a key's value set; copies only where another one has grown from here, or most is outdated."""
        grown = len(self._values) != self._length
        larger: Table[Key, Value] = Table(self) if grown or self._length > 2 * self._count + FEWEST else self._shared()
        places = larger._places.setdefault(key, [])
        if not places:
            larger._keys.append(key)
            larger._count += 1
        places.append(larger._length)
        larger._values.append(value)
        larger._length += 1
        return larger

    def _shared(self) -> Table[Key, Value]:
        view: Table[Key, Value] = Table.__new__(Table)
        for name in Table.__slots__:
            setattr(view, name, getattr(self, name))
        return view

    def __getitem__(self, key: Key) -> Value:
        places = self._places[key]
        last = bisect.bisect_left(places, self._length) - 1
        if last < 0:
            raise KeyError(key)
        return self._values[places[last]]

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys[: self._count])

    def __repr__(self) -> str:
        return f"Table({dict(self)!r})"
