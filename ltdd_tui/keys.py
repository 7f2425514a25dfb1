"""The keys of the screen: which are active now and by what id, and what is wrong with a person's own choice of keys."""

from __future__ import annotations

import asyncio
import difflib
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from textual import events
from textual.app import App
from textual.binding import ActiveBinding, Binding
from textual.dom import DOMNode
from textual.keys import Keys
from textual.message import Message
from textual.screen import Screen

from engine.run.errors import Fault

NAMED_KEYS = {key.value for key in Keys} | {"space", "slash", "question_mark", "full_stop", "comma", "plus", "minus"}
EVERYWHERE = "everywhere"


@dataclass(frozen=True)
class KeyRow:
    """What some keys do; `id` is what preferences.yaml calls it."""

    keys: str
    what: str
    id: str


@dataclass(frozen=True)
class KeyGroup:
    """The keys of one place: a panel, the screen, or the whole program."""

    title: str
    rows: tuple[KeyRow, ...]


def active_keys(screen: Screen[object]) -> list[KeyGroup]:
    """The keys that work on a screen as it is now, from the focused widget outwards."""
    places: dict[DOMNode, dict[tuple[str, str], list[ActiveBinding]]] = {}
    for active in screen.active_bindings.values():
        # Textual's own, such as those that edit a field, have no id and cannot be changed.
        if active.binding.id:
            of_place = places.setdefault(active.node, {})
            of_place.setdefault((active.binding.id, active.binding.action), []).append(active)
    found = [KeyGroup(_title(place), tuple(_rows(screen.app, deeds))) for place, deeds in places.items()]
    return sorted(found, key=lambda group: group.title == EVERYWHERE)


def _title(place: DOMNode) -> str:
    if isinstance(place, App):
        return EVERYWHERE
    if isinstance(place, Screen):
        return "on this screen"
    return f"in: {getattr(place, 'TITLE', type(place).__name__)}"


def _rows(app: App[object], deeds: Mapping[tuple[str, str], list[ActiveBinding]]) -> Iterator[KeyRow]:
    for (binding_id, _), active in deeds.items():
        shown = dict.fromkeys(app.get_key_display(one.binding) for one in active)
        yield KeyRow("  ".join(shown), active[0].binding.description, binding_id)


Places = list[dict[str, set[str]]]
"""For each class with keys: its ids, and the keys that each of them has."""


def key_places() -> Places:
    """The keys of this program as they are unless changed, wherever they work; needs all screens to be imported."""
    found: Places = []
    for kind in _kinds(DOMNode):
        keys: dict[str, set[str]] = {}
        for binding in Binding.make_bindings(vars(kind).get("BINDINGS", [])):
            if binding.id:
                keys.setdefault(binding.id, set()).add(binding.key)
        if keys:
            found.append(keys)
    return found


def _kinds(kind: type[DOMNode]) -> Iterator[type[DOMNode]]:
    for below in kind.__subclasses__():
        if below.__module__.startswith("ltdd_tui"):
            yield below
        yield from _kinds(below)


def checked(chosen: Mapping[str, str], places: Places, where: str) -> tuple[dict[str, str], list[Fault]]:
    """The keys chosen by id that can be used, and what is wrong: no such id, no such key, a key taken from another."""
    ids = {binding_id for place in places for binding_id in place}
    faults = {binding_id: list(_faults(binding_id, keys, ids, where)) for binding_id, keys in chosen.items()}
    sound = {binding_id: keys for binding_id, keys in chosen.items() if not faults[binding_id]}
    return sound, [*(fault for found in faults.values() for fault in found), *_clashes(sound, places, where)]


def _faults(binding_id: str, keys: str, ids: set[str], where: str) -> Iterator[Fault]:
    place = f"{where}: keys.{binding_id}"
    if binding_id not in ids:
        near = difflib.get_close_matches(binding_id, ids, 1)
        yield Fault("nothing has this id", place, f"did you mean {near[0]}?" if near else "F1 lists the ids")
        return
    for key in keys.split(","):
        name = key.strip().split("+")[-1]
        if len(name) != 1 and name not in NAMED_KEYS:
            near = difflib.get_close_matches(name, NAMED_KEYS, 1)
            yield Fault(f"there is no key {key.strip()!r}", place, f"did you mean {near[0]}?" if near else "")


def _clashes(chosen: Mapping[str, str], places: Places, where: str) -> Iterator[Fault]:
    """Keys that two ids of one place would have: the last one gets it, so a person should know."""
    for place in places:
        now = {
            binding_id: _split(chosen[binding_id]) if binding_id in chosen else keys
            for binding_id, keys in place.items()
        }
        for binding_id in chosen.keys() & now.keys():
            for other, keys in now.items():
                if other != binding_id and (taken := now[binding_id] & keys):
                    yield Fault(
                        f"{min(taken)} is the key of {other} too", f"{where}: keys.{binding_id}", "choose another"
                    )


def _split(keys: str) -> set[str]:
    return {binding.key for binding in Binding.make_bindings([Binding(keys, "")])}


# What a terminal sends by itself, torn apart on its way: the rest comes in as keys that nobody pressed. Pure.


