"""What can be relied on of an event's values: a number that is not finite was written as null, a list may be short."""

from __future__ import annotations

import math
from collections.abc import Sequence


def number(value: float | None) -> float | None:
    """The value if it is known and finite."""
    return value if value is not None and math.isfinite(value) else None


def numbers(values: Sequence[float | None], count: int) -> list[float | None]:
    """`count` numbers, one a class; none of them is known where the list has another length."""
    return [number(value) for value in values] if len(values) == count else [None] * count


def are_percents(*values: float | None) -> bool:
    """Whether all of them are known and can be accuracies."""
    return all(value is not None and 0 <= value <= 100 for value in values)


def mean(values: Sequence[float | None]) -> float | None:
    """The mean of the numbers that are known, if it is finite."""
    known = [value for value in values if value is not None]
    return number(sum(known) / len(known)) if known else None


def difference(value: float | None, other: float | None) -> float | None:
    """`value` less `other`, where both are known."""
    return None if value is None or other is None else value - other
