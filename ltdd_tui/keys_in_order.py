"""Keys one after another: each has had all of its effect before the next one is handed on.

Textual hands a key at once to what has the focus, and does what it is bound to when it has come back up to the app. Of
two keys in quick succession, or on a slow machine, the second is then on its way to where the focus was before.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass

from textual import events
from textual.app import App
from textual.dom import DOMNode
from textual.message import Message

from ltdd_tui.stray_replies import StrayReplies

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
