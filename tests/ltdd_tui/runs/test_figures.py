"""Class accuracies: every class against its marks, from head to tail, and honest about figures that do not fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.run import events as e
from ltdd_tui.runs.figures import class_accuracies, norms_by_class
from ltdd_tui.runs.rows import rows_from_state
from ltdd_tui.runs.state import RunState

NAMES, COUNTS, GROUPS = ["tail", "head", "middle"], [5, 900, 60], ["few", "many", "medium"]


def evaluated(subject: str, iteration: int | None, per_class: list[Any], mean: float | None = 50.0) -> e.Evaluated:
    groups = {"many": per_class[1] if len(per_class) > 1 else None, "medium": None, "few": per_class[0]}
    return e.Evaluated(subject, iteration, "convnet", 1, mean, 0.0, per_class, groups, [1.0, 3.0, 2.0])  # type: ignore[arg-type]


def state_of(*events: e.Evaluated, experts: dict[Any, e.ExpertDone] | None = None) -> RunState:
    return RunState(
        data=e.DataReady(NAMES, COUNTS, GROUPS, "by images", 30, 9.0),
        evaluations={(event.subject, event.iteration, event.arch, event.repeats): event for event in events},
        experts_done=experts or {},
    )


def expert(per_class: list[Any], norms: list[float]) -> e.ExpertDone:
    return e.ExpertDone("representation", 0, False, 50.0, per_class, norms)


def test_classes_go_from_head_to_tail_with_their_marks() -> None:
    accuracies = class_accuracies(
        state_of(
            evaluated("random", None, [1.0, 2.0, 3.0]),
            evaluated("initialization", 0, [10.0, 20.0, 30.0]),
            evaluated("check", 0, [11.0, 21.0, 31.0]),
            evaluated("check", 50, [15.0, 20.0, 33.0]),
            experts={
                ("representation", 0): expert([0.0, 90.0, 0.0], [1, 1, 1]),
                ("classifier", 0): expert([40.0, 80.0, 60.0], [1, 1, 1]),
                ("classifier", 1): expert([41.0, 80.0, 60.0], [1, 1, 1]),
            },
        )
    )
    assert [(c.name, c.count, c.group) for c in accuracies.classes] == [
        ("head", 900, "many"),
        ("middle", 60, "medium"),
        ("tail", 5, "few"),
    ]
    tail = accuracies.classes[-1]
    assert (tail.random, tail.start, tail.value, tail.change) == (1.0, 10.0, 15.0, 4.0)
    # The bound: the classifier experts where there are any, and their mean.
    assert (tail.bound, accuracies.bound_of) == (40.5, "classifier experts")
    assert accuracies.groups == {"many": 20.0, "medium": None, "few": 15.0}


def test_few_test_images_give_an_interval() -> None:
    state = state_of(evaluated("check", 50, [100.0, 20.0, 33.0]))
    assert state.data is not None
    state.data = replace(state.data, test_counts=[1, 10, 9])
    accuracies = class_accuracies(state)
    assert [(one.tests, one.interval is not None) for one in accuracies.classes] == [(10, False), (9, True), (1, True)]
    assert accuracies.classes[-1].interval == pytest.approx([20.65, 100.0], abs=0.005)
    assert accuracies.tests_of_each is None
    state.data = replace(state.data, test_counts=[1, 10])
    assert [(one.tests, one.interval) for one in class_accuracies(state).classes] == [(None, None)] * 3
    for counts, each in (([12] * 3, 12), ([9] * 3, None), ([12, 12, 13], None)):
        state.data = replace(state.data, test_counts=counts)
        assert class_accuracies(state).tests_of_each == each


def test_a_class_without_test_images_costs_a_set_no_row() -> None:
    state = state_of(evaluated("final", 50, [None, 20.0, 33.0]))
    assert rows_from_state(state) == []
    assert state.data is not None
    state.data = replace(state.data, test_counts=[0, 10, 9])
    assert [row.per_class for row in rows_from_state(state)] == [[None, 20.0, 33.0]]


def test_the_final_figure_comes_last_and_the_best_is_as_it_was_evaluated_at_the_end() -> None:
    checks = [evaluated("check", at, [1.0, 1.0, 1.0], mean) for at, mean in ((0, 40.0), (50, 55.0), (100, 52.0))]
    running = class_accuracies(state_of(*checks))
    assert running.last is checks[-1] and running.best is checks[1]
    final, best = evaluated("final", 100, [2.0, 2.0, 2.0], 51.0), evaluated("best", 50, [3.0, 3.0, 3.0], 54.0)
    done = class_accuracies(state_of(*checks, final, best))
    assert done.last is final and done.best is best
    assert done.classes[0].change == 1.0


def test_checks_that_come_out_of_order_count_by_their_iteration() -> None:
    later, earlier = evaluated("check", 50, [9.0, 9.0, 9.0]), evaluated("check", 10, [1.0, 1.0, 1.0])
    assert class_accuracies(state_of(later, earlier)).last is later


def test_a_list_of_the_wrong_length_is_told_and_not_drawn() -> None:
    accuracies = class_accuracies(state_of(evaluated("check", 50, [9.0, 9.0])))
    assert [c.value for c in accuracies.classes] == [None, None, None]
    assert accuracies.misfits == ("check @ 50 names 2 classes of 3",)


def test_values_that_are_not_finite_are_unknown_and_the_rest_stands() -> None:
    accuracies = class_accuracies(
        state_of(evaluated("check", 50, [None, float("nan"), 7.0]), evaluated("check", 0, [1.0, 1.0, 1.0]))
    )
    assert [(c.value, c.change) for c in accuracies.classes] == [(None, None), (7.0, 6.0), (None, None)]
    assert accuracies.highest == 7.0


def test_a_mean_that_is_unknown_is_never_the_best() -> None:
    known = evaluated("check", 0, [1.0, 1.0, 1.0], 30.0)
    assert class_accuracies(state_of(evaluated("check", 50, [1.0, 1.0, 1.0], None), known)).best is known


def test_without_data_there_are_no_classes() -> None:
    assert class_accuracies(RunState()).classes == ()


def test_data_that_contradicts_itself_is_taken_as_far_as_it_goes() -> None:
    state = state_of(evaluated("check", 0, [1.0, 2.0, 3.0]))
    assert state.data is not None
    short = replace(state, data=replace(state.data, class_counts=[5], groups=["few"]))
    assert [(c.name, c.count, c.group) for c in class_accuracies(short).classes] == [
        ("tail", None, "few"),
        ("head", None, ""),
        ("middle", None, ""),
    ]


def test_balance_is_measured_against_the_mean_and_leans_to_the_head() -> None:
    state = state_of(
        evaluated("check", 0, [1.0, 1.0, 1.0]),
        experts={("representation", 0): expert([1.0] * 3, [1.0, 4.0, 1.0])},
    )
    experts, ours = norms_by_class(state).series
    # Head to tail: 4, 1, 1 over their mean 2; and 3, 2, 1 over 2.
    assert (experts.label, experts.relative, experts.lean) == ("representation experts", (2.0, 0.5, 0.5), 4.0)
    assert (ours.label, ours.relative, ours.lean) == ("synthetic set", (1.5, 1.0, 0.5), 3.0)
    assert norms_by_class(state).groups == ("many", "medium", "few")


@pytest.mark.parametrize("norms", [[0.0, 0.0, 0.0], [None, None, None], [1.0]])
def test_norms_that_say_nothing_are_left_out(norms: list[Any]) -> None:
    assert norms_by_class(state_of(experts={("representation", 0): expert([1.0] * 3, norms)})).series == ()
