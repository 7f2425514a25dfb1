"""Figures of several networks, also where one of them is not finite."""

from __future__ import annotations

import math

import pytest

from engine.run.events import finite
from engine.run.metrics import expert_figures, sample_std

NAN = float("nan")


def test_the_standard_deviation_is_that_of_a_sample_and_0_of_a_single_network() -> None:
    assert sample_std([50.0, 54.0]) == pytest.approx(8**0.5)
    assert sample_std([50.0]) == 0.0


@pytest.mark.parametrize("odd", [NAN, float("inf")])
def test_of_values_that_are_not_finite_the_standard_deviation_is_nan(odd: float) -> None:
    assert math.isnan(sample_std([odd, 50.0]))


def test_an_expert_without_a_finite_accuracy_costs_no_run_its_metrics() -> None:
    figures = expert_figures([50.0, NAN], [[60.0, 40.0], [60.0, NAN]], ["many", "few"], [])
    assert finite(figures.model_dump()) == {
        "accuracy_mean": None,
        "accuracy_std": None,
        "repeats": 2,
        "per_class": [60.0, None],
        "groups": {"many": 60.0, "medium": None, "few": None},
    }
