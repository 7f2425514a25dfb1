"""Which classes a run's networks take for which: result/confusion.json, of which a foreign one may hold anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from engine.run.folder import read_typed


@dataclass(frozen=True)
class Confusion:
    """Test images by true class (rows) and predicted class (columns), over all networks of the final evaluation."""

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    def ordered(self, order: Sequence[int]) -> Confusion:
        """The same with rows and columns in another order, such as from head to tail."""
        rows = (self.counts[place] for place in order)
        counts = tuple(tuple(row[place] for place in order) for row in rows)
        return Confusion(tuple(self.names[place] for place in order), counts)

    def percents(self) -> list[list[float]]:
        """Percent of each true class that was taken for each class; 0 for a class without test images."""
        return [[100 * count / (sum(row) or 1) for count in row] for row in self.counts]

    def most_confused(self, most: int) -> list[tuple[str, str, float]]:
        """True class, predicted class and percent of the largest errors, the largest first."""
        errors = [
            (percent, true, predicted)
            for true, row in enumerate(self.percents())
            for predicted, percent in enumerate(row)
            if true != predicted and percent > 0
        ]
        errors.sort(key=lambda one: (-one[0], one[1], one[2]))
        return [(self.names[true], self.names[predicted], percent) for percent, true, predicted in errors[:most]]

    def pooled(self, most: int) -> Confusion:
        """At most `most` rows and columns: neighbors are added up, and are named by the first of them."""
        count = len(self.names)
        if count <= most:
            return self
        begins = [place * count // most for place in range(most)] + [count]
        parts = [range(begin, end) for begin, end in pairwise(begins)]
        counts = tuple(tuple(sum(self.counts[t][p] for t in true for p in pred) for pred in parts) for true in parts)
        return Confusion(tuple(self.names[part[0]] for part in parts), counts)


class _File(BaseModel):
    model_config = ConfigDict(strict=True)

    class_names: list[str]
    final: list[list[Annotated[int, Field(ge=0)]]]


def read_confusion(path: Path) -> Confusion | None:
    """The matrix of a finished run; None where there is none, or none that makes sense."""
    file = read_typed(path, _File)
    if file is None:
        return None
    names, rows = file.class_names, file.final
    is_square = len(rows) == len(names) and all(len(row) == len(names) for row in rows)
    if not names or not is_square:
        return None
    return Confusion(tuple(names), tuple(map(tuple, rows)))
