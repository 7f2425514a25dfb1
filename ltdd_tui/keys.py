"""Keys: which are active now, what is wrong with a person's own choice of them, and in what order they are handled.

Two parts answer faults of the terminal and of Textual (8.2.8): `StrayReplies` and `KeyQueue` say which.
"""

from __future__ import annotations

import asyncio
import difflib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
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
RENAMED_IDS = {
    "launch.next_pane": "panes.next",
    "launch.previous_pane": "panes.previous",
    "run.back": "app.step_back",
    "runs.back": "app.step_back",
    "compare.back": "app.step_back",
    "run.leave": "app.back",
    "compare.smooth": "curve.smoother",
    **{
        f"runs.{action}": f"run.{action}"
        for action in ("resume", "stop", "evaluate", "export", "rename", "delete", "open_folder")
    },
}
"""Ids of earlier versions, which a preferences.yaml may still hold, and what each is called now."""


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
    groups = []
    for place, of_place in places.items():
        rows = []
        for (binding_id, _), bindings in of_place.items():
            shown = dict.fromkeys(screen.app.get_key_display(one.binding) for one in bindings)
            rows.append(KeyRow("  ".join(shown), bindings[0].binding.description, binding_id))
        groups.append(KeyGroup(_place_name(place), tuple(rows)))
    return sorted(groups, key=lambda group: group.title == EVERYWHERE)


def _place_name(place: DOMNode) -> str:
    if isinstance(place, App):
        return EVERYWHERE
    if isinstance(place, Screen):
        return "on this screen"
    return f"in: {getattr(place, 'TITLE', type(place).__name__)}"


# ---- A person's own keys, by the ids of bindings. ----

Places = list[dict[str, set[str]]]
"""For each class with keys: its ids, and the keys that each of them has."""


def key_places() -> Places:
    """The keys of this program as they are unless changed, wherever they work; needs all screens to be imported."""
    places: Places = []
    for node_class in _own_classes(DOMNode):
        keys: dict[str, set[str]] = {}
        for binding in Binding.make_bindings(vars(node_class).get("BINDINGS", [])):
            if binding.id:
                keys.setdefault(binding.id, set()).add(binding.key)
        if keys:
            places.append(keys)
    return places


def _own_classes(node_class: type[DOMNode]) -> Iterator[type[DOMNode]]:
    for subclass in node_class.__subclasses__():
        if subclass.__module__.startswith("ltdd_tui"):
            yield subclass
        yield from _own_classes(subclass)


def checked(chosen: Mapping[str, str], places: Places, where: str) -> tuple[dict[str, str], list[Fault]]:
    """The keys chosen by id that can be used, and what is wrong: no such id, no such key, a key taken from another.

    Textual's `App.handle_bindings_clash` is no substitute: it is called at each key press, only for what has the focus,
    and does not see two ids that are both given the same new key.
    """
    ids = {binding_id for place in places for binding_id in place}
    faults = {binding_id: list(_faults(binding_id, keys, ids, where)) for binding_id, keys in chosen.items()}
    sound = {binding_id: keys for binding_id, keys in chosen.items() if not faults[binding_id]}
    return sound, [*(fault for of_id in faults.values() for fault in of_id), *_clashes(sound, places, where)]


def _faults(binding_id: str, keys: str, ids: set[str], where: str) -> Iterator[Fault]:
    place = f"{where}: keys.{binding_id}"
    if binding_id not in ids:
        if binding_id in RENAMED_IDS:
            yield Fault("this id has another name now", place, f"write {RENAMED_IDS[binding_id]}")
            return
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
            binding_id: {binding.key for binding in Binding.make_bindings([Binding(chosen[binding_id], "")])}
            if binding_id in chosen
            else keys
            for binding_id, keys in place.items()
        }
        for binding_id in chosen.keys() & now.keys():
            for other, keys in now.items():
                if other != binding_id and (taken := now[binding_id] & keys):
                    yield Fault(
                        f"{min(taken)} is the key of {other} too", f"{where}: keys.{binding_id}", "choose another"
                    )


# ---- Stray replies: what a terminal sends by itself, torn apart on its way, comes in as keys nobody pressed. ----

TOGETHER_SECONDS = 0.15
"""No person presses escape and a question mark, or a bracket and a sign, as fast as this."""
BEGINNINGS = {"escape", "circumflex_accent", "left_square_bracket"}
SIGNS = {"question_mark", "less_than_sign", "greater_than_sign"}
WITHIN = SIGNS | set("0123456789") | {"semicolon", "colon", "dollar_sign", "equals_sign", "minus"}


