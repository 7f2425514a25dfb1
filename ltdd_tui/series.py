"""A sequence that grows without being copied, so that a pure `apply` stays cheap over a hundred thousand events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar, overload

Item = TypeVar("Item")


class Store(Protocol[Item]):
    """What a series keeps its items in: a list, or what saves room and does as a list does."""

    def append(self, item: Item, /) -> None:
        """Takes one more."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Item]: ...
    @overload
    def __getitem__(self, index: int, /) -> Item: ...
    @overload
    def __getitem__(self, index: slice, /) -> Store[Item]: ...


class Series(Sequence[Item], Generic[Item]):
    """An immutable view of a list: `appended` gives a longer one that shares the items of this one.

    Older views never see the items of newer ones, since each knows its own length.
    """

    __slots__ = ("_items", "_length")

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self._items: Store[Item] = list(items)
        self._length = len(self._items)

    @classmethod
    def over(cls, store: Store[Item], items: Iterable[Item] = ()) -> Series[Item]:
        """A series of what `store`, which is nobody else's, holds, and of `items`, which it is given."""
        series: Series[Item] = cls()
        series._items = store
        for item in items:
            store.append(item)
        series._length = len(store)
        return series

    def appended(self, item: Item) -> Series[Item]:
        """This series with `item` at its end; copies only where another one has already grown from here."""
        longer: Series[Item] = Series.__new__(Series)
        longer._items = self._items if len(self._items) == self._length else self._items[: self._length]
        longer._items.append(item)
        longer._length = self._length + 1
        return longer

    def first(self, length: int) -> Series[Item]:
        """The first `length` items, without copying them."""
        shorter: Series[Item] = Series.__new__(Series)
        shorter._items, shorter._length = self._items, min(length, self._length)
        return shorter

    def stored(self, since: int = 0) -> Store[Item]:
        """A copy of the store from place `since` to the end of this series."""
        return self._items[since : self._length]

    def shares_items(self, other: Series[Item]) -> bool:
        """Whether the shorter of both is known to be the beginning of the longer, without comparing them."""
        return self._items is other._items

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Item]:
        return iter(self.stored())

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self._items[place] for place in range(*index.indices(self._length))]
        place = index + self._length if index < 0 else index
        if not 0 <= place < self._length:
            raise IndexError(index)
        return self._items[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Series) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Series({list(self)!r})"
