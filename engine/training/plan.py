"""How networks are trained on a device: how many at once, compiled or not, how many images at a time. Arithmetic only.

A plan follows from settings and device, never from what is already trained, so that a resumed run gives the same bytes.
Its constants are measured: docs/decisions/0003.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from engine.run.costs import NetworkCost
from engine.run.settings import Compile

FORWARD_PASSES = 3
"""What a gradient costs."""
_EAGER_STEP_SECONDS, _EAGER_FLOPS = 1.5e-3, 60e9
_WORTH_COMPILING_SECONDS = 30.0
_TINY_FLOPS = 100e6
_GPU_FLOPS = 50e9
_MOST_AT_ONCE = 16
_CACHE_BYTES = 36e6


@dataclass(frozen=True)
class Work:
    """The training of like networks in a run: what one costs by its shape, images a step, gradients in all."""

    cost: NetworkCost
    batch: int
    gradients: int

    @property
    def flops(self) -> float:
        """Operations of one gradient."""
        return FORWARD_PASSES * self.cost.flops * self.batch

    @property
    def tiny(self) -> bool:
        """Whether a gradient takes less than what surrounds it."""
        return self.flops < _TINY_FLOPS

    @property
    def eager_seconds(self) -> float:
        """What a CPU would take for all of it uncompiled, roughly."""
        return self.gradients * (_EAGER_STEP_SECONDS + self.flops / _EAGER_FLOPS)


@dataclass(frozen=True)
class Plan:
    """`group` networks at once, from compiled graphs or eagerly, on `chunk` images at a time."""

    group: int
    compiled: bool
    chunk: int


def plan_training(work: Work, networks: int, asked: Compile, device: torch.device) -> Plan:
    """The form that was measured to be fastest for `networks` alike; a compiler is taken for granted."""
    compiled = asked == "always" or (asked == "auto" and work.eager_seconds > _WORTH_COMPILING_SECONDS)
    most = min(networks, _MOST_AT_ONCE)
    if device.type != "cpu":
        return Plan(min(most, math.ceil(_GPU_FLOPS / work.flops)), compiled, work.batch)
    if not work.tiny:
        return Plan(1, compiled, _chunk(work))
    # Compiled, a pass over several tiny networks costs little more than over one; over one alone it gains too little.
    return Plan(most, most > 1, work.batch) if compiled else Plan(1, False, work.batch)


def _chunk(work: Work) -> int:
    """Images whose activations stay in the cache, a divisor of the batch where there is one near."""
    most = min(work.batch, max(1, int(_CACHE_BYTES / (4 * work.cost.activations))))
    divisor = max(size for size in range(1, most + 1) if work.batch % size == 0)
    return divisor if 2 * divisor >= most else most
