"""One set of keys on all screens: q goes back and quits on the first screen, escape never quits, footers fit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.binding import Binding
from textual.pilot import Pilot
from textual.widgets._footer import FooterKey

from engine.run.folder import RunFolder
from ltdd_tui import app as app_module
from ltdd_tui.app import LtddApp, load_screens
from ltdd_tui.keys import key_places
from ltdd_tui.screens.compare.screen import CompareScreen
from ltdd_tui.screens.dialogs import Confirm
from ltdd_tui.screens.launch.screen import LaunchScreen
from ltdd_tui.screens.run.layout import PANELS
from ltdd_tui.screens.run.screen import RunScreen
from ltdd_tui.screens.runs.screen import RunsScreen
from tests.ltdd_tui.driving import all_runs_read, hears, listen, text, until

pytestmark = pytest.mark.asyncio
Add = Callable[..., RunFolder]
NARROWEST, SMALL = (40, 16), (80, 24)


@asynccontextmanager
async def shown(size: tuple[int, int], folder: RunFolder | None = None) -> AsyncIterator[Pilot[None]]:
    app = LtddApp(Path("runs"), folder=folder)
    listen(app)
    async with app.run_test(size=size) as pilot:
        yield pilot


async def footer(pilot: Pilot[None], *actions: str) -> str:
    """The last line of the screen, once it has keys for these."""

    def is_shown() -> bool:
        keys = {key.action for key in pilot.app.screen.query(FooterKey)}
        return {*actions} <= keys and "Help" in text(pilot).split("\n")[-1]

    await until(pilot, is_shown)
    return text(pilot).split("\n")[-1]


@pytest.mark.usefixtures("no_form")
@pytest.mark.parametrize("size", [NARROWEST, SMALL])
async def test_the_keys_for_help_and_the_way_back_are_seen_on_every_screen(add: Add, size: tuple[int, int]) -> None:
    for name in ("one", "two"):
        add(name)
    async with shown(size) as pilot:
        await pilot.press("f2")
        await until(pilot, lambda: all_runs_read(pilot))
        for keys, screen in (((), RunsScreen), (("space", "c"), CompareScreen), (("q", "enter"), RunScreen)):
            await pilot.press(*keys)
            await until(pilot, lambda kind=screen: isinstance(pilot.app.screen, kind))
            line = await footer(pilot, "back", "help")
            assert "q Back" in line and "f1 Help" in line, line
            assert len(line) <= size[0]


@pytest.mark.usefixtures("no_form")
async def test_the_list_shows_all_that_can_be_done_with_a_finished_run_in_80_columns(add: Add) -> None:
    add("one")
    add("two", "stopped")
    async with shown(SMALL) as pilot:
        await pilot.press("f2")
        await until(pilot, lambda: all_runs_read(pilot))
        line = await footer(pilot, "evaluate")
        for word in ("Open", "Mark", "Filter", "Evaluate", "Export", "Rename", "Delete", "q Back", "f1 Help"):
            assert word in line, line
        assert "Resume" not in line and "Compare" not in line
        await pilot.press("j")
        line = await footer(pilot, "resume")
        assert "Evaluate" not in line
        await pilot.press("space")
        assert "c Compare" in await footer(pilot, "compare")


async def test_escape_never_ends_the_program_and_q_asks_only_where_something_would_be_lost(add: Add) -> None:
    async with shown(SMALL) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, LaunchScreen)
        await until(pilot, lambda: screen._run_plan is not None)
        assert "q Quit f1 Help" in await footer(pilot, "leave", "help")
        await pilot.press("escape", "escape")
        screen.take(screen.form.with_text("ipc", "3"))
        await pilot.press("q")
        await until(pilot, lambda: isinstance(pilot.app.screen, Confirm) and "1 setting changed" in text(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is screen)
        assert not pilot.app._exit
        screen.take(screen.form.reset())
        await pilot.press("q")
        await until(pilot, lambda: pilot.app._exit)


@pytest.mark.usefixtures("no_form")
async def test_escape_stays_on_the_run_that_the_program_was_opened_with(add: Add) -> None:
    async with shown(SMALL, add("one")) as pilot:
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        await pilot.press("escape")
        await hears(pilot, "q ends the program, F2 lists all runs")
        assert isinstance(pilot.app.screen, RunScreen) and "q Quit" in await footer(pilot, "leave")
        # Once it is left for the list, the form is the first screen.
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunsScreen))
        await pilot.press("q")
        await until(pilot, lambda: isinstance(pilot.app.screen, app_module.LaunchScreen))


async def test_what_does_the_same_has_the_same_key_everywhere() -> None:
    load_screens()
    keys_of: dict[str, set[str]] = {}
    for place in key_places():
        for name, keys in place.items():
            # Copying is called by what is copied; a list may keep Textual's keys beside those of vim.
            same = "copy" if name.rpartition(".")[2].startswith("copy") else name
            assert keys_of.setdefault(same, keys) == keys or name.startswith("list."), name
    assert keys_of["copy"] == {"y"} and keys_of["app.back"] == {"q"}
    # In a panel of the run screen, a key of the screen still does what it does elsewhere.
    screen = {key for binding in RunScreen.BINDINGS for key in binding.key.split(",")}
    for panel in PANELS:
        taken = {
            key
            for binding in Binding.make_bindings(panel.__dict__.get("BINDINGS", []))
            for key in binding.key.split(",")
        }
        assert not taken & screen, panel
    assert {"run.resume", "run.stop", "run.evaluate", "run.export", "run.rename", "run.delete"} <= keys_of.keys()
