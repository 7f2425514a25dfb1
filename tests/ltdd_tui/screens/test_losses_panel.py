"""The panel of the losses: the losses and the accuracy of the checks, smoothed, zoomed and read off together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual.app import App, ComposeResult

import ltdd_tui
from engine.run.events import Evaluated, ExpertDone, MatchingStep, RunStarted, Stamped
from engine.run.folder import RunFolder
from ltdd_tui.runs.state import RunState, RunView, fold
from ltdd_tui.screens.run.losses import LossesPanel

pytestmark = pytest.mark.asyncio


class Shown(App[None]):
    CSS_PATH = Path(ltdd_tui.__file__).with_name("style.tcss")

    def __init__(self) -> None:
        super().__init__()
        self.panel = LossesPanel()

    def compose(self) -> ComposeResult:
        yield self.panel

    @property
    def text(self) -> str:
        """All that is on the screen."""
        return "\n".join(strip.text for strip in self.screen._compositor.render_strips())


def view(*events: Any) -> RunView:
    state = fold(RunState(), [Stamped(seq, 0.0, event) for seq, event in enumerate(events)])
    return RunView(RunFolder("nowhere"), state, None, (), False, len(events))


def steps(count: int, cls: float | None = 0.25) -> list[MatchingStep]:
    return [MatchingStep(at, 1.0 - at / (2 * count), cls, 0.01, 0.04) for at in range(1, count + 1)]


async def test_a_method_without_matching_steps_says_so() -> None:
    plan = ["data", "teacher", "evaluate"]
    begun = RunStarted("x", "random", "digits", 50.0, 2, 0, "convnet", "cpu", plan, 100, "h", 7)
    async with Shown().run_test(size=(70, 16)) as pilot:
        pilot.app.panel.show(view(begun))
        await pilot.pause()
        assert "this method has no matching steps" in pilot.app.text


def evaluated(subject: str, iteration: int | None, mean: float) -> Evaluated:
    return Evaluated(subject, iteration, "convnet", 1, mean, 0.0, [], {}, [])


async def test_losses_on_a_logarithmic_axis_with_their_last_values() -> None:
    async with Shown().run_test(size=(70, 16)) as pilot:
        assert "no matching step yet" in pilot.app.text
        pilot.app.panel.show(view(*steps(100)))
        await pilot.pause()
        text = pilot.app.text
        assert "2 Matching loss, log" in text and "rep 0.500  cls 0.250" in text
        assert "0.5" in text.split() or " 0.5 " in text
        pilot.app.panel.focus()
        await pilot.press("l")
        await pilot.pause()
        assert "log" not in pilot.app.text


async def test_a_method_without_classifier_experts_has_one_curve() -> None:
    async with Shown().run_test(size=(70, 16)) as pilot:
        pilot.app.panel.show(view(*steps(100, cls=None)))
        await pilot.pause()
        assert "rep 0.500" in pilot.app.text and "cls" not in pilot.app.text


async def test_values_that_are_not_finite_are_gaps_and_said_so() -> None:
    async with Shown().run_test(size=(70, 16)) as pilot:
        broken = [*steps(50), MatchingStep(51, None, float("inf"), 0.01, 0.04)]
        pilot.app.panel.show(view(*broken))
        await pilot.pause()
        assert "rep -  cls -" in pilot.app.text


async def test_keys_of_the_curve_work_on_the_panel() -> None:
    async with Shown().run_test(size=(70, 16)) as pilot:
        panel = pilot.app.panel
        panel.show(view(*steps(100)))
        panel.focus()
        whole = panel.curve.window
        await pilot.press("plus", "plus", "left")
        assert panel.curve.window.width < whole.width / 2 + 1 and panel.curve.window.right < whole.right
        await pilot.press("shift+left")
        assert "at " in pilot.app.text
        await pilot.press("f")
        assert panel.curve.window == whole


EVENTS = [
    evaluated("random", None, 20.0),
    evaluated("initialization", 0, 30.0),
    ExpertDone("classifier", 0, False, 62.0, [], []),
    *steps(100),
    evaluated("check", 50, 45.0),
    evaluated("check", 100, 50.25),
]


async def test_the_accuracy_stands_below_the_losses_with_what_it_is_compared_with() -> None:
    async with Shown().run_test(size=(90, 20)) as pilot:
        pilot.app.panel.show(view(*EVENTS))
        await pilot.pause()
        text = pilot.app.text
        assert "2 Matching loss, log, EMA 0.5 · accuracy" in text
        assert "rep 0.500  cls 0.250  accuracy 50.2" in text
        assert "random 20.0" in text and "initialization 30.0" in text and "bound 62.0" in text
        pilot.app.panel.focus()
        for title in ("2 Matching loss, log, EMA 0.5 ─", "2 Accuracy of the checks ─", "EMA 0.5 · accuracy ─"):
            await pilot.press("a")
            await pilot.pause()
            assert title in pilot.app.text


async def test_a_panel_with_room_for_one_curve_shows_the_losses_or_the_accuracy() -> None:
    async with Shown().run_test(size=(90, 12)) as pilot:
        pilot.app.panel.show(view(*EVENTS))
        pilot.app.panel.focus()
        await pilot.pause()
        assert "2 Matching loss, log, EMA 0.5 ─" in pilot.app.text
        await pilot.press("a")
        await pilot.pause()
        assert "2 Accuracy of the checks ─" in pilot.app.text and "bound 62.0" in pilot.app.text
        await pilot.press("a")
        await pilot.pause()
        assert "2 Matching loss, log, EMA 0.5 ─" in pilot.app.text


async def test_both_curves_are_zoomed_and_read_off_together_and_the_title_says_so() -> None:
    async with Shown().run_test(size=(90, 24)) as pilot:
        panel = pilot.app.panel
        panel.show(view(*EVENTS))
        panel.focus()
        await pilot.pause()
        assert "zoomed" not in pilot.app.text
        await pilot.press("plus", "plus")
        await pilot.pause()
        seen = panel._losses.window
        assert seen == panel._accuracy.window and seen.left > 0 and ", zoomed · accuracy" in pilot.app.text
        await pilot.press("shift+left")
        await pilot.pause()
        assert pilot.app.text.count("at 100") == 2
        await pilot.press("f")
        await pilot.pause()
        assert "zoomed" not in pilot.app.text and panel._accuracy.window.left == 0


async def test_keys_smooth_the_losses_and_the_title_says_how_much() -> None:
    async with Shown().run_test(size=(90, 16)) as pilot:
        panel = pilot.app.panel
        noisy = [MatchingStep(at, 1.0 + at % 2, None, 0.01, 0.04) for at in range(1, 41)]
        panel.show(view(*noisy))
        panel.focus()
        await pilot.pause()
        assert "EMA" not in pilot.app.text
        for weight, key in ((0.5, "full_stop"), (0.8, "full_stop"), (0.9, "full_stop"), (0.8, "comma")):
            await pilot.press(key)
            await pilot.pause()
            assert f"EMA {weight}" in pilot.app.text
        raw, average = panel._losses._lines
        assert (raw.faint, average.faint) == (True, False)
        assert np.ptp(raw.y[-10:]) == 1.0 and np.ptp(average.y[-10:]) < 0.2


async def test_a_resume_takes_back_what_came_after_the_checkpoint() -> None:
    async with Shown().run_test(size=(70, 16)) as pilot:
        pilot.app.panel.show(view(*steps(100)))
        seen = view(*steps(100))
        shorter = fold(RunState(), [Stamped(0, 0.0, step) for step in steps(100)[:40]])
        pilot.app.panel.show(RunView(seen.folder, shorter, None, (), False, 2))
        await pilot.pause()
        assert "rep 0.800" in pilot.app.text


async def test_the_accuracy_can_be_asked_for_before_the_first_check() -> None:
    async with Shown().run_test(size=(70, 16)) as pilot:
        pilot.app.panel.show(view(*steps(3)))
        pilot.app.panel.focus()
        await pilot.press("a")
        await pilot.pause()
        assert "no check yet" in pilot.app.text
