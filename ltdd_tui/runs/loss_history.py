"""The outer iterations of a run, in whatever order a file tells of them: put in order only when they are looked at.

Of very many not all are kept, so that memory does not grow with a run without end.
"""

from __future__ import annotations

import bisect
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, overload

import numpy as np

from engine.run.events import MatchingStep
from ltdd_tui.widgets.axis import Floats

# A sequence that grows without being copied, so that a pure `apply` stays cheap over a hundred thousand events.


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


# Outer iterations in columns: 40 bytes each, where objects take seven times that and the garbage collector's time.
#
# A screen holds the losses of a run of many hours, and hardly grows with it.


class StepColumns:
    """What Series asks of a list, for MatchingStep; a loss that is not known is NaN in its column, None in its step."""

    __slots__ = ("beta", "iteration", "loss_cls", "loss_rep", "seconds")

    def __init__(self) -> None:
        self.iteration = array("q")
        self.loss_rep, self.loss_cls, self.beta, self.seconds = (array("d") for _ in range(4))

    def append(self, step: MatchingStep) -> None:
        """Takes one more; where a value is no number it raises TypeError or OverflowError, and nothing is taken."""
        iteration = array("q", (step.iteration,))
        losses = [math.nan if value is None else value for value in (step.loss_rep, step.loss_cls)]
        loss_rep, loss_cls, beta, seconds = array("d", (*losses, step.beta, step.seconds))
        self.loss_rep.append(loss_rep)
        self.loss_cls.append(loss_cls)
        self.beta.append(beta)
        self.seconds.append(seconds)
        # Last, since it tells the length: who reads in another thread finds the other columns filled.
        self.iteration.extend(iteration)

    def picked(self, places: Sequence[int]) -> StepColumns:
        """The steps at these places, in their order."""
        part = StepColumns()
        for name in self.__slots__:
            column = getattr(self, name)
            setattr(part, name, array(column.typecode, map(column.__getitem__, places)))
        return part

    def __len__(self) -> int:
        return len(self.iteration)

    @overload
    def __getitem__(self, index: int) -> MatchingStep: ...
    @overload
    def __getitem__(self, index: slice) -> StepColumns: ...
    def __getitem__(self, index: int | slice) -> MatchingStep | StepColumns:
        if isinstance(index, slice):
            part = StepColumns()
            for name in self.__slots__:
                setattr(part, name, getattr(self, name)[index])
            return part
        return MatchingStep(
            self.iteration[index],
            _known(self.loss_rep[index]),
            _known(self.loss_cls[index]),
            self.beta[index],
            self.seconds[index],
        )

    def __iter__(self) -> Iterator[MatchingStep]:
        return (self[place] for place in range(len(self)))


def columns_of(points: Series[MatchingStep], since: int = 0) -> StepColumns:
    """The columns of the points from place `since` on, copied: they stay as they are while the run goes on."""
    stored = points.stored(since)
    if isinstance(stored, StepColumns):
        return stored
    columns = StepColumns()
    for step in stored:
        columns.append(step)
    return columns


def _known(loss: float) -> float | None:
    return loss if loss == loss else None


# More than any published run has (10,000), and than a chart has columns (some hundred).
MOST = 2**14


class Held(NamedTuple):
    """The steps of those iterations that are multiples of `stride`, by ascending iteration or as they came."""

    steps: Series[MatchingStep]
    ascending: bool = True
    stride: int = 1


