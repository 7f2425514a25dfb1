"""What happens to every screen sooner or later: a window made tiny and large again, left at once, fed with rubbish."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from engine.run.errors import CONTROL_CHARACTER
from engine.run.folder import RunFolder
from ltdd_tui.app import LtddApp
from tests.ltdd_tui.driving import draws_anew, frees, sees, text, until
from tests.ltdd_tui.recorded import make_hostile

Add = Callable[..., RunFolder]
Opened = Callable[[LtddApp, list[RunFolder]], None]
SCREENS: dict[str, tuple[Opened, str]] = {
    "launch": (lambda app, runs: None, "quickstart"),
    "run": (lambda app, runs: app.open_run(runs[0]), "Accuracy by class"),
    "runs": (lambda app, runs: app.action_runs(), "other"),
    "compare": (lambda app, runs: app.open_compare(runs), "Accuracy"),
    "help": (lambda app, runs: app.action_help(), "─ Help"),
}
EVERY_SCREEN = pytest.mark.parametrize("name", SCREENS)


def drive(size: tuple[int, int], test: Callable[[Pilot[None]], Awaitable[None]]) -> None:
    async def run() -> None:
        async with LtddApp(Path("runs"), device="cpu").run_test(size=size) as pilot:
            await test(pilot)

    asyncio.run(run())


@EVERY_SCREEN
def test_a_terminal_of_20x5_and_back(add: Add, name: str) -> None:
    opened, shown = SCREENS[name]
    runs = [add("one"), add("other")]

    async def test(pilot: Pilot[None]) -> None:
        opened(pilot.app, runs)  # type: ignore[arg-type]
        await sees(pilot, shown)
        for size in ((20, 5), (200, 60), (1, 1), (120, 40)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            lines = text(pilot).splitlines()
            assert len(lines) == size[1] and all(len(line) <= size[0] for line in lines)
        await sees(pilot, shown)

    drive((120, 40), test)


def test_a_terminal_resized_while_other_screens_are_shown(add: Add) -> None:
    runs = [add("one"), add("other")]

    async def test(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, LtddApp)
        for opened, shown in (SCREENS[name] for name in ("launch", "runs", "compare", "run", "help")):
            opened(app, runs)
            await sees(pilot, shown)
        await pilot.resize_terminal(170, 40)
        await until(pilot, lambda: all(screen.has_class("-huge") for screen in app.screen_stack[1:]))
        assert {screen.size.width for screen in app.screen_stack[1:]} == {170}

    drive((120, 40), test)


@pytest.mark.usefixtures("no_form")
def test_garbage_is_looked_for_once_the_first_picture_is_there() -> None:
    async def test(pilot: Pilot[None]) -> None:
        await until(pilot, gc.isenabled)

    gc.disable()
    try:
        drive((80, 24), test)
    finally:
        gc.enable()


@pytest.mark.usefixtures("no_form")
@pytest.mark.parametrize("name", ["run", "runs", "compare", "help"])
def test_a_screen_that_is_left_before_it_is_drawn(add: Add, name: str) -> None:
    opened, _ = SCREENS[name]
    runs = [add("one"), add("other")]

    def leaving(turns: int, leave: Callable[[LtddApp], object]) -> None:
        async def test(pilot: Pilot[None]) -> None:
            app = pilot.app
            assert isinstance(app, LtddApp)
            opened(app, runs)
            for _ in range(turns):
                await asyncio.sleep(0)
            leave(app)
            await asyncio.sleep(0.05)

        drive((80, 24), test)

    for turns in (0, 20):
        leaving(turns, lambda app: app.exit())
        leaving(turns, lambda app: app.pop_screen())


@pytest.mark.parametrize("name", ["run", "runs", "compare", "help"])
def test_a_screen_that_is_closed_is_freed_with_all_that_it_drew(add: Add, name: str) -> None:
    """What is kept makes each garbage collection longer: with 30 runs opened and closed, 0.7 s in place of 0.06 s."""
    opened, shown = SCREENS[name]
    runs = [add("one"), add("other")]

    async def test(pilot: Pilot[None]) -> None:
        opened(pilot.app, runs)  # type: ignore[arg-type]
        await sees(pilot, shown)
        await frees(pilot, "escape")

    drive((160, 50), test)


@pytest.mark.usefixtures("no_form")
@pytest.mark.parametrize("name", ["run", "compare"])
def test_a_screen_is_drawn_anew_in_the_theme_that_is_chosen(add: Add, name: str) -> None:
    opened, shown = SCREENS[name]
    runs = [add("one"), add("other")]

    async def test(pilot: Pilot[None]) -> None:
        await draws_anew(pilot, lambda: opened(pilot.app, runs), shown)  # type: ignore[arg-type]

    drive((160, 50), test)


@pytest.mark.usefixtures("no_form")
def test_names_that_steer_terminals_or_are_markup(add: Add) -> None:
    runs = [make_hostile(add("[b]\x1b[2J")), make_hostile(add("other", "crashed"))]

    async def test(pilot: Pilot[None]) -> None:
        for name in ("run", "compare", "runs"):
            opened, shown = SCREENS[name]
            opened(pilot.app, runs)  # type: ignore[arg-type]
            await sees(pilot, shown, r"\x1b[2J")
            assert not CONTROL_CHARACTER.search(text(pilot).replace("\n", ""))
        await pilot.press("ctrl+p", *"openrun")
        await sees(pilot, r"Open run [b]\x1b[2J")
        assert not CONTROL_CHARACTER.search(text(pilot).replace("\n", ""))

    drive((160, 50), test)


@pytest.mark.usefixtures("no_form")
def test_previews_that_are_no_pictures_and_labels_that_are_none(add: Add) -> None:
    run = add("one")
    for path in (run.root / "previews").glob("*.png"):
        path.write_bytes(b"not a picture at all")
    for path in (run.root / "previews").glob("*.json"):
        path.write_text("{")

    async def test(pilot: Pilot[None]) -> None:
        assert isinstance(pilot.app, LtddApp)
        pilot.app.open_run(run)
        await sees(pilot, "Synthetic images", "52.9")
        await until(pilot, lambda: "picture" in text(pilot) or "image" in text(pilot))
        await pilot.press("4", "4", "e", "e", "comma", "full_stop", "right_square_bracket")
        await sees(pilot, "52.9")

    drive((120, 40), test)
