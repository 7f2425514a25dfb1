"""Losses are those of the steps appended, in any order; readings of a device are small curves; all are bounded."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from engine.run.events import DeviceReading, MatchingStep, Stamped
from ltdd_tui.runs import history as module
from ltdd_tui.runs.history import MOST_READINGS, LossHistory, ReadingHistory
from ltdd_tui.runs.state import RunState, fold
from ltdd_tui.screens.run.details import use_lines

FEW = 64
NAN = float("nan")


def step(iteration: Any, rep: Any = 0.5, cls: Any = None, beta: Any = 0.01) -> MatchingStep:
    return MatchingStep(iteration, rep, cls, beta, 0.25)


def history(iterations: Sequence[int], look_every: int = 10_000) -> LossHistory:
    steps = LossHistory()
    for place, iteration in enumerate(iterations):
        steps.append(step(iteration))
        if place % look_every == 0:
            steps.merge()
    return steps


def assert_holds(steps: LossHistory, points: Sequence[MatchingStep]) -> None:
    for array, name in ((steps.iterations, "iteration"), (steps.loss_rep, "loss_rep"), (steps.loss_cls, "loss_cls")):
        np.testing.assert_array_equal(array, np.array([getattr(point, name) for point in points], dtype=float))
    assert steps.latest == (points[-1] if points else None)


@pytest.mark.parametrize("count", [50, 63, 64, 65, 129, 1000])
def test_the_order_in_which_they_come_and_are_looked_at_does_not_matter(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(module, "MOST", FEW)
    forward = list(range(1, count + 1))
    wanted = history(forward)
    assert wanted.latest == step(count) and len(wanted) <= FEW
    assert wanted.iterations.tolist() == sorted(wanted.iterations.tolist())
    for seed in range(5):
        shuffled = random.Random(seed).sample(forward, count)
        assert history(shuffled) == history(shuffled, look_every=7) == history(forward[::-1]) == wanted


def test_not_more_than_so_many_are_kept_however_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", FEW)
    for steps in (history(range(5000)), history(range(5000, 0, -1)), history([7] * 500)):
        assert len(steps._pending) + steps._columns.shape[1] <= 2 * FEW
        assert len(steps) <= FEW
    assert history(range(200)).iterations.tolist() == list(range(0, 200, 4))
    assert history(range(1, 201)).total_seconds == pytest.approx(200 * 0.25), "also of those that are not kept"


def test_of_two_steps_of_an_iteration_the_later_one_counts() -> None:
    steps = history([1, 2, 3])
    steps.append(step(2, beta=0.9))
    assert steps.iterations.tolist() == [1, 2, 3] and steps.beta.tolist() == [0.01, 0.9, 0.01]
    steps.append(step(3, beta=0.8))
    assert steps.latest == step(3, beta=0.8)


def test_copies_never_see_what_is_appended_to_another_one() -> None:
    three = history([3, 1, 2])
    before, four, nine = three.copy(), three.copy(), three.copy()
    four.append(step(4))
    nine.append(step(9))
    assert three == before
    assert four.iterations.tolist() == [1, 2, 3, 4] and nine.iterations.tolist() == [1, 2, 3, 9]
    back = four.until(2)
    assert back.latest == step(2)
    back.append(step(8))
    assert back.iterations.tolist() == [1, 2, 8] and four.latest == step(4)
    assert LossHistory().latest is None and not LossHistory() and LossHistory().until(3) == LossHistory()


def test_the_arrays_of_any_history_are_those_of_its_steps() -> None:
    draw, steps, points, at = random.Random(0), LossHistory(), list[MatchingStep](), 0
    for _ in range(400):
        if draw.random() < 0.8:
            for _ in range(draw.randrange(30)):
                at += 1
                points.append(step(at, draw.random(), None if draw.random() < 0.1 else draw.random()))
                steps.append(points[-1])
        else:
            # A resume goes back to a checkpoint and comes by other values; a replay only goes back.
            at = draw.randrange(at + 1)
            points, steps = points[:at], steps.until(at)
        if draw.random() < 0.6:
            assert_holds(steps, points)


def test_arrays_that_were_handed_out_keep_their_values() -> None:
    steps, shown = LossHistory(), []
    for at in range(1, 201):
        steps.append(step(at, rep=at / 7))
        shown.append(steps.loss_rep)
    steps.append(step(3, rep=9.0))
    assert steps.loss_rep[2] == 9.0
    for count, rep in enumerate(shown, 1):
        np.testing.assert_array_equal(rep, np.arange(1, count + 1) / 7)


def test_a_loss_that_is_not_known_is_a_gap() -> None:
    steps = LossHistory()
    for one in (step(1, None, 0.5), step(2, 0.5, None)):
        steps.append(one)
    np.testing.assert_array_equal(steps.loss_rep, [NAN, 0.5])
    np.testing.assert_array_equal(steps.loss_cls, [0.5, NAN])


@pytest.mark.parametrize("bad", [step("x"), step(7, beta=None), step(7, "x"), step(7, [1, 2]), step(7, cls=10**400)])
def test_a_step_that_is_none_is_refused_and_nothing_of_it_is_taken(bad: MatchingStep) -> None:
    steps = LossHistory()
    with pytest.raises((TypeError, OverflowError)):
        steps.append(bad)
    steps.append(step(3))
    assert_holds(steps, [step(3)])


def test_a_step_takes_less_than_fifty_bytes() -> None:
    tracemalloc.start()
    try:
        steps = history(range(1, 2**14))
        steps.merge()
        assert tracemalloc.get_traced_memory()[0] / len(steps) < 50
    finally:
        tracemalloc.stop()


def reading(place: int) -> DeviceReading:
    return DeviceReading("cuda:0", 2.0, 80.0, float(place % 100), 1.5, 16.0, 50.0, 4.0)


def test_of_very_many_readings_evenly_spread_ones_are_kept() -> None:
    history = ReadingHistory()
    for place in range(10 * MOST_READINGS):
        history.append(DeviceReading("cpu", 1.0, 16.0, float(place)))
    places = history.values("cpu_percent")
    assert MOST_READINGS // 2 < len(places) <= MOST_READINGS and history.stride == 16
    assert {int(b - a) for a, b in pairwise(places)} == {16}


def test_a_snapshot_does_not_see_later_readings() -> None:
    state = RunState()
    state.apply(Stamped(0, 0.0, reading(1)))
    before = state.snapshot()
    state.apply(Stamped(1, 1.0, reading(2)))
    assert (before.readings.count, state.readings.count) == (1, 2)


def test_each_figure_has_its_value_and_its_course() -> None:
    state = fold(RunState(), [Stamped(place, 0.0, reading(place)) for place in range(100)])
    lines = [line.plain for line in use_lines(state, 60)]
    assert [line[:31].split() for line in lines] == [
        ["cpu", "99", "%"],
        ["ram", "1.5", "of", "16.0", "GiB"],
        ["gpu", "50", "%"],
        ["gpu", "memory", "4.0", "of", "80.0", "GiB"],
    ]
    course = lines[0][31:]
    assert len(course) == 29 and course == "".join(sorted(course)) and course[-1] == "▇"
    assert {len(line) for line in lines} == {60}


def test_runs_that_did_not_say_it_show_nothing() -> None:
    state = fold(RunState(), [Stamped(0, 0.0, DeviceReading("cpu", 1.0, 16.0))])
    assert list(use_lines(state, 60)) == [] and list(use_lines(RunState(), 60)) == []
