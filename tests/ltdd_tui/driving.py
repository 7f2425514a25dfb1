"""Drives the app as a person does: keys in, and what is on the screen out."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual import events
from textual.app import App
from textual.keys import _character_to_key
from textual.pilot import Pilot
from textual.widget import Widget

from ltdd_tui.screens.runs.table import RunList

PATIENCE_SECONDS = 15.0


def text(pilot: Pilot[None]) -> str:
    """What is on the screen, line by line."""
    strips = pilot.app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


async def until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    """Waits until something has come about."""
    for _ in range(int(PATIENCE_SECONDS / 0.02)):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"did not come about; the screen shows:\n{text(pilot)}")


async def sees(pilot: Pilot[None], *words: str) -> None:
    """Waits until all of these are on the screen."""
    await until(pilot, lambda: all(word in text(pilot) for word in words))


@asynccontextmanager
async def turns_of_the_loop() -> AsyncIterator[list[float]]:
    """Seconds of work of the loop's own thread between two turns, so that what else the machine does is not counted."""
    turns = list[float]()

    async def watch() -> None:
        while True:
            began = time.thread_time()
            await asyncio.sleep(0.01)
            turns.append(time.thread_time() - began)

    watching = asyncio.create_task(watch())
    try:
        yield turns
    finally:
        watching.cancel()


async def frees(pilot: Pilot[None], *keys: str) -> None:
    """Leaves the screen that is shown by these keys, and waits until it is freed with all that it drew."""
    widgets = pilot.app.screen.walk_children(Widget, with_self=True)
    drawn = [weakref.ref(part) for widget in widgets for part in (widget, widget._styles_cache)]
    del widgets
    await pilot.press(*keys)

    def are_freed() -> bool:
        # The app's loop holds its last message, and so the widget that it is about, until the next one.
        pilot.app.call_later(lambda: None)
        gc.collect()
        return not any(part() for part in drawn)

    await until(pilot, are_freed)


async def draws_anew(pilot: Pilot[None], opened: Callable[[], object], *words: str) -> None:
    """Waits until a screen that is there when the theme changes looks as one does that is opened in that theme."""

    def look() -> list[tuple[str, str]]:
        strips = pilot.app.screen._compositor.render_strips()
        return [(segment.text, str(segment.style)) for strip in strips for segment in strip]

    async def open_in(theme: str) -> list[tuple[str, str]]:
        pilot.app.theme = theme
        await pilot.pause()
        opened()
        await sees(pilot, *words)
        before = list[tuple[str, str]]()
        while before != (now := look()):
            before = now
            await pilot.pause(0.4)
        return now

    light = await open_in("ltdd-light")
    await pilot.press("escape")
    assert await open_in("ltdd-dark") != light
    pilot.app.theme = "ltdd-light"
    await until(pilot, lambda: look() == light)


async def typed(pilot: Pilot[None], words: str) -> None:
    """Types a text into what has the focus."""
    names = {" ": "space", ":": "colon", "-": "minus", ">": "greater_than_sign", "/": "slash", ".": "full_stop"}
    await pilot.press(*(names.get(sign, sign) for sign in words))


def type_ahead(pilot: Pilot[None], *keys: str) -> None:
    """All these keys at once, as where the machine is too slow for who types."""
    for key in keys:
        pilot.app.post_message(
            events.Key(_character_to_key(key) if len(key) == 1 else key, key if len(key) == 1 else None)
        )


def listen(app: App[None]) -> None:
    """Takes down what the app notifies of from now on."""
    heard, notify = [], app.notify

    def notify_and_note(message: str, **options: Any) -> None:
        heard.append(f"{options.get('title', '')}: {message}")
        notify(message, **options)

    app.notify = notify_and_note  # type: ignore[method-assign]
    app.heard = heard  # type: ignore[attr-defined]


def told(pilot: Pilot[None]) -> list[str]:
    """What notifications have said since `listen`."""
    return pilot.app.heard  # type: ignore[attr-defined, no-any-return]


async def hears(pilot: Pilot[None], *words: str) -> None:
    """Waits until a notification has said all of these."""
    await until(pilot, lambda: any(all(word in note for word in words) for note in told(pilot)))


def all_runs_read(pilot: Pilot[None]) -> bool:
    """Whether the list of runs shows every folder below `runs`, and has read it."""
    lists = pilot.app.screen.query(RunList)
    made = len(list(Path("runs").iterdir())) if Path("runs").is_dir() else 0
    return bool(lists) and len(lists.first().entries) == made and all(entry.read for entry in lists.first().entries)
