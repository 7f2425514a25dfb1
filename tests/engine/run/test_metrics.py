"""Figures of several networks, also where one of them is not finite."""

from __future__ import annotations

import math

import pytest

from engine.run.events import finite
from engine.run.metrics import (
    class_intervals,
    expert_figures,
    group_means,
    sample_std,
    sound_metrics,
    wilson_interval,
)

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


@pytest.mark.parametrize(
    ("right", "images", "low", "high"),
    # R. G. Newcombe, Statistics in Medicine 17, 1998, 857-872, table I, method 3 (score, no continuity correction).
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_wilson_interval_is_that_of_the_literature(right: int, images: int, low: float, high: float) -> None:
    assert wilson_interval(100 * right / images, images) == pytest.approx([100 * low, 100 * high], abs=0.005)


def test_an_accuracy_of_100_percent_on_one_image_says_little() -> None:
    assert wilson_interval(100.0, 1) == pytest.approx([20.65, 100.0], abs=0.005)
    assert wilson_interval(0.0, 1) == pytest.approx([0.0, 79.35], abs=0.005)


def test_only_classes_with_few_test_images_have_an_interval() -> None:
    intervals = class_intervals([50.0, 50.0, 50.0, None], [10, 9, 2, 0])
    assert [interval is not None for interval in intervals] == [False, True, True, False]
    assert class_intervals([50.0, 50.0], [2]) == [None, None], "counts of other classes say nothing"


def test_a_class_without_test_images_is_left_out_of_its_group() -> None:
    assert group_means([80.0, NAN, None, 40.0], ["many", "many", "few", "few"]) == {
        "many": 80.0,
        "medium": None,
        "few": 40.0,
    }


def test_a_damaged_regime_is_left_out_and_the_others_stay() -> None:
    sound = {"accuracy_mean": 50.0, "accuracy_std": 1.0, "repeats": 2, "per_class": [50.0], "groups": {}}
    damaged = {"final": sound | {"per_class": ["half"]}, "random": sound}
    metrics, faults = sound_metrics({"final": sound, "regimes": {"online": damaged, "stored": {"final": sound}}})
    assert metrics.final is not None and metrics.final.accuracy_mean == 50.0
    assert metrics.regimes is not None and list(metrics.regimes) == ["stored"]
    assert [fault.where for fault in faults] == ["metrics.json: regimes.online.final.per_class.0"]
