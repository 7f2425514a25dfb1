"""Smooths noisy curves: an exponential moving average with bias correction, and the weights to choose from."""

from __future__ import annotations

import numpy as np

from ltdd_tui.widgets.axis import Floats

WEIGHTS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
"""Weight of the average before against the new value; 0 smooths nothing. 0.9 averages over about 10 points."""
POINTS_SHOWN = 80
"""A chart is some 50 to 100 columns wide: what is noisier than that many points can show is averaged."""


def smoothed(values: Floats, weight: float) -> Floats:
    """The exponential moving average at each place, of the values so far that are numbers; NaN stays NaN.

    Divided by the sum of its weights, which is the bias correction of Kingma and Ba (2015, section 3): without it, its
    start would be pulled to 0.
    """
    known = np.isfinite(values)
    if not weight or not known.any():
        return values
    sums, span = values[known], 1
    # A sum over `span` values, and the one before it with smaller weights, give the sum over twice as many.
    while span < len(sums) and weight**span > np.finfo(float).eps:
        sums[span:] += weight**span * sums[:-span]
        span *= 2
    average = np.full(len(values), np.nan)
    average[known] = sums * (1 - weight) / (1 - weight ** np.arange(1.0, len(sums) + 1))
    return average


def weight_for(points: int) -> float:
    """The smallest weight under which so many points look like a line."""
    return next((weight for weight in WEIGHTS if (1 - weight) * points <= POINTS_SHOWN), WEIGHTS[-1])


def next_weight(weight: float, direction: int) -> float:
    """The next smaller (-1) or larger (1) weight."""
    place = WEIGHTS.index(weight) + direction
    return WEIGHTS[min(max(place, 0), len(WEIGHTS) - 1)]
