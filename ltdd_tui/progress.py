"""How a run went over its iterations, as arrays that a chart draws: matching losses, and accuracies of the checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from engine.run.events import MatchingStep
from ltdd_tui.decimate import Floats
from ltdd_tui.series import Series
from ltdd_tui.state import RunState

LARGEST = 1e300


class LossTrack:
    """The matching losses of a run as arrays; only what is new is converted, however often it is asked for more."""

    def __init__(self) -> None:
        self._points: Series[MatchingStep] = Series()
        self._columns = np.empty((3, 0))

    def take(self, points: Series[MatchingStep]) -> bool:
        """Takes over the points; returns whether anything differs from the last time.

        After a resume the points may be others than before, and in a replay fewer.
        """
        wanted, continues = len(points), points.shares_items(self._points)
        if continues and wanted == len(self._points):
            return False
        known = min(wanted, len(self._points)) if continues else 0
        if wanted > self._columns.shape[1] or not continues:
            # A new array where the points are others: curves on the screen still show the old one.
            larger = np.empty((3, wanted * 3 // 2 + 64))
            larger[:, :known] = self._columns[:, :known]
            self._columns = larger
        self._columns[:, known:wanted] = _columns(points[known:wanted])
        self._points = points
        return True

    @property
    def iterations(self) -> Floats:
        """The iteration of each point."""
        return self._columns[0, : len(self._points)]

    @property
    def rep(self) -> Floats:
        """The loss of the representation, NaN where it was not finite."""
        return self._columns[1, : len(self._points)]

    @property
    def cls(self) -> Floats:
        """The loss of the classifier, NaN where it was not finite or the method has none."""
        return self._columns[2, : len(self._points)]


def _columns(points: Sequence[MatchingStep]) -> Floats:
    fields: tuple[Callable[[MatchingStep], Any], ...] = (
        lambda point: point.iteration,
        lambda point: point.loss_rep,
        lambda point: point.loss_cls,
    )
    return np.array([_floats([field(point) for point in points]) for field in fields])


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
