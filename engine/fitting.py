"""Rates from steps that were timed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.run.rates import Rate, Step, Work


@dataclass(frozen=True)
class Reading:
    """A step that was timed: its kind, its work, its seconds, and whether it was compiled."""

    step: Step
    work: Work
    seconds: float
    compiled: bool = False


def fit(readings: Sequence[Reading]) -> Rate:
    """The rate with the least squared relative errors among those that are nowhere negative."""
    # Each row over its seconds: a step of a millisecond counts as much as one of a second.
    rows = np.array([reading.work.amounts for reading in readings]) / [[reading.seconds] for reading in readings]
    scales = np.where(rows.any(axis=0), np.linalg.norm(rows, axis=0), 1.0)
    best, least = np.zeros(3), float(len(rows))
    # Three unknowns: trying every set of those that are not zero is a whole solver for non-negative least squares.
    for size in (1, 2, 3):
        for chosen in map(list, itertools.combinations(range(3), size)):
            found = np.zeros(3)
            found[chosen] = np.linalg.lstsq(rows[:, chosen] / scales[chosen], np.ones(len(rows)), rcond=None)[0]
            error = float(np.square(rows @ (found / scales) - 1).sum())
            if found.min() >= 0 and error < least - 1e-12:
                best, least = found / scales, error
    return Rate(*best.tolist())
