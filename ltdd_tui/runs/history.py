"""What a run has measured over its time, as much of it as a chart can show: losses by iteration, device readings.

Losses are numpy arrays in order of iteration, whatever order they were written in. New steps wait in a list and are
merged into one array when somebody looks: appending costs a tenth of a microsecond, and a merge copies a megabyte at
most. The array itself is never written to, only replaced, so arrays that were handed out keep their values. Memory is
bounded: of very many iterations only every second is kept, then every fourth, ...
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from engine.run.events import DeviceReading, MatchingStep

if TYPE_CHECKING:
    # numpy takes a tenth of a second to import: the list of runs and --help do without it.
    import numpy as np
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"

# More than any published run has (10,000), and more than a chart has columns (some hundred).
MOST = 2**14


class LossHistory:
    """Matching losses, beta and seconds by iteration; a loss that is not known is NaN.

    Of two steps of one iteration the one appended later counts. Of more than MOST iterations only the multiples of
    `stride` are kept; which ones does not depend on the order in which they came. `latest` is the step of the highest
    iteration, be it kept or not.
    """

    def __init__(self) -> None:
        self.latest: MatchingStep | None = None
        self.stride = 1
        # One row a figure, one column an iteration; None until the first look.
        self._columns: Floats | None = None
        self._pending: list[tuple[float, float, float, float, float]] = []
        self._pending_ascends = True

    def append(self, step: MatchingStep) -> None:
        """Takes one more step; raises TypeError or OverflowError, and takes nothing, where a value is no number."""
        values = (
            # Adding 0.0 refuses what is no number, and what is too large for a float, at the price of nothing.
            step.iteration + 0.0,
            math.nan if step.loss_rep is None else step.loss_rep + 0.0,
            math.nan if step.loss_cls is None else step.loss_cls + 0.0,
            step.beta + 0.0,
            step.seconds + 0.0,
        )
        if self.latest is None or step.iteration > self.latest.iteration:
            self.latest = step
        else:
            self._pending_ascends = False
            if step.iteration == self.latest.iteration:
                self.latest = step
        if step.iteration % self.stride == 0:
            self._pending.append(values)
            if len(self._pending) > MOST:
                self.merge()

    def settle(self) -> None:
        """Merges what was appended since the last look, if anything was: an empty history loads no numpy."""
        if self._pending:
            self.merge()

    def merge(self) -> Floats:
        """The array, with what was appended since the last look."""
        import numpy as np

        if self._columns is None:
            self._columns = np.empty((5, 0))
        if not self._pending:
            return self._columns
        columns = np.concatenate([self._columns, np.array(self._pending).T], axis=1)
        if not self._pending_ascends:
            # np.unique gives the first place of each iteration: from behind, that of the step that came last.
            _, last_places = np.unique(columns[0, ::-1], return_index=True)
            columns = columns[:, columns.shape[1] - 1 - last_places]
        while columns.shape[1] > MOST:
            self.stride *= 2
            columns = columns[:, columns[0] % self.stride == 0]
        self._columns, self._pending, self._pending_ascends = columns, [], True
        return columns

    @property
    def iterations(self) -> Floats:
        """The iterations that are kept, ascending."""
        return self._column(0)

    @property
    def loss_rep(self) -> Floats:
        """The loss of the representation at each of `iterations`."""
        return self._column(1)

    @property
    def loss_cls(self) -> Floats:
        """The loss of the classifier at each of `iterations`."""
        return self._column(2)

    @property
    def beta(self) -> Floats:
        """The step size after each of `iterations`."""
        return self._column(3)

    @property
    def total_seconds(self) -> float:
        """How long all iterations took; where not all are kept, estimated from those that are."""
        return self.stride * float(self._column(4).sum())

    def _column(self, place: int) -> Floats:
        column: Floats = self.merge()[place]
        return column

    def until(self, iteration: int) -> LossHistory:
        """The history as it was when `iteration` was the last one."""
        import numpy as np

        past, columns = self.copy(), self.merge()
        past._columns = columns = columns[:, : np.searchsorted(columns[0], iteration, "right")]
        past.latest = None
        if columns.shape[1]:
            last, rep, cls, beta, seconds = columns[:, -1].tolist()
            rep, cls = (None if math.isnan(loss) else loss for loss in (rep, cls))
            past.latest = MatchingStep(int(last), rep, cls, beta, seconds)
        return past

    def copy(self) -> LossHistory:
        """Another history of the same steps, which shares the array."""
        other = LossHistory()
        self.settle()  # before its stride is read, which that may change
        other._columns, other.latest, other.stride = self._columns, self.latest, self.stride
        return other

    def __len__(self) -> int:
        return len(self.iterations)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LossHistory):
            return NotImplemented
        import numpy as np

        # Both are merged first: that may change the stride.
        columns, others = self.merge(), other.merge()
        same = self.latest == other.latest and self.stride == other.stride
        return same and np.array_equal(columns, others, equal_nan=True)


# Some times the columns of a panel.
MOST_READINGS = 512


@dataclass
class ReadingHistory:
    """Device readings in their order; of very many only every second is kept, then every fourth, ..."""

    kept: list[DeviceReading] = field(default_factory=list)
    count: int = 0
    stride: int = 1

    def append(self, reading: DeviceReading) -> None:
        """Takes one more reading."""
        if self.count % self.stride == 0:
            self.kept.append(reading)
        self.count += 1
        if len(self.kept) > MOST_READINGS:
            self.kept, self.stride = self.kept[::2], 2 * self.stride

    def copy(self) -> ReadingHistory:
        """Another history of the same readings."""
        return ReadingHistory(self.kept.copy(), self.count, self.stride)

    def values(self, name: str) -> list[float | None]:
        """One figure of all readings that are kept."""
        return [getattr(reading, name) for reading in self.kept]
