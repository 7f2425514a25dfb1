"""How the screen of a run looks: before its worker speaks, at work, stopped by a fault, and done."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from textual.pilot import Pilot

from engine.run.folder import RunFolder
from ltdd_tui.app import LtddApp
from ltdd_tui.panels import details
from ltdd_tui.panels.workspace import Workspace
from ltdd_tui.screens import run as run_module
from ltdd_tui.screens.run import RunScreen
from tests.ltdd_tui.driving import text, until
from tests.ltdd_tui.recorded import FINISHED_AT, let_go, record

pytestmark = pytest.mark.usefixtures("no_form")
SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])


@pytest.fixture(autouse=True)
def _fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands still a second after the last event, in the time zone of nowhere; nothing pops up."""
    clock = SimpleNamespace(time=lambda: FINISHED_AT + 1)
    monkeypatch.setattr(run_module, "time", clock)
    monkeypatch.setattr(details, "time", clock)
    monkeypatch.setattr(LtddApp, "notify", lambda *arguments, **options: None)
    monkeypatch.setenv("TZ", "UTC")


@pytest.fixture
def recorded() -> Iterator[Callable[[str], RunFolder]]:
    made: list[RunFolder] = []

    def make(status: str) -> RunFolder:
        # Below the folder that the test works in: its absolute path is another one everywhere.
        made.append(record(Path("runs") / "cifar10-small", status, 50, ends=FINISHED_AT))
        os.utime(made[-1].events, (FINISHED_AT, FINISHED_AT))
        return made[-1]

    yield make
    for folder in made:
        let_go(folder)


def drawn(*keys: str) -> Callable[[Pilot[None]], Awaitable[None]]:
    """Waits until every panel in sight shows what there is; then types, and waits once more."""

    def is_drawn(pilot: Pilot[None]) -> bool:
        screen = pilot.app.screen
        return isinstance(screen, RunScreen) and all(
            screen._given.get(panel.NAME, ())[:1] == (screen._view.version,)
            for panel in screen.query_one(Workspace).seen
        )

    async def before(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: is_drawn(pilot) and "reading" not in text(pilot))
        for key in keys:
            await pilot.press(key)
        await pilot.pause(0.3)
        await until(pilot, lambda: is_drawn(pilot))
        await pilot.pause(0.3)

    return before


@SIZES
@pytest.mark.parametrize("status", ["empty", "running", "failed", "done"])
def test_a_run(
    snap_compare: Callable[..., bool], recorded: Callable[[str], RunFolder], status: str, size: tuple[int, int]
) -> None:
    app = LtddApp(Path("runs"), folder=recorded(status))
    assert snap_compare(app, terminal_size=size, run_before=drawn())


def test_images_over_the_whole_space(snap_compare: Callable[..., bool], recorded: Callable[[str], RunFolder]) -> None:
    app = LtddApp(Path("runs"), folder=recorded("done"))
    assert snap_compare(app, terminal_size=(120, 40), run_before=drawn("4", "4", "e", "m"))
