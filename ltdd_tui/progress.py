"""How a run went over its iterations, as arrays that a chart draws: matching losses, and accuracies of the checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.run.events import MatchingStep
from ltdd_tui.decimate import Floats
from ltdd_tui.series import Series
from ltdd_tui.state import RunState
from ltdd_tui.step_columns import columns_of

LARGEST = 1e300


class LossTrack:
    """The matching losses of a run as arrays: `iterations`, and `rep` and `cls`, NaN where there is no finite loss.

    As long as a run only goes on, only what is new is copied; arrays that were handed out never change.
    """

    def __init__(self) -> None:
        self._points: Series[MatchingStep] = Series()
        self._rows: Floats = np.empty((3, 0))
        self._filled = 0
        self.iterations, self.rep, self.cls = self._rows

    def take(self, points: Series[MatchingStep]) -> bool:
        """Takes over the points; returns whether anything differs from the last time.

        After a resume the points may be others than before, and in a replay fewer.
        """
        known = points.shares_items(self._points)
        if known and len(points) == len(self._points):
            return False
        if not known:
            self._rows, self._filled = np.empty((3, len(points))), 0
        self._points = points
        self._fill(len(points))
        self.iterations, self.rep, self.cls = self._rows[:, : len(points)]
        return True

    def _fill(self, count: int) -> None:
        """Copies what of the first `count` points is not here yet."""
        if count > self._rows.shape[1]:
            roomier: Floats = np.empty((3, count + count // 2))
            roomier[:, : self._filled] = self._rows[:, : self._filled]
            self._rows = roomier
        if count > self._filled:
            new = columns_of(self._points, self._filled)
            for row, column in zip(self._rows, (new.iteration, new.loss_rep, new.loss_cls), strict=True):
                row[self._filled : count] = column
            self._filled = count


def _floats(values: Sequence[Any]) -> Floats:
    try:
        found = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        found = np.empty((0, 0))
    # A foreign file may hold anything in place of a number.
    return found if found.ndim == 1 else np.array([_float(value) for value in values])


def _float(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and abs(value) < LARGEST else float("nan")


def checks(state: RunState) -> tuple[Floats, Floats]:
    """Iterations and mean accuracies of the checks, from the initialization on."""
    found = {
        key[1]: evaluated.accuracy_mean
        for key, evaluated in state.evaluations.items()
        if key[0] in ("initialization", "check") and isinstance(key[1], int)
    }
    iterations = sorted(found)
    return _floats(iterations), _floats([found[at] for at in iterations])


def reference_accuracies(state: RunState) -> dict[str, float]:
    """What the accuracy is compared with: random images, the start, and as bound the experts, which saw all images."""
    found = {key[0]: evaluated.accuracy_mean for key, evaluated in state.evaluations.items()}
    named: dict[str, float] = {name: _float(found[name]) for name in ("random", "initialization") if name in found}
    trained = [state.experts[kind].done for kind in ("classifier", "representation") if kind in state.experts]
    if done := next((experts for experts in trained if experts), None):
        named["bound"] = float(np.mean([_float(expert.accuracy) for expert in done.values()]))
    return {name: value for name, value in named.items() if not np.isnan(value)}
