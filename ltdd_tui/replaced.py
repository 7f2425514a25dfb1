"""dataclasses.replace for what is replaced a hundred thousand times in a replay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

Instance = TypeVar("Instance")


def replaced(instance: Instance, changes: Mapping[str, Any]) -> Instance:
    """A copy of a frozen dataclass with some fields changed, at a third of the price: nothing is checked."""
    copy: Instance = object.__new__(type(instance))
    copy.__dict__.update(instance.__dict__, **changes)
    return copy