class Steps:
    """Immutable: `with_step` gives longer ones that share the steps of these. `last` is the highest iteration.

    Of two steps of one iteration the later one counts. Of more than MOST every second iteration is kept, or every
    fourth, and so on: which ones does not depend on the order in which they came.
    """

    __slots__ = ("_held", "last")

    def __init__(self, held: Held | None = None) -> None:
        # In one, since one thread may put in order what another one goes on from.
        self._held = held or Held(Series.over(StepColumns()))
        steps = self._held.steps
        self.last = steps[-1].iteration if steps else None

    def with_step(self, step: MatchingStep) -> Steps:
        """These and one more; raises TypeError or OverflowError where a value of it is no number."""
        longer = Steps.__new__(Steps)
        held = self._held
        ahead = self.last is None or step.iteration > self.last
        longer.last = step.iteration if ahead else self.last
        if step.iteration % held.stride == 0:
            held = Held(held.steps.appended(step), held.ascending and ahead, held.stride)
            if len(held.steps) > (MOST if held.ascending else 2 * MOST):
                held = _in_order(held)
        longer._held = held
        return longer

    def until(self, iteration: int) -> Steps:
        """Those up to an iteration."""
        steps = self.in_order()
        kept = steps.first(bisect.bisect_right(steps, iteration, key=attrgetter("iteration")))
        return Steps(self._held._replace(steps=kept))

    @property
    def seconds(self) -> float:
        """How long they took together; where not all are kept, as those tell that are."""
        return self._held.stride * sum(columns_of(self.in_order()).seconds)

    def in_order(self) -> Series[MatchingStep]:
        """The steps by ascending iteration; sorted at the first call, and what is appended later goes on from there."""
        if not self._held.ascending:
            self._held = _in_order(self._held)
        return self._held.steps

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Steps) and self.last == other.last and self.in_order() == other.in_order()

    __hash__ = None  # type: ignore[assignment]


def _in_order(held: Held) -> Held:
    """By ascending iteration, the last one to come of each, and no more of them than MOST."""
    columns, stride = columns_of(held.steps), held.stride
    iteration = columns.iteration
    places: Sequence[int] = range(len(iteration))
    if not held.ascending:
        latest = dict(zip(iteration, places, strict=True))
        places = [latest[at] for at in sorted(latest)]
    while len(places) > MOST:
        stride *= 2
        places = [place for place in places if iteration[place] % stride == 0]
    return Held(Series.over(columns.picked(places)), True, stride)


LARGEST = 1e300


class LossTrack:
    """The matching losses of a run as arrays: `iterations`, and `rep` and `cls`, NaN where there is no finite loss.

    As long as a run only goes on, only what is new is copied; arrays that were handed out never change.
    """

    def __init__(self) -> None:
        self._points: Series[MatchingStep] = Series()
        self._rows: Floats = np.empty((3, 0))
        self._filled = 0
        self.iterations, self.rep, self.cls = self._rows

    def take(self, points: Series[MatchingStep]) -> bool:
        """Takes over the points; returns whether anything differs from the last time.

        After a resume the points may be others than before, and in a replay fewer.
        """
        known = points.shares_items(self._points)
        if known and len(points) == len(self._points):
            return False
        if not known:
            self._rows, self._filled = np.empty((3, len(points))), 0
        self._points = points
        self._fill(len(points))
        self.iterations, self.rep, self.cls = self._rows[:, : len(points)]
        return True

    def _fill(self, count: int) -> None:
        """Copies what of the first `count` points is not here yet."""
        if count > self._rows.shape[1]:
            roomier: Floats = np.empty((3, count + count // 2))
            roomier[:, : self._filled] = self._rows[:, : self._filled]
            self._rows = roomier
        if count > self._filled:
            new = columns_of(self._points, self._filled)
            for row, column in zip(self._rows, (new.iteration, new.loss_rep, new.loss_cls), strict=True):
                row[self._filled : count] = column
            self._filled = count


# dataclasses.replace for what is replaced a hundred thousand times in a replay.


Instance = TypeVar("Instance")


def replaced(instance: Instance, changes: Mapping[str, Any]) -> Instance:
    """A copy of a frozen dataclass with some fields changed, at a third of the price: nothing is checked."""
    copy: Instance = object.__new__(type(instance))
    copy.__dict__.update(instance.__dict__, **changes)
    return copy


# A mapping that grows without being copied, so that a pure `apply` stays cheap however many keys there are.


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
