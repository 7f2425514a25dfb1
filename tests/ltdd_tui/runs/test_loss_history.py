"""Steps in any order are the same steps; and of a run without end not all are kept."""

from __future__ import annotations

import copy
import random

import pytest

from engine.run.events import MatchingStep
from ltdd_tui.runs import loss_history as module
from ltdd_tui.runs.loss_history import Steps

FEW = 64


def step(iteration: int, beta: float = 0.01) -> MatchingStep:
    return MatchingStep(iteration, 0.5, None, beta, 0.25)


def taken(iterations: list[int], look_every: int = 10_000) -> Steps:
    steps = Steps()
    for place, iteration in enumerate(iterations):
        steps = steps.with_step(step(iteration))
        if place % look_every == 0:
            steps.in_order()
    return steps


@pytest.mark.parametrize("count", [50, 63, 64, 65, 129, 1000])
def test_the_order_in_which_they_come_and_are_looked_at_does_not_matter(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(module, "MOST", FEW)
    forward = list(range(1, count + 1))
    wanted = taken(forward)
    assert wanted.last == count and len(wanted.in_order()) <= FEW
    assert [one.iteration for one in wanted.in_order()] == sorted(one.iteration for one in wanted.in_order())
    for seed in range(5):
        shuffled = random.Random(seed).sample(forward, count)
        assert taken(shuffled) == taken(shuffled, look_every=7) == taken(forward[::-1]) == wanted


def test_not_more_than_so_many_are_kept_however_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", FEW)
    for steps in (taken(list(range(5000))), taken(list(range(5000, 0, -1))), taken([7] * 500)):
        assert len(steps._held.steps) <= 2 * FEW
        assert len(steps.in_order()) <= FEW
    assert [one.iteration for one in taken(list(range(200))).in_order()] == list(range(0, 200, 4))
    assert taken(list(range(1, 201))).seconds == pytest.approx(200 * 0.25), "also of those that are not kept"


def test_of_two_steps_of_an_iteration_the_later_one_counts() -> None:
    steps = taken([1, 2, 3]).with_step(step(2, beta=0.9))
    assert [(one.iteration, one.beta) for one in steps.in_order()] == [(1, 0.01), (2, 0.9), (3, 0.01)]


def test_older_steps_and_other_futures_never_see_what_is_appended() -> None:
    three = taken([3, 1, 2])
    before = copy.deepcopy(three)
    four, nine = three.with_step(step(4)), three.with_step(step(9))
    assert three == before
    assert [one.iteration for one in four.in_order()] == [1, 2, 3, 4]
    assert [one.iteration for one in nine.in_order()] == [1, 2, 3, 9]
    back = four.until(2)
    assert back.last == 2 and [one.iteration for one in back.with_step(step(8)).in_order()] == [1, 2, 8]
    assert four.last == 4 and Steps().last is None and not Steps().in_order()
