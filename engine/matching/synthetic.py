"""What one student sees on its way: which synthetic images at each step, and how they are augmented."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.data.augment import Draw, adjoint, apply, draw
from engine.run.settings import AugmentationName


@dataclass(frozen=True)
class Synthetic:
    """The synthetic set: images (S, channels, H, W), label logits (S, C), beta () -- class c's are IPC in a row."""

    images: Tensor
    label_logits: Tensor
    beta: Tensor

    @property
    def ipc(self) -> int:
        """Images per class."""
        return self.images.shape[0] // self.label_logits.shape[1]

    def map(self, *others: Synthetic, by: Callable[..., Tensor]) -> Synthetic:
        """A set of by(own tensor, the others' tensors ...) for each of the three."""
        names = ("images", "label_logits", "beta")
        return Synthetic(*(by(getattr(self, name), *(getattr(other, name) for other in others)) for name in names))


@dataclass(frozen=True)
class StudentBatch:
    """One student step: the images' indices (B,) and their augmentation, replayed from its parameters."""

    indices: Tensor
    augmentation: Draw

    def images(self, images: Tensor) -> Tensor:
        """The augmented batch (B, channels, H, W) out of all images (S, channels, H, W)."""
        return apply(self.augmentation, images[self.indices])

    def back(self, in_augmented: Tensor) -> Tensor:
        """The derivative in the batch's own images from the one in the augmented batch, (B, channels, H, W) both."""
        return adjoint(self.augmentation, in_augmented)


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
    order = _passes(count, batch_size, generator)
    chosen: list[Tensor] = []
    draws: list[Draw] = []
    for _ in range(steps):
        chosen.append(next(order))
        draws.append(draw(augmentation, len(chosen[-1]), image_size, generator))
    # All steps' numbers in one transfer each: on a GPU every one is a wait.
    indices = torch.cat(chosen).to(device).split([len(batch) for batch in chosen])
    amounts = (
        torch.cat([one.amounts.flatten() for one in draws]).to(device).split([one.amounts.numel() for one in draws])
    )
    return [
        StudentBatch(of_batch, Draw(one.name, own.view_as(one.amounts)))
        for of_batch, one, own in zip(indices, draws, amounts, strict=True)
    ]


def _passes(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    while True:
        yield from torch.randperm(count, generator=generator).split(batch_size)
