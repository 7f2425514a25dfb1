"""The names of a sweep's cells, which are those of their run folders: made of the values of the grid."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from engine.run.errors import SettingsError, shortened

LABELS = {
    "dataset.imbalance_factor": "if",
    "dataset.name": "",
    "method": "",
    "experts.network": "",
    "evaluate.arch": "",
}
"""What stands before a value in a cell's name, where it is not the last part of the key."""
LONGEST_NAME = 120


def cell_names(grid: Mapping[str, Sequence[Any]]) -> list[str]:
    """A name for each cell, in the grid's order, all different: its values joined by `-`, as in ltdd-if100-ipc10-seed0.

    A method and a network are their own name; another value stands behind the last part of its key (`lambda_cls0.5`),
    or `if`. A key or value with one choice alone is named too. Raises SettingsError for a name that is too long.
    """
    labels = [LABELS.get(key, key.rpartition(".")[2]) for key in grid]
    parts = [[label + name for name in value_names(own)] for label, own in zip(labels, grid.values(), strict=True)]
    names = _numbered(list(map("-".join, itertools.product(*parts))))
    if longest := [name for name in names if len(name) > LONGEST_NAME]:
        raise SettingsError(f"a cell's name would have {len(longest[0])} letters: {shortened(longest[0])}", "grid")
    return names


def value_names(values: Sequence[Any]) -> list[str]:
    """Each of a key's values as a part of a name, all different.

    Of a fraction six digits, and all where six do not tell it from another value; what is still alike gets a number.
    """
    names = [in_a_name(value) for value in values]
    if len(set(names)) < len(names):
        names = [in_a_name(value, repr) for value in values]
    return _numbered(names)


def in_a_name(value: Any, of_fraction: Callable[[float], str] = "{:g}".format) -> str:
    """A grid value as a part of a folder's name."""
    if isinstance(value, list):
        return "-".join(in_a_name(own, of_fraction) for own in value) or "none"
    is_huge = isinstance(value, int) and 10**15 <= abs(value) < 10**300
    if isinstance(value, float) or is_huge:
        # 1e30 and 1e-30 are two values.
        text = of_fraction(float(value)).replace("e+", "e")
    else:
        text = "none" if value is None else str(value).rstrip("/").rpartition("/")[2]
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip(".")


def _numbered(names: Sequence[str]) -> list[str]:
    """The names; one that stands in the list before gets -2, -3 ... behind it."""
    used, told = set(names), dict[str, None]()
    numbers = defaultdict[str, Iterator[int]](lambda: itertools.count(2))
    for name in names:
        numbered = (f"{name}-{number}" for number in numbers[name])
        own = name if name not in told else next(other for other in numbered if other not in used)
        used.add(own)
        told[own] = None
    return list(told)
