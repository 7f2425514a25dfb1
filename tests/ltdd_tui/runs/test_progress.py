"""The figures over the iterations of a run: checks in their order, and what their accuracy is compared with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engine.run.events import (
    Evaluated,
    ExpertDone,
    ExpertEpoch,
    LabelsAdjusted,
    MatchingStep,
    StageStarted,
    Stamped,
    TeacherReady,
)
from ltdd_tui.runs.figures import checks, expert_splits, reference_accuracies
from ltdd_tui.runs.messages import log_message
from ltdd_tui.runs.state import RunState, fold

NAN = float("nan")


def step(iteration: int, rep: Any = 0.9, cls: Any = 0.5) -> MatchingStep:
    return MatchingStep(iteration, rep, cls, 0.01, 0.04)


@pytest.mark.parametrize("value", ["x", [1, 2], {}, 10**400])
def test_a_step_with_something_else_is_left_out(value: Any) -> None:
    state = state_of(step(1), step(2, value), step(3))
    assert state.steps.iterations.tolist() == [1, 3] and len(state.warnings) == 1


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


def test_the_teacher_is_the_bound_where_there_are_no_experts_and_has_a_table_of_its_own() -> None:
    ready = TeacherReady("balanced_softmax", 2, 66.04, [90.0, 42.08])
    adjusted = LabelsAdjusted(0.3127, 1.24, 3.06, 66.5, [85.0, 48.0])
    teacher = [ExpertDone("teacher", n, False, 60.0 + n, [80.0, 40.0 + 2 * n], [1.0, 1.0]) for n in (0, 1)]
    begun = StageStarted("teacher", 2, "networks"), ExpertEpoch("teacher", 1, 3, 9, 0.5)
    state = state_of(*begun, *teacher, ready)
    assert reference_accuracies(state) == {"bound": 60.5}
    (split,) = expert_splits(state)
    assert (split.title, split.done, split.total, split.accuracy) == ("networks of the teacher", 2, 2, 60.5)
    messages = [log_message(Stamped(0, 0.0, event)) for event in (ready, adjusted)]
    assert messages[0] == "teacher: the mean of 2 networks (balanced softmax), 66.0 % of the test images"
    assert messages[1] == (
        "labels: less 0.313 * log(class share); a class's probability on its own images varies by 1.2 % instead of"
        " 3.1 %; the teacher has 66.5 %"
    )
    assert log_message(Stamped(0, 0.0, replace(adjusted, tau=None))) is None
