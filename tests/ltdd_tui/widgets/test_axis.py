"""Marks are few, round and told apart; a window never leaves the axis."""

from __future__ import annotations

import random

import pytest

from ltdd_tui.widgets.axis import Window, count_label, linear_marks, log_marks, reading, value_labels


@pytest.mark.parametrize(
    ("low", "high", "count", "labels"),
    [
        (0.0, 10_000.0, 5, ["0", "2000", "4000", "6000", "8000", "10000"]),
        (0.12, 0.9, 4, ["0.2", "0.4", "0.6", "0.8"]),
        (37.2, 71.0, 4, ["40", "50", "60", "70"]),
        (0.701, 0.749, 5, ["0.71", "0.72", "0.73", "0.74"]),
        (-1.0, 1.0, 2, ["-1", "0", "1"]),
    ],
)
def test_linear_marks(low: float, high: float, count: int, labels: list[str]) -> None:
    assert value_labels(linear_marks(low, high, count)) == labels


@pytest.mark.parametrize(
    ("low", "high", "count", "labels"),
    [
        (0.08, 1.2, 4, ["0.1", "0.2", "0.5", "1.0"]),
        (0.01, 10.0, 4, ["0.01", "0.1", "1.0", "10"]),
        (0.7, 0.9, 4, ["0.70", "0.75", "0.80", "0.85", "0.90"]),
        (1e-6, 1e6, 4, ["1e-06", "0.001", "1", "1e+03", "1e+06"]),
    ],
)
def test_logarithmic_marks(low: float, high: float, count: int, labels: list[str]) -> None:
    assert value_labels(log_marks(low, high, count), log=True) == labels


def test_marks_lie_on_the_axis_and_are_not_many() -> None:
    draw = random.Random(0)
    for _ in range(500):
        low, count = 10 ** draw.uniform(-8, 8), draw.randint(1, 12)
        high = low * 10 ** draw.uniform(0.001, 9)
        for marks in (linear_marks(low, high, count), log_marks(low, high, count)):
            assert len(marks) <= 3 * count + 2
            assert all(low * 0.999 <= mark <= high * 1.001 for mark in marks)
            assert len(set(marks)) == len(marks)


@pytest.mark.parametrize("value", [0.0, float("inf"), float("nan")])
def test_an_axis_without_extent_has_one_mark(value: float) -> None:
    assert len(linear_marks(value, value, 4)) == 1


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (800, "800"), (1500, "1.5k"), (12_000, "12k"), (100_000, "100k"), (3e6, "3M")]
)
def test_counts_in_few_letters(value: float, text: str) -> None:
    assert count_label(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.81234, "0.812"), (52.94, "52.9"), (1.0, "1.00"), (float("nan"), "-")])
def test_readings(value: float, text: str) -> None:
    assert reading(value) == text


def test_a_window_stays_on_the_axis_whatever_is_done() -> None:
    draw, whole = random.Random(1), Window(1, 1000)
    window = whole
    for _ in range(1000):
        if draw.random() < 0.5:
            window = window.zoomed(draw.choice([0.5, 2.0]), draw.uniform(window.left, window.right), whole)
        else:
            window = window.panned(draw.uniform(-1, 1), whole)
        assert whole.left - 1e-9 <= window.left < window.right <= whole.right + 1e-9


def test_what_is_zoomed_about_stays_where_it_is() -> None:
    window = Window(0, 100).zoomed(0.5, 30, Window(0, 100))
    assert window == Window(15, 65)
    assert (30 - window.left) / window.width == pytest.approx(0.3)
