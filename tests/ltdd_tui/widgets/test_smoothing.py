"""The average of a noisy curve: its values, what gaps do to it, and which weights there are."""

from __future__ import annotations

import numpy as np
import pytest

from ltdd_tui.widgets.smoothing import WEIGHTS, next_weight, smoothed, weight_for


def test_the_average_is_the_weighted_mean_of_all_values_so_far() -> None:
    values = np.array([4.0, 2.0, 3.0, 10.0])
    for weight in WEIGHTS[1:]:
        means = [np.average(values[: n + 1], weights=weight ** np.arange(n, -1, -1.0)) for n in range(4)]
        np.testing.assert_allclose(smoothed(values, weight), means, rtol=1e-9)
    # (0.5 * 4 + 2) / 1.5, not 0.5 * 0.5 * 4 + 0.5 * 2 as without the correction.
    np.testing.assert_allclose(smoothed(values, 0.5)[:2], [4.0, 4.0 / 1.5])


def test_gaps_stay_gaps_and_change_nothing_after_them() -> None:
    values = np.array([np.nan, 4.0, np.nan, 2.0, np.inf])
    np.testing.assert_allclose(smoothed(values, 0.5), [np.nan, 4.0, np.nan, 4.0 / 1.5, np.nan])
    assert np.isnan(smoothed(np.full(3, np.nan), 0.9)).all() and not len(smoothed(np.empty(0), 0.9))
    assert smoothed(values, 0.0) is values


@pytest.mark.parametrize(("points", "weight"), [(0, 0.0), (80, 0.0), (200, 0.8), (2000, 0.98), (10_000, 0.995)])
def test_the_more_points_the_smoother(points: int, weight: float) -> None:
    assert weight_for(points) == weight


def test_weights_end_at_both_ends() -> None:
    assert (next_weight(0.0, -1), next_weight(0.0, 1), next_weight(0.999, 1)) == (0.0, 0.5, 0.999)
