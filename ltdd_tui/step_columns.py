"""Outer iterations in columns: 40 bytes each, where objects take seven times that and the garbage collector's time.

A screen holds the losses of a run of many hours, and hardly grows with it.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from typing import overload

from engine.run.events import MatchingStep
from ltdd_tui.series import Series


class StepColumns:
    """What Series asks of a list, for MatchingStep; a loss that is not known is NaN in its column, None in its step."""

    __slots__ = ("beta", "iteration", "loss_cls", "loss_rep", "seconds")

    def __init__(self) -> None:
        self.iteration = array("q")
        self.loss_rep, self.loss_cls, self.beta, self.seconds = (array("d") for _ in range(4))

    def append(self, step: MatchingStep) -> None:
        """Takes one more; where a value is no number it raises TypeError or OverflowError, and nothing is taken."""
        iteration = array("q", (step.iteration,))
        losses = [math.nan if value is None else value for value in (step.loss_rep, step.loss_cls)]
        loss_rep, loss_cls, beta, seconds = array("d", (*losses, step.beta, step.seconds))
        self.loss_rep.append(loss_rep)
        self.loss_cls.append(loss_cls)
        self.beta.append(beta)
        self.seconds.append(seconds)
        # Last, since it tells the length: who reads in another thread finds the other columns filled.
        self.iteration.extend(iteration)

    def picked(self, places: Sequence[int]) -> StepColumns:
        """The steps at these places, in their order."""
        part = StepColumns()
        for name in self.__slots__:
            column = getattr(self, name)
            setattr(part, name, array(column.typecode, map(column.__getitem__, places)))
        return part

    def __len__(self) -> int:
        return len(self.iteration)

    @overload
    def __getitem__(self, index: int) -> MatchingStep: ...
    @overload
    def __getitem__(self, index: slice) -> StepColumns: ...
    def __getitem__(self, index: int | slice) -> MatchingStep | StepColumns:
        if isinstance(index, slice):
            part = StepColumns()
            for name in self.__slots__:
                setattr(part, name, getattr(self, name)[index])
            return part
        return MatchingStep(
            self.iteration[index],
            _known(self.loss_rep[index]),
            _known(self.loss_cls[index]),
            self.beta[index],
            self.seconds[index],
        )

    def __iter__(self) -> Iterator[MatchingStep]:
        return (self[place] for place in range(len(self)))


def columns_of(points: Series[MatchingStep], since: int = 0) -> StepColumns:
    """The columns of the points from place `since` on, copied: they stay as they are while the run goes on."""
    stored = points.stored(since)
    if isinstance(stored, StepColumns):
        return stored
    columns = StepColumns()
    for step in stored:
        columns.append(step)
    return columns


def _known(loss: float) -> float | None:
    return loss if loss == loss else None
