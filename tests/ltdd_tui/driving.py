"""Drives the app as a person does: keys in, and what is on the screen out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from textual.pilot import Pilot

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


async def typed(pilot: Pilot[None], words: str) -> None:
    """Types a text into what has the focus."""
    names = {" ": "space", ":": "colon", "-": "minus", ">": "greater_than_sign", "/": "slash", ".": "full_stop"}
    await pilot.press(*(names.get(sign, sign) for sign in words))


def told(pilot: Pilot[None]) -> list[str]:
    """What notifications say."""
    return [f"{note.title}: {note.message}" for note in pilot.app._notifications]
