"""A curve as spans: they are the extremes of each column, they join, and gaps stay."""

from __future__ import annotations

import numpy as np
import pytest

from ltdd_tui.widgets.axis import Floats, ascending, spans

NAN = float("nan")


def curve(points: int, seed: int = 0) -> tuple[Floats, Floats]:
    random = np.random.default_rng(seed)
    return np.arange(points, dtype=float), random.normal(size=points).cumsum()


@pytest.mark.parametrize("points", [121, 1000, 100_000])
def test_every_column_spans_all_its_points_and_no_more_than_its_neighbors(points: int) -> None:
    x, y = curve(points)
    low, high = spans(x, y, 0, points - 1, 60)
    edges = np.linspace(0, points - 1, 61)
    for column in range(60):
        inside = (x >= edges[column]) & (x < edges[column + 1])
        assert low[column] <= y[inside].min() and high[column] >= y[inside].max()
        first, last = max(np.flatnonzero(inside)[0] - 1, 0), np.flatnonzero(inside)[-1] + 2
        assert y[first:last].min() <= low[column] and high[column] <= y[first:last].max()


@pytest.mark.parametrize("points", [2, 3, 7, 59, 61, 500])
def test_neighboring_columns_join_into_one_line(points: int) -> None:
    low, high = spans(*curve(points), 0, points - 1, 60)
    assert not np.isnan(low).any()
    assert (np.maximum(low[1:], low[:-1]) <= np.minimum(high[1:], high[:-1]) + 1e-12).all()


def test_a_curve_through_few_points_is_straight_between_them() -> None:
    low, high = spans(np.array([0.0, 10.0]), np.array([0.0, 10.0]), 0, 10, 10)
    assert low.tolist() == pytest.approx(range(10)) and high.tolist() == pytest.approx(range(1, 11))


def test_a_place_is_found_on_the_axis_and_not_between_the_values() -> None:
    low, _ = spans(np.array([0.0, 2.0]), np.array([1.0, 100.0]), 0, 2, 2, np.log10)
    assert low.tolist() == pytest.approx([0, 1])


def test_a_gap_as_wide_as_a_column_is_seen_and_nothing_is_drawn_across_it() -> None:
    x, y = curve(1000)
    y[300:400] = NAN
    low, high = spans(x, y, 0, 999, 100)
    assert np.flatnonzero(np.isnan(low)).tolist() == list(range(31, 40)) or np.isnan(low[31:39]).all()
    assert not np.isnan(low[:30]).any() and not np.isnan(low[41:]).any()
    assert (np.isnan(low) == np.isnan(high)).all()


def test_a_point_alone_between_gaps_is_still_there() -> None:
    low, high = spans(np.arange(5.0), np.array([NAN, NAN, 3.0, NAN, NAN]), 0, 4, 50)
    assert np.flatnonzero(~np.isnan(low)).tolist() == [25]
    assert low[25] == high[25] == 3


@pytest.mark.parametrize("y", [[], [NAN, NAN], [1.0]])
def test_nothing_one_point_and_nothing_but_gaps_are_drawn_without_fuss(y: list[float]) -> None:
    low, high = spans(np.arange(float(len(y))), np.array(y), -1, 1, 8)
    assert np.isnan(low).sum() == np.isnan(high).sum() == 8 - sum(value == 1 for value in y)


def test_a_part_of_the_curve_runs_to_both_borders() -> None:
    x, y = np.arange(0.0, 100.0, 10), np.arange(0.0, 100.0, 10)
    low, high = spans(x, y, 33, 57, 6)
    assert low[0] == pytest.approx(33) and high[-1] == pytest.approx(57)


def test_any_points_become_a_curve() -> None:
    x, y = ascending(np.array([3.0, NAN, 1.0, 2.0]), np.array([3.0, 9.0, np.inf, 2.0]))
    assert x.tolist() == [1, 2, 3]
    assert np.isnan(y[0]) and y[1:].tolist() == [2, 3]
