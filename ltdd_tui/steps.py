"""The outer iterations of a run, in whatever order a file tells of them: put in order only when they are looked at.

Of very many not all are kept, so that memory does not grow with a run without end.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from engine.run.events import MatchingStep
from ltdd_tui.series import Series
from ltdd_tui.step_columns import StepColumns, columns_of

# More than any published run has (10,000), and than a chart has columns (some hundred).
MOST = 2**14


class Held(NamedTuple):
    """The steps of those iterations that are multiples of `stride`, by ascending iteration or as they came."""

    steps: Series[MatchingStep]
    ascending: bool = True
    stride: int = 1


class Steps:
    """Immutable: `with_step` gives longer ones that share the steps of these. `last` is the highest iteration.

    Of two steps of one iteration the later one counts. Of more than MOST every second iteration is kept, or every
    fourth, and so on: which ones does not depend on the order in which they came.
    """

    __slots__ = ("_held", "last")

    def __init__(self, held: Held | None = None) -> None:
        # In one, since one thread may put in order what another one goes on from.
        self._held = held or Held(Series.over(StepColumns()))
        steps = self._held.steps
        self.last = steps[-1].iteration if steps else None

    def with_step(self, step: MatchingStep) -> Steps:
        """These and one more; raises TypeError or OverflowError where a value of it is no number."""
        longer = Steps.__new__(Steps)
        held = self._held
        ahead = self.last is None or step.iteration > self.last
        longer.last = step.iteration if ahead else self.last
        if step.iteration % held.stride == 0:
            held = Held(held.steps.appended(step), held.ascending and ahead, held.stride)
            if len(held.steps) > (MOST if held.ascending else 2 * MOST):
                held = _in_order(held)
        longer._held = held
        return longer

    def until(self, iteration: int) -> Steps:
        """Those up to an iteration."""
        steps = self.in_order()
        kept = steps.first(bisect.bisect_right(steps, iteration, key=attrgetter("iteration")))
        return Steps(self._held._replace(steps=kept))

    @property
    def seconds(self) -> float:
        """How long they took together; where not all are kept, as those tell that are."""
        return self._held.stride * sum(columns_of(self.in_order()).seconds)

    def in_order(self) -> Series[MatchingStep]:
        """The steps by ascending iteration; sorted at the first call, and what is appended later goes on from there."""
        if not self._held.ascending:
            self._held = _in_order(self._held)
        return self._held.steps

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Steps) and self.last == other.last and self.in_order() == other.in_order()

    __hash__ = None  # type: ignore[assignment]


def _in_order(held: Held) -> Held:
    """By ascending iteration, the last one to come of each, and no more of them than MOST."""
    columns, stride = columns_of(held.steps), held.stride
    iteration = columns.iteration
    places: Sequence[int] = range(len(iteration))
    if not held.ascending:
        latest = dict(zip(iteration, places, strict=True))
        places = [latest[at] for at in sorted(latest)]
    while len(places) > MOST:
        stride *= 2
        places = [place for place in places if iteration[place] % stride == 0]
    return Held(Series.over(columns.picked(places)), True, stride)
