"""Groups of networks that are trained at once: how large a group is, and what happens if it does not fit in memory.

On a CPU one network keeps the cores busy. On a GPU a small network leaves it waiting for launches, so several share
each step (docs/decisions/0005).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from engine.context import Context
from engine.run.events import Warned
from engine.run.network_cost import NetworkCost

_BUSY_FLOPS = 50e9
"""Operations of a gradient that keeps a GPU busy by itself, for some tenths of a millisecond."""
_MOST_AT_ONCE = 16
# A gradient is about three forward passes: forward, backward in the images, backward in the weights.
_TRAINING_PASSES = 3

Trained = TypeVar("Trained")


def group_size(networks: int, cost: NetworkCost, batch: int, device: torch.device) -> int:
    """How many of `networks` alike are trained at once, on batches of `batch` images."""
    if device.type == "cpu":
        return 1
    wanted = math.ceil(_BUSY_FLOPS / (_TRAINING_PASSES * cost.flops * batch))
    return max(1, min(networks, wanted, _MOST_AT_ONCE))


def in_groups(
    context: Context,
    networks: Sequence[int],
    group: int,
    train: Callable[[Sequence[int]], list[Trained]],
    release: Callable[[], object] = lambda: None,
) -> Iterator[tuple[Sequence[int], list[Trained]]]:
    """Yields, for each group, the numbers of its networks and what `train` returned for them.

    A group that runs out of memory is halved and retried, with a warning; `release` frees what was compiled or captured
    for the larger group. Raises torch.OutOfMemoryError if a single network does not fit.
    """
    done = 0
    while done < len(networks):
        members = networks[done : done + group]
        trained = _train_if_it_fits(train, members)
        if trained is None:
            release()
            torch.cuda.empty_cache()
            group = len(members) // 2
            context.emit(Warned(f"the GPU's memory is full: {group} networks are trained at once from here on"))
            continue
        done += len(members)
        yield members, trained


def _train_if_it_fits(train: Callable[[Sequence[int]], list[Trained]], members: Sequence[int]) -> list[Trained] | None:
    # A function of its own: when it returns, the error is gone, and with its traceback the tensors that did not fit.
    try:
        return train(members)
    except torch.OutOfMemoryError:
        if len(members) == 1:
            raise
        return None