TOGETHER_SECONDS = 0.15
"""No person presses escape and a question mark, or a bracket and a sign, as fast as this."""
BEGINNINGS = {"escape", "circumflex_accent", "left_square_bracket"}
SIGNS = {"question_mark", "less_than_sign", "greater_than_sign"}
WITHIN = SIGNS | set("0123456789") | {"semicolon", "colon", "dollar_sign", "equals_sign", "minus"}


class StrayReplies:
    """Tells the keys that are such a rest: `ESC [ ?` and `ESC [ <` begin replies and reports of the mouse."""

    def __init__(self) -> None:
        self._before, self._at = "", float("-inf")
        self._inside = False

    def takes(self, key: str, seconds: float) -> bool:
        """Whether a key, seen at `seconds`, belongs to one: it is then no key at all."""
        together = seconds - self._at <= TOGETHER_SECONDS
        before, self._before, self._at = self._before, key, seconds
        if not together:
            self._inside = False
        elif self._inside:
            self._inside = key in WITHIN
            # A letter is the end of it, and belongs to it too.
            return self._inside or len(key) == 1
        else:
            self._inside = key in SIGNS and before in BEGINNINGS
        return self._inside


# Keys one after another: each has had all of its effect before the next one is handed on.
#
# Textual hands a key at once to what has the focus, and does what it is bound to when it has come back up to the app.
# Of two keys in quick succession, or on a slow machine, the second is then on its way to where the focus was before.


# What a key sets off is told to a widget as a message, which goes up behind the key; the second lap is behind that.
LAPS = 2
LOST_SECONDS, TIMES_ASKED = 0.5, 6


@dataclass(eq=False)
class _Turn:
    """A key on its way up from `target`; `asked` is how often it was waited for in vain."""

    event: events.Event
    target: DOMNode
    lap: int = 1
    asked: int = 0


class Passed(Message):
    """Goes the way of a key, behind it."""

    def __init__(self, turn: _Turn, lap: int) -> None:
        super().__init__()
        self.turn, self.lap = turn, lap


class KeysInOrder(App[None]):
    """An app in which what is typed ahead reaches what the keys before it have led to.

    somebody_since: when somebody first pressed a key or moved the mouse, on the monotonic clock.
    """

    def __init__(self) -> None:
        super().__init__()
        self._typed_ahead: deque[events.Event] = deque()
        self._turn: _Turn | None = None
        self._replies = StrayReplies()
        self.somebody_since: float | None = None

    async def on_event(self, event: events.Event) -> None:
        """Takes input in its order; all else is handled as ever."""
        if isinstance(event, events.InputEvent | events.Paste) and not event.is_forwarded:
            self._typed_ahead.append(event)
            if self._turn is not None and self._is_lost(self._turn):
                self._end_soon(self._turn)
            await self._go_on()
            return
        await super().on_event(event)
        turn = self._turn
        # It may have closed what it came from, so that nothing comes that way any more.
        if turn is not None and event is turn.event and turn.lap == 1:
            self._next_lap(turn)

    async def _go_on(self) -> None:
        """Hands on what waits, up to a key that has a way to go."""
        while self._typed_ahead and self._turn is None:
            event = self._typed_ahead.popleft()
            if isinstance(event, events.Key) and self._replies.takes(event.key, event.time):
                continue
            self.somebody_since = self.somebody_since or time.monotonic()
            target = self.focused or self.screen
            await super().on_event(event)
            if isinstance(event, events.Key | events.Paste) and event.is_forwarded:
                self._turn = _Turn(event, target)
                self._follow(self._turn)
                self._ask_later(self._turn)

    def _follow(self, turn: _Turn) -> None:
        if self._is_lost(turn) or not turn.target.post_message(Passed(turn, turn.lap)):
            self._end_soon(turn)

    def on_passed(self, passed: Passed) -> None:
        """The key has come by, or was kept on its way."""
        if passed.turn is self._turn and passed.lap == passed.turn.lap:
            self._next_lap(passed.turn)

    def _next_lap(self, turn: _Turn) -> None:
        turn.lap += 1
        if turn.lap <= LAPS:
            self._follow(turn)
        else:
            self._end_soon(turn)

    def _end_soon(self, turn: _Turn) -> None:
        # Behind what waits for the app itself, such as moving the focus.
        self.call_later(self._end, turn)

    async def _end(self, turn: _Turn) -> None:
        if turn is self._turn:
            self._turn = None
            await self._go_on()

    def _ask_later(self, turn: _Turn) -> None:
        asyncio.get_running_loop().call_later(LOST_SECONDS, self._ask, turn)

    def _ask(self, turn: _Turn) -> None:
        """Nothing that was lost on its way, with what it was on, may keep the keys for ever."""
        if turn is not self._turn:
            return
        turn.asked += 1
        if self._is_lost(turn) or turn.asked == TIMES_ASKED:
            self._end_soon(turn)
        else:
            self._ask_later(turn)

    def _is_lost(self, turn: _Turn) -> bool:
        """Whether what the key was on is closed, so that nothing comes up from there."""
        return not turn.target.is_attached or turn.target.screen not in self.screen_stack
