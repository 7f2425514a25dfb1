"""The order in which real images are shown: shuffled, or class by class in turn."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def shuffled_batches(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Indices 0..count-1 in random order, each once, in batches of `batch_size` (the last may be smaller)."""
    yield from torch.randperm(count, generator=generator).split(batch_size)


def class_aware_batches(
    labels: Tensor, num_classes: int, images_per_turn: int, batch_size: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """One class-balanced epoch of max n_c * C draws: classes take turns in random order, `images_per_turn` each.

    Within a class, images come in random order and start over when all were shown (method.md section 2).
    """
    members = [torch.nonzero(labels == c).flatten() for c in range(num_classes)]
    largest = max(len(member) for member in members)
    draws = torch.stack([_endless(member, largest, generator) for member in members])  # (C, max n_c)
    turns = []
    for start in range(0, largest, images_per_turn):
        order = torch.randperm(num_classes, generator=generator)
        turns.append(draws[order, start : start + images_per_turn].flatten())
    yield from torch.cat(turns).split(batch_size)


def _endless(members: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """`length` members, reshuffled at every pass over them."""
    passes = -(-length // len(members))
    order = torch.cat([torch.randperm(len(members), generator=generator) for _ in range(passes)])
    return members[order[:length]]