class StrayReplies:
    """Recognizes the keys of a torn reply: `ESC [ ?` and `ESC [ <` begin replies and reports of the mouse.

    Textual 8.2.8 takes an escape for a key when nothing follows for a tenth of a second, and the rest of the reply for
    typed letters: over a slow connection, the reply `ESC [ ? 2026 ; 2 $ y` opened the help and pressed `y`. Without
    this class `test_a_reply_of_the_terminal_that_was_torn_apart_opens_no_help` fails.
    """

    def __init__(self) -> None:
        self._key_before, self._seconds_before = "", float("-inf")
        self._inside = False

    def takes(self, key: str, seconds: float) -> bool:
        """Whether a key, seen at `seconds`, belongs to a reply: it is then no key at all."""
        together = seconds - self._seconds_before <= TOGETHER_SECONDS
        before, self._key_before, self._seconds_before = self._key_before, key, seconds
        if not together:
            self._inside = False
        elif self._inside:
            self._inside = key in WITHIN
            # A letter is the end of it, and belongs to it too.
            return self._inside or len(key) == 1
        else:
            self._inside = key in SIGNS and before in BEGINNINGS
        return self._inside


# ---- Keys one after another: each has had all of its effect before the next one is handed on. ----

# A key may make a widget post a message, which goes up behind the key; the second lap is behind that message too.
LAPS = 2
LOST_SECONDS, TIMES_ASKED = 0.5, 6


@dataclass(eq=False)
class _KeyOnItsWay:
    """A key going up from `target`."""

    event: events.Event
    target: DOMNode
    lap: int = 1


class KeyQueue:
    """Holds back what is typed ahead until the key before it has been handled everywhere.

    Textual 8.2.8 forwards a key at once to what has the focus, and runs its binding only when the key has come back up
    to the app. Of two keys in quick succession, or on a slow machine, the second is then on its way to where the focus
    was before: "2", ctrl+g, "image_lr", enter, "7" all went into the first field, and a second `v` reached a dialog
    that had no widgets yet. Without this class these tests fail:
    `test_what_is_typed_ahead_reaches_the_field_that_was_asked_for_and_no_other`, `test_a_key_that_repeats_asks_once`.

    handle_event: the app's own `on_event`. first_input_seconds: when somebody first pressed a key or moved the mouse,
    on the monotonic clock.
    """

    class Passed(Message):
        """Follows a key up through the same widgets: when it arrives at the app, the key has been handled by all."""

        def __init__(self, key: _KeyOnItsWay, lap: int) -> None:
            super().__init__()
            self.key, self.lap = key, lap

    def __init__(self, app: App[None], handle_event: Callable[[events.Event], Awaitable[None]]) -> None:
        self._app, self._handle_event = app, handle_event
        self.waiting: deque[events.Event] = deque()
        self._current: _KeyOnItsWay | None = None
        self._replies = StrayReplies()
        self.first_input_seconds: float | None = None

    async def handle(self, event: events.Event) -> None:
        """Queues input; everything else is handled as ever."""
        if isinstance(event, events.InputEvent | events.Paste) and not event.is_forwarded:
            self.waiting.append(event)
            if self._current is not None and self._is_lost(self._current):
                self._end_soon(self._current)
            await self._forward_next()
            return
        await self._handle_event(event)
        key = self._current
        # It may have closed what it came from, so that nothing comes that way any more.
        if key is not None and event is key.event and key.lap == 1:
            self._next_lap(key)

    async def _forward_next(self) -> None:
        """Hands on what waits, up to a key that has a way to go."""
        while self.waiting and self._current is None:
            event = self.waiting.popleft()
            if isinstance(event, events.Key) and self._replies.takes(event.key, event.time):
                continue
            self.first_input_seconds = self.first_input_seconds or time.monotonic()
            target = self._app.focused or self._app.screen
            await self._handle_event(event)
            if isinstance(event, events.Key | events.Paste) and event.is_forwarded:
                self._current = _KeyOnItsWay(event, target)
                self._follow(self._current)
                self._watch(self._current, TIMES_ASKED)

    def _follow(self, key: _KeyOnItsWay) -> None:
        if self._is_lost(key) or not key.target.post_message(self.Passed(key, key.lap)):
            self._end_soon(key)

    def passed(self, passed: Passed) -> None:
        """To be called by the app when the message has come up to it: the key before it was handled, or stopped."""
        if passed.key is self._current and passed.lap == passed.key.lap:
            self._next_lap(passed.key)

    def _next_lap(self, key: _KeyOnItsWay) -> None:
        key.lap += 1
        if key.lap <= LAPS:
            self._follow(key)
        else:
            self._end_soon(key)

    def _end_soon(self, key: _KeyOnItsWay) -> None:
        # Behind what waits for the app itself, such as moving the focus.
        self._app.call_later(self._end, key)

    async def _end(self, key: _KeyOnItsWay) -> None:
        if key is self._current:
            self._current = None
            await self._forward_next()

    def _watch(self, key: _KeyOnItsWay, times_left: int) -> None:
        """Nothing that was lost on its way, with the widget it was on, may keep the keys waiting for ever."""
        if key is not self._current:
            return
        if self._is_lost(key) or not times_left:
            self._end_soon(key)
        else:
            asyncio.get_running_loop().call_later(LOST_SECONDS, self._watch, key, times_left - 1)

    def _is_lost(self, key: _KeyOnItsWay) -> bool:
        """Whether what the key was on is closed, so that nothing comes up from there."""
        return not key.target.is_attached or key.target.screen not in self._app.screen_stack
