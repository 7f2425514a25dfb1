"""What every data set becomes: labels in memory, and images that are decoded only when asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Split:
    """Labels (N,) int64, and `read`, which decodes the images at some indices: uint8 (n, C, H, W)."""

    labels: np.ndarray
    read: Callable[[np.ndarray], Tensor]

    def keep(self, indices: np.ndarray) -> Split:
        """The split of these images only, in this order."""
        return Split(self.labels[indices], lambda chosen: self.read(indices[chosen]))

    def first_per_class(self, count: int) -> Split:
        """The split of the first `count` images of each class, in their order."""
        kept = [np.flatnonzero(self.labels == c)[:count] for c in np.unique(self.labels)]
        return self.keep(np.sort(np.concatenate(kept)))


@dataclass(frozen=True)
class Source:
    """A data set before its tail is cut: class c's name is class_names[c]; images are (channels, size, size)."""

    class_names: list[str]
    train: Split
    test: Split
    image_size: int
    channels: int

    def by_count(self) -> Source:
        """The same set with its classes renumbered: 0 has the most train images; classes alike keep their order."""
        order = np.argsort(-np.bincount(self.train.labels, minlength=len(self.class_names)), kind="stable")
        number = np.argsort(order)
        return replace(
            self,
            class_names=[self.class_names[c] for c in order],
            train=replace(self.train, labels=number[self.train.labels]),
            test=replace(self.test, labels=number[self.test.labels]),
        )


def split_in_memory(images: Tensor, labels: np.ndarray, image_size: int) -> Split:
    """A split of uint8 images (N, C, H, W), resized to the side `image_size` when they are read."""

    def read(indices: np.ndarray) -> Tensor:
        return _resized(images[torch.from_numpy(indices)], image_size)

    return Split(np.asarray(labels, dtype=np.int64), read)


def _resized(images: Tensor, image_size: int) -> Tensor:
    if images.shape[-1] == image_size:
        return images
    size = (image_size, image_size)
    return F.interpolate(images.float(), size, mode="bilinear", antialias=True).round().clamp(0, 255).to(torch.uint8)
