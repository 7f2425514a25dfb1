"""Groups of networks that are trained at once: how large a group is, and what is done where it does not fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from engine.context import Context
from engine.run.events import Warned
from engine.run.network_cost import NetworkCost

_KEPT_BUSY_FLOPS = 50e9
"""Of a gradient that keeps a GPU busy by itself: some tenths of a millisecond."""
_MOST_AT_ONCE = 16
_TRAINING_PASSES = 3


def group_size(networks: int, cost: NetworkCost, batch: int, device: torch.device) -> int:
    """How many of `networks` alike are trained at once, on batches of `batch` images."""
    if device.type == "cpu":
        return 1
    wanted = math.ceil(_KEPT_BUSY_FLOPS / (_TRAINING_PASSES * cost.flops * batch))
    return max(1, min(networks, wanted, _MOST_AT_ONCE))


Trained = TypeVar("Trained")


def in_groups(
    context: Context,
    networks: Sequence[int],
    group: int,
    train: Callable[[Sequence[int]], list[Trained]],
    release: Callable[[], object] = lambda: None,
) -> Iterator[tuple[Sequence[int], list[Trained]]]:
    """The numbers of each group and what `train` made of them; what does not fit is tried again, half at a time.

    `release` lets go of what was made for groups of the size that does not fit.
    """
    done = 0
    while done < len(networks):
        members = networks[done : done + group]
        trained = _tried(train, members)
        if trained is None:
            release()
            torch.cuda.empty_cache()
            group = len(members) // 2
            context.emit(Warned(f"the GPU's memory is full: {group} networks are trained at once from here on"))
            continue
        done += len(members)
        yield members, trained


def _tried(train: Callable[[Sequence[int]], list[Trained]], members: Sequence[int]) -> list[Trained] | None:
    """What became of them, or None where several do not fit; the error itself, and with it their memory, is let go."""
    try:
        return train(members)
    except torch.OutOfMemoryError:
        if len(members) == 1:
            raise
        return None
