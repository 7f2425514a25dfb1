"""Augmented batches of real or synthetic images, for one network or several at once, prepared some steps ahead.

Augmenting step by step would be many small operations. Steps are prepared together instead, and those with the same
kind of augmentation go through it as one batch; what each network sees stays what it would see if trained alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.data.augment import Augmentation, CutMix, apply, draw
from engine.run.fields import AugmentationName
from engine.training.sgd import Batch

# ---- The order in which images are shown ----


def shuffled_batches(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Indices 0..count-1 in random order, each once, in batches of `batch_size` (the last may be smaller)."""
    yield from torch.randperm(count, generator=generator).split(batch_size)


def class_aware_batches(
    labels: Tensor, num_classes: int, images_per_turn: int, batch_size: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """One class-balanced epoch of max n_c * C draws: classes take turns in random order, `images_per_turn` each.

    Within a class, images come in random order and start over when all were shown (docs/method.md, section 2).
    """
    members = [torch.nonzero(labels == c).flatten() for c in range(num_classes)]
    largest = max(len(member) for member in members)
    draws = torch.stack([_reshuffled(member, largest, generator) for member in members])  # (C, max n_c)
    turns = []
    for start in range(0, largest, images_per_turn):
        order = torch.randperm(num_classes, generator=generator)
        turns.append(draws[order, start : start + images_per_turn].flatten())
    yield from torch.cat(turns).split(batch_size)


def _reshuffled(members: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """`length` members, reshuffled at every pass over them."""
    passes = -(-length // len(members))
    order = torch.cat([torch.randperm(len(members), generator=generator) for _ in range(passes)])
    return members[order[:length]]


@dataclass(frozen=True)
class TrainingStream:
    """What one network is shown: images (N, channels, H, W), targets (N,) or (N, C), and in which order.

    order: the indices (B,) of batch after batch; the augmentations are drawn from `generator` in between. cutmix: alpha
    of the CutMix that follows the augmentation, 0 for none; it needs targets (N, C).
    """

    images: Tensor
    targets: Tensor
    order: Iterator[Tensor]
    generator: torch.Generator
    cutmix: float = 0.0

    @staticmethod
    def shuffled(
        images: Tensor, targets: Tensor, batch_size: int, epochs: int, generator: torch.Generator, cutmix: float = 0.0
    ) -> TrainingStream:
        """All images in random order, each once an epoch."""
        order = (shuffled_batches(len(images), batch_size, generator) for _ in range(epochs))
        return TrainingStream(images, targets, itertools.chain.from_iterable(order), generator, cutmix)


# ---- Augmented batches, prepared ahead ----

_AHEAD_BYTES = {"cpu": 2**22, "cuda": 2**26}
"""Augmented images prepared together: enough to hide what an operation costs, and few enough for a CPU's cache."""


@dataclass(frozen=True)
class _NetworkStep:
    """The indices (B,), the augmentation and the mixing, if any, of one step of one network."""

    indices: Tensor
    augmentation: Augmentation
    cutmix: CutMix | None


def augmented_batches(streams: Sequence[TrainingStream], augmentation: Sequence[AugmentationName]) -> Iterator[Batch]:
    """The batch of each step, until the streams end; all must have the same number of batches, of the same sizes."""
    return itertools.chain.from_iterable(augmented_blocks(streams, augmentation))


def augmented_blocks(
    streams: Sequence[TrainingStream], augmentation: Sequence[AugmentationName]
) -> Iterator[list[Batch]]:
    """The same batches, in lists of those that were prepared together."""
    images = streams[0].images
    ahead_bytes = _AHEAD_BYTES.get(images.device.type, 2**22)
    steps = zip(*(_network_steps(stream, augmentation) for stream in streams), strict=True)
    for first in steps:
        step_bytes = images[0].nbytes * sum(len(of_network.indices) for of_network in first)
        yield _prepared(streams, [first, *itertools.islice(steps, max(0, ahead_bytes // step_bytes - 1))])


def _prepared(streams: Sequence[TrainingStream], block: list[tuple[_NetworkStep, ...]]) -> list[Batch]:
    # From one tuple of networks a step to one list of steps a network, and back to one batch a step.
    by_network = list(zip(streams, zip(*block, strict=True), strict=True))
    images = zip(*(_augmented(stream.images, steps) for stream, steps in by_network), strict=True)
    targets = zip(*(_mixed_targets(stream.targets, steps) for stream, steps in by_network), strict=True)
    return [(_stacked(of_images), _stacked(of_targets)) for of_images, of_targets in zip(images, targets, strict=True)]


def _network_steps(stream: TrainingStream, augmentation: Sequence[AugmentationName]) -> Iterator[_NetworkStep]:
    # A generator, so that a network's draws come in the order in which they would if it were trained alone: the
    # augmentation of a step before the shuffle of the next epoch.
    draws, side = stream.generator, stream.images.shape[-1]
    for indices in stream.order:
        drawn = draw(augmentation, len(indices), side, draws)
        yield _NetworkStep(
            indices, drawn, CutMix.draw(stream.cutmix, len(indices), side, draws) if stream.cutmix else None
        )


def _augmented(images: Tensor, steps: Sequence[_NetworkStep]) -> list[Tensor]:
    """One network's augmented, mixed images at each step; steps with the same kind of augmentation go together."""
    augmented: dict[int, Tensor] = {}
    for kind in dict.fromkeys(step.augmentation.name for step in steps):
        numbers = [number for number, step in enumerate(steps) if step.augmentation.name == kind]
        of_kind = [steps[number] for number in numbers]
        amounts = torch.cat([step.augmentation.amounts for step in of_kind])
        together = apply(Augmentation(kind, amounts), torch.cat(_selected(images, of_kind)))
        augmented.update(zip(numbers, together.split([len(step.indices) for step in of_kind]), strict=True))
    in_order = [(augmented[number], step.cutmix) for number, step in enumerate(steps)]
    return [cutmix.images(own) if cutmix else own for own, cutmix in in_order]


def _mixed_targets(targets: Tensor, steps: Sequence[_NetworkStep]) -> list[Tensor]:
    own = zip(_selected(targets, steps), steps, strict=True)
    return [step.cutmix.targets(chosen) if step.cutmix else chosen for chosen, step in own]


def _selected(values: Tensor, steps: Sequence[_NetworkStep]) -> list[Tensor]:
    """The values at each step's indices, read in one operation."""
    indices = torch.cat([step.indices for step in steps])
    return list(values[indices.to(values.device)].split([len(step.indices) for step in steps]))


def _stacked(of_networks: Sequence[Tensor]) -> Tensor:
    # A single network's batch is viewed, not copied.
    return of_networks[0][None] if len(of_networks) == 1 else torch.stack(list(of_networks))
