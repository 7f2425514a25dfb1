"""The arrays that are drawn are those of the run's points, whatever happened to the run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from engine.run.events import Evaluated, ExpertDone, MatchingStep, Stamped
from ltdd_tui.runs import loss_history
from ltdd_tui.runs.figures import checks, reference_accuracies
from ltdd_tui.runs.loss_history import LossTrack, Series
from ltdd_tui.runs.state import RunState, fold

NAN = float("nan")


def step(iteration: int, rep: Any = 0.9, cls: Any = 0.5) -> MatchingStep:
    return MatchingStep(iteration, rep, cls, 0.01, 0.04)


def assert_holds(track: LossTrack, points: Sequence[MatchingStep]) -> None:
    for array, name in ((track.iterations, "iteration"), (track.rep, "loss_rep"), (track.cls, "loss_cls")):
        wanted = [getattr(point, name) for point in points]
        np.testing.assert_array_equal(array, np.array(wanted, dtype=float))


def test_the_track_of_any_history_is_the_track_of_its_points() -> None:
    draw, track, points = random.Random(0), LossTrack(), Series[MatchingStep]()
    at = 0
    for _ in range(400):
        deed = draw.random()
        if deed < 0.7:
            for _ in range(draw.randrange(30)):
                at += 1
                points = points.appended(step(at, draw.random(), None if draw.random() < 0.1 else draw.random()))
        elif deed < 0.85:
            # A resume goes back to a checkpoint and comes by other values; a replay only goes back.
            at = draw.randrange(at + 1)
            points = points.first(at)
        else:
            points = Series(points)
        if draw.random() < 0.6:
            track.take(points)
            assert_holds(track, points)


def test_equal_points_are_not_taken_again() -> None:
    track, points = LossTrack(), Series(step(at) for at in range(1, 101))
    assert track.take(points) and not track.take(points)
    assert track.take(points.first(50)) and track.take(points) and not track.take(points)


def test_curves_that_are_drawn_keep_their_values_when_a_resume_changes_the_run() -> None:
    track, points = LossTrack(), Series(step(at, 0.9) for at in range(1, 101))
    track.take(points)
    before = track.rep
    track.take(Series(step(at, 0.1) for at in range(1, 101)))
    assert set(before) == {0.9} and set(track.rep) == {0.1}


def test_of_a_run_that_goes_on_only_what_is_new_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    copied, copy = [], loss_history.columns_of
    monkeypatch.setattr(loss_history, "columns_of", lambda *asked: copied.append(len(copy(*asked))) or copy(*asked))
    track, points, shown = LossTrack(), Series[MatchingStep](), []
    for at in range(1, 201):
        points = points.appended(step(at, rep=at / 7))
        track.take(points)
        shown.append(track.rep)
    assert sum(copied) == 200
    for count, rep in enumerate(shown, 1):
        np.testing.assert_array_equal(rep, np.arange(1, count + 1) / 7)


def test_a_loss_that_is_not_known_is_a_gap() -> None:
    track = LossTrack()
    track.take(state_of(step(1, None), step(2, 0.5, None)).points)
    np.testing.assert_array_equal(track.rep, [NAN, 0.5])
    np.testing.assert_array_equal(track.cls, [0.5, NAN])


@pytest.mark.parametrize("value", ["x", [1, 2], {}, 10**400])
def test_a_step_with_something_else_is_left_out(value: Any) -> None:
    track = LossTrack()
    track.take(state_of(step(1), step(2, value), step(3)).points)
    assert track.iterations.tolist() == [1, 3]


def evaluated(subject: str, iteration: int | None, mean: Any) -> Evaluated:
    return Evaluated(subject, iteration, "convnet", 1, mean, 0.0, [], {}, [])


def state_of(*events: Any) -> RunState:
    return fold(RunState(), [Stamped(seq, 0.0, event) for seq, event in enumerate(events)])


def test_checks_come_in_order_from_the_initialization_on() -> None:
    state = state_of(
        evaluated("random", None, 20.0),
        evaluated("initialization", 0, 30.0),
        evaluated("check", 200, 50.0),
        evaluated("check", 100, None),
        evaluated("final", 200, 51.0),
    )
    iterations, means = checks(state)
    assert iterations.tolist() == [0, 100, 200]
    np.testing.assert_array_equal(means, [30, NAN, 50])


def test_references_are_random_start_and_the_experts_that_see_all() -> None:
    state = state_of(
        evaluated("random", None, 20.0),
        evaluated("initialization", 0, "odd"),
        ExpertDone("representation", 0, False, 40.0, [], []),
        ExpertDone("classifier", 0, False, 61.0, [], []),
        ExpertDone("classifier", 1, False, 63.0, [], []),
    )
    assert reference_accuracies(state) == {"random": 20.0, "bound": 62.0}
    assert reference_accuracies(RunState()) == {}
