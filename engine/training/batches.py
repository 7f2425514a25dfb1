"""The augmented batches of several networks at once, prepared some steps ahead: many small operations become few."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.data.augment import Draw, apply, draw
from engine.run.settings import AugmentationName
from engine.training.sgd import Batch

# The order in which real images are shown: shuffled, or class by class in turn.


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


_AHEAD_BYTES = {"cpu": 2**22, "cuda": 2**26}
"""Augmented images prepared together: enough to hide what an operation costs; on the CPU few enough for its cache."""


@dataclass(frozen=True)
class Source:
    """What one network is shown: images (N, channels, H, W), targets (N,) or (N, C), and in which order.

    `order` gives the indices (B,) of batch after batch; the augmentations are drawn from `generator` in between.
    """

    images: Tensor
    targets: Tensor
    order: Iterator[Tensor]
    generator: torch.Generator

    @staticmethod
    def shuffled(images: Tensor, targets: Tensor, batch_size: int, epochs: int, generator: torch.Generator) -> Source:
        """All images in random order, each once an epoch."""
        order = (shuffled_batches(len(images), batch_size, generator) for _ in range(epochs))
        return Source(images, targets, itertools.chain.from_iterable(order), generator)


@dataclass(frozen=True)
class _Shown:
    """What one network sees at one step."""

    indices: Tensor
    augmentation: Draw


def augmented_batches(sources: Sequence[Source], augmentation: Sequence[AugmentationName]) -> Iterator[Batch]:
    """The batch of each step, for as long as the sources have any; all have the same number, of the same sizes."""
    return itertools.chain.from_iterable(augmented_blocks(sources, augmentation))


def augmented_blocks(sources: Sequence[Source], augmentation: Sequence[AugmentationName]) -> Iterator[list[Batch]]:
    """The same in lists of some steps that were prepared together."""
    images = sources[0].images
    ahead = _AHEAD_BYTES.get(images.device.type, 2**22)
    steps = zip(*(_shown(source, augmentation) for source in sources), strict=True)
    for first in steps:
        step_bytes = images[0].nbytes * sum(len(own.indices) for own in first)
        yield _prepared(sources, [first, *itertools.islice(steps, max(0, ahead // step_bytes - 1))])


def _shown(source: Source, augmentation: Sequence[AugmentationName]) -> Iterator[_Shown]:
    # One network's draws come in the order in which they would if it were trained alone.
    for indices in source.order:
        yield _Shown(indices, draw(augmentation, len(indices), source.images.shape[-1], source.generator))


def _prepared(sources: Sequence[Source], steps: list[tuple[_Shown, ...]]) -> list[Batch]:
    images = [_augmented(source.images, own) for source, own in zip(sources, zip(*steps, strict=True), strict=True)]
    targets = [_picked(source.targets, own) for source, own in zip(sources, zip(*steps, strict=True), strict=True)]
    return [
        (_stacked(shown), _stacked(wanted))
        for shown, wanted in zip(zip(*images, strict=True), zip(*targets, strict=True), strict=True)
    ]


def _augmented(images: Tensor, steps: Sequence[_Shown]) -> list[Tensor]:
    """One network's images of each step; steps of one kind of augmentation go through it together."""
    done: dict[int, Tensor] = {}
    for kind in dict.fromkeys(own.augmentation.name for own in steps):
        same = [number for number, own in enumerate(steps) if own.augmentation.name == kind]
        amounts = torch.cat([steps[number].augmentation.amounts for number in same])
        own = [steps[number] for number in same]
        changed = apply(Draw(kind, amounts), torch.cat(_picked(images, own)))
        done.update(zip(same, changed.split([len(shown.indices) for shown in own]), strict=True))
    return [done[number] for number in range(len(steps))]


def _picked(values: Tensor, steps: Sequence[_Shown]) -> list[Tensor]:
    sizes = [len(own.indices) for own in steps]
    indices = torch.cat([own.indices for own in steps])
    return list(values[indices.to(values.device)].split(sizes))


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    return parts[0][None] if len(parts) == 1 else torch.stack(list(parts))
