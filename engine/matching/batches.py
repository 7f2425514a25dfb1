"""What one student sees on its way: which synthetic images at each step, and how they are augmented."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.data.augment import Draw, apply, draw
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
        """The augmented batch out of all images (S, channels, H, W), differentiable."""
        return self.augmented(images[self.indices])

    def augmented(self, own: Tensor) -> Tensor:
        """The step's own images (B, channels, H, W), augmented."""
        return apply(self.augmentation, own)


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
    chosen = (next(order) for _ in range(steps))
    return [
        StudentBatch(indices.to(device), draw(augmentation, len(indices), image_size, generator)) for indices in chosen
    ]


def _passes(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    while True:
        yield from torch.randperm(count, generator=generator).split(batch_size)
