"""Series that grow without being copied, and the columns that keep matching steps small."""

from __future__ import annotations

import tracemalloc

import pytest

from engine.run.events import MatchingStep
from ltdd_tui.runs.loss_history import Series, StepColumns, columns_of


def step(iteration: int) -> MatchingStep:
    return MatchingStep(iteration, iteration / 7, None if iteration % 3 else 0.5, 0.01, 0.2)


def listed() -> Series[MatchingStep]:
    return Series()


def in_columns() -> Series[MatchingStep]:
    return Series.over(StepColumns())


@pytest.mark.parametrize("empty", [listed, in_columns])
def test_older_views_and_branches_never_see_what_others_append(empty: type) -> None:
    three = empty().appended(step(1)).appended(step(2)).appended(step(3))
    four = three.appended(step(4))
    other = three.first(2).appended(step(9))
    assert [point.iteration for point in three] == [1, 2, 3]
    assert [point.iteration for point in four] == [1, 2, 3, 4]
    assert [point.iteration for point in other] == [1, 2, 9]
    assert four.first(3) == three and four.shares_items(three) and not other.shares_items(three)
    assert four[-1] == step(4) and four[1:3] == [step(2), step(3)]


def test_columns_give_back_what_they_took() -> None:
    steps = [step(iteration) for iteration in range(50)]
    assert list(Series.over(StepColumns(), steps)) == steps
    for kept in (Series(steps), Series.over(StepColumns(), steps)):
        columns = columns_of(kept.first(10))
        assert list(columns) == steps[:10]


@pytest.mark.parametrize("bad", [MatchingStep("x", 0.1, 0.1, 0.1, 0.1), MatchingStep(7, 0.1, 0.1, None, 0.1)])  # type: ignore[arg-type]
def test_columns_take_nothing_of_a_step_that_is_none(bad: MatchingStep) -> None:
    columns = StepColumns()
    with pytest.raises(TypeError):
        columns.append(bad)
    columns.append(step(3))
    assert list(columns) == [step(3)]


def test_a_step_takes_less_than_fifty_bytes() -> None:
    tracemalloc.start()
    try:
        kept = Series.over(StepColumns(), (step(iteration) for iteration in range(20_000)))
        assert tracemalloc.get_traced_memory()[0] / len(kept) < 50
    finally:
        tracemalloc.stop()
