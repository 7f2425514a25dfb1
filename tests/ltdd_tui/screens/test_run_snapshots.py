"""How the screen of a run looks, in every state it can be in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from textual.pilot import Pilot

from engine.run.folder import RunFolder
from ltdd_tui.app import LtddApp
from ltdd_tui.screens.run import details, screen
from tests.ltdd_tui.driving import sees, text, until
from tests.ltdd_tui.recorded import FINISHED_AT

pytestmark = pytest.mark.usefixtures("no_form")
WORDS = {
    "empty": "no worker is at work",
    "running": "● running",
    "stopped": "stopped during",
    "failed": "the run failed",
    "crashed": "the worker process died",
    "done": "✓ done",
    "judged": "verdict: use the set",
}


@pytest.fixture(autouse=True)
def _one_time_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as context:
        context.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
@pytest.mark.parametrize("status", WORDS)
def test_every_state(
    snap_compare: Callable[..., bool],
    add: Callable[..., RunFolder],
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    size: tuple[int, int],
) -> None:
    clock = SimpleNamespace(time=lambda: FINISHED_AT + 1)
    monkeypatch.setattr(screen, "time", clock)
    monkeypatch.setattr(details, "time", clock)

    async def before(pilot: Pilot[None]) -> None:
        await sees(pilot, WORDS[status])
        pictures = status != "empty" and size[0] > 100
        await until(pilot, lambda: not pictures or "▀" in text(pilot))
        await pilot.pause(0.8)

    app = LtddApp(Path("runs"), folder=add("cifar10-lt-if100-ipc10", status))
    assert snap_compare(app, terminal_size=size, run_before=before)
