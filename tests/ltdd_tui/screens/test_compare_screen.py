"""Runs side by side on the screen, at every size, while they go on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from engine.run.event_log import EventLog
from engine.run.events import Evaluated, MatchingStep
from engine.run.folder import RunFolder
from ltdd_tui.app import LtddApp
from ltdd_tui.preferences import series_color
from ltdd_tui.screens.compare.images import ComparedImages, HalfOfTwo
from ltdd_tui.screens.compare.panels import ComparedAccuracy, ComparedLosses
from ltdd_tui.screens.compare.screen import CompareScreen
from tests.ltdd_tui.driving import sees, text, until
from tests.ltdd_tui.runs.test_comparison import varied

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("no_form")]
Add = Callable[..., RunFolder]


@asynccontextmanager
async def shown(*folders: RunFolder, size: tuple[int, int] = (120, 40)) -> AsyncIterator[Pilot[None]]:
    app = LtddApp(Path("runs"))
    async with app.run_test(size=size) as pilot:
        app.open_compare(folders)
        await until(pilot, lambda: isinstance(app.screen, CompareScreen) and bool(app.screen._runs))
        await sees(pilot, "A one")
        yield pilot


async def test_everything_is_side_by_side(add: Add) -> None:
    two = varied(add("two"), "method=datm", shift=-6.0)
    async with shown(add("one"), two) as pilot:
        await sees(pilot, "2 runs of cifar10, IF 100, IPC 10", "52.9\u00b10.4", "46.9\u00b10.4", "-0.5", "-6.0")
        await sees(
            pilot, "Matching loss rep", "Accuracy of the checks", "paper", "Settings that differ", "datm", "truck"
        )


async def test_a_small_terminal_shows_one_panel_at_a_time(add: Add) -> None:
    async with shown(add("one"), add("two"), size=(80, 24)) as pilot:
        for key, words in (
            ("2", "Matching loss rep"),
            ("3", "Accuracy of the checks"),
            ("4", "truck"),
            ("5", "all settings are the same"),
            ("1", "52.9\u00b10.4"),
        ):
            await pilot.press(key)
            await sees(pilot, words)
            assert sum(word in text(pilot) for word in ("Matching loss", "Accuracy of the", "By class")) <= 1
        for size in ((20, 5), (1, 1), (200, 60), (120, 40)):
            await pilot.resize_terminal(*size)
            await pilot.pause(0.05)
        await sees(pilot, "Matching loss rep", "truck", "52.9\u00b10.4")


async def test_one_panel_alone_and_back(add: Add) -> None:
    async with shown(add("one"), add("two")) as pilot:
        await pilot.press("4", "m")
        await until(pilot, lambda: "Matching loss" not in text(pilot) and "truck" in text(pilot))
        await pilot.press("m")
        await sees(pilot, "Matching loss", "truck")


async def test_differences_can_be_to_any_run(add: Add) -> None:
    async with shown(add("one"), varied(add("two"), shift=3.0)) as pilot:
        await sees(pilot, "B-A", "+3.0")
        await pilot.press("b")
        await sees(pilot, "A-B", "-3.0")


async def test_runs_that_work_go_on(add: Add) -> None:
    running = add("two", "running")
    async with shown(add("one"), running) as pilot:
        await sees(pilot, "running")
        log = EventLog(running.events)
        log.emit(MatchingStep(13, 0.5, 0.1, 0.01, 0.04))
        log.emit(Evaluated("check", 14, "convnet", 1, 77.7, 0.0, [77.7] * 10, {"many": 77.7}, [1.0] * 10))
        await sees(pilot, "(77.7)")
        losses = pilot.app.screen.query_one(ComparedLosses)
        await until(pilot, lambda: losses.curve._lines[-1].x[-1] == 13)


async def test_losses_of_the_classifier_and_every_value(add: Add) -> None:
    async with shown(add("one"), add("two")) as pilot:
        await pilot.press("2", "w")
        await sees(pilot, "Matching loss cls")
        lines = pilot.app.screen.query_one(ComparedLosses).curve._lines
        assert [(line.name, line.color) for line in lines] == [
            ("A", series_color(0, True)),
            ("B", series_color(1, True)),
        ]
        # The keys of the run screen smooth both runs alike, and zoom the curve beside too.
        await pilot.press("full_stop", "plus")
        await sees(pilot, "Matching loss cls, log, EMA 0.5, zoomed", "Accuracy of the checks, zoomed")
        curves = [pilot.app.screen.query_one(panel).curve for panel in (ComparedLosses, ComparedAccuracy)]
        assert curves[0].window == curves[1].window


async def test_a_run_that_is_deleted_or_damaged_meanwhile_is_told(add: Add) -> None:
    gone = add("two", "stopped")
    torn = add("three", "stopped")
    torn.events.write_bytes(b"\xff\x00\n{}\n" * 20)
    async with shown(add("one"), gone, torn) as pilot:
        await sees(pilot, "C three")
        gone.root.rename(gone.root.with_name("elsewhere"))
        await sees(pilot, "gone: two")
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(pilot.app.screen, CompareScreen))


async def test_events_that_cannot_be_read_are_told_and_the_others_shown(add: Add) -> None:
    odd = add("two", "stopped")
    odd.events.unlink()
    odd.events.mkdir()
    async with shown(add("one"), odd) as pilot:
        await sees(pilot, "Is a directory: two", "A one")


async def test_the_images_of_two_runs_stand_side_by_side_with_one_selection(add: Add) -> None:
    async with shown(add("one"), add("two"), add("three", "empty")) as pilot:
        await pilot.press("6")
        await sees(pilot, "A one  iteration", "B two  iteration")
        panel = pilot.app.screen.query_one(ComparedImages)
        halves = [half.images for half in panel.query(HalfOfTwo)]
        await pilot.press("right_square_bracket", "right", "e")
        selections = [view._request.selection for view in halves]
        assert selections[0] == selections[1] and (selections[0].row, selections[0].image) == (1, 1)
        assert [view._request.root.name for view in halves] == ["one", "two"]
        await pilot.press("w")
        await until(pilot, lambda: halves[1]._request is None and "C three" in text(pilot))
        # With the base itself empty, the other one is counted through.
        await pilot.press("b", "b", "left_square_bracket")
        assert halves[0]._request is None and halves[1]._request.selection.row == 0
        await pilot.press("m")
        await sees(pilot, "Accuracy %", "Matching loss", "Settings that differ")
        assert not panel.display


async def test_the_table_of_a_comparison_is_copied(add: Add) -> None:
    async with shown(add("one"), add("two")) as pilot:
        await pilot.press("Y")
        assert pilot.app.clipboard.splitlines()[2].startswith("| one | 52.9 ± 0.4 | 53.1 ± 0.4 |")
        await pilot.press("C")
        assert pilot.app.clipboard.splitlines()[0].startswith("run,final_mean,final_std,best_mean")
