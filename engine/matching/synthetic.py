"""The synthetic set, and what one student sees of it: which images at each step, and how they are augmented."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from engine.data.augment import Augmentation, adjoint, apply, draw
from engine.run.fields import AugmentationName


class Synthetic(NamedTuple):
    """The synthetic set: images (S, channels, H, W), label logits (S, C), beta (). IPC images a class, class by class.

    A stored set with mini-images (engine/data/partition.py) has a row of label logits for each of these. A gradient in
    the set, and the velocity of its SGD, have the same three parts.
    """

    images: Tensor
    label_logits: Tensor
    beta: Tensor

    @property
    def ipc(self) -> int:
        """Images per class."""
        return self.images.shape[0] // self.label_logits.shape[1]

    def map(self, *others: tuple[Any, Any, Any], by: Callable[..., Tensor]) -> Synthetic:
        """A set whose three parts are by(own part, the same part of each other set or triple ...)."""
        return Synthetic(*map(by, self, *others))


def rounded(images: Tensor) -> tuple[Tensor, Tensor]:
    """Images (S, channels, H, W) in 8 bits: levels of the same shape, and the range of each image, (S, 2) float32."""
    ranges = torch.stack(images.flatten(1).aminmax(dim=1), dim=1)
    low, high = (end[:, None, None, None] for end in ranges.unbind(1))
    # An image without contrast has one level, the lowest.
    levels = (images - low) / torch.where(high > low, high - low, 1.0) * 255
    return levels.round().to(torch.uint8), ranges


def from_levels(levels: Tensor, ranges: Tensor) -> Tensor:
    """The images (S, channels, H, W), float32, that `rounded` has stored; rounding them again changes nothing."""
    low, high = (end[:, None, None, None] for end in ranges.unbind(1))
    share = levels / 255
    # In this form both ends of the range are exact.
    return low * (1 - share) + high * share


def as_kept(images: Tensor, numbers: Literal["float32", "uint8"]) -> Tensor:
    """The images (S, channels, H, W) as they are read back from a file with these numbers (`export.images`)."""
    return from_levels(*rounded(images)) if numbers == "uint8" else images


class StartingSet(NamedTuple):
    """A set made elsewhere, for a run to start from; its images are whitened and class by class, as of `Synthetic`.

    `label_logits` and `learning_rate` are None where its maker left none.
    """

    images: Tensor
    label_logits: Tensor | None
    learning_rate: float | None


@dataclass(frozen=True)
class StudentBatch:
    """One student step: the indices of its images (B,) and their augmentation, which can be applied again and again."""

    indices: Tensor
    augmentation: Augmentation

    def images(self, images: Tensor) -> Tensor:
        """The augmented batch (B, channels, H, W) of all images (S, channels, H, W)."""
        return apply(self.augmentation, images[self.indices])

    def backward(self, grad_augmented: Tensor) -> Tensor:
        """The derivative in the batch's own images from the one in the augmented batch, (B, channels, H, W) both."""
        return adjoint(self.augmentation, grad_augmented)


def student_batches(
    steps: int,
    count: int,
    batch_size: int,
    image_size: int,
    augmentation: Sequence[AugmentationName],
    generator: torch.Generator,
    device: torch.device,
) -> list[StudentBatch]:
    """`steps` batches of `count` synthetic images: a shuffled pass over all of them before any repeats."""
    chosen, augmentations = [], []
    for batch in itertools.islice(_shuffled_passes(count, batch_size, generator), steps):
        chosen.append(batch)
        augmentations.append(draw(augmentation, len(batch), image_size, generator))
    # The indices of all steps go to the device in one transfer, and so do all amounts: a GPU waits for every transfer.
    indices = torch.cat(chosen).to(device).split([len(batch) for batch in chosen])
    sizes = [one.amounts.numel() for one in augmentations]
    amounts = torch.cat([one.amounts.flatten() for one in augmentations]).to(device).split(sizes)
    return [
        StudentBatch(of_batch, Augmentation(one.name, own_amounts.view_as(one.amounts)))
        for of_batch, one, own_amounts in zip(indices, augmentations, amounts, strict=True)
    ]


def _shuffled_passes(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    while True:
        yield from torch.randperm(count, generator=generator).split(batch_size)
