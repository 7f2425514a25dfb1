"""CIFAR-10, CIFAR-100, Fashion-MNIST and SVHN: torchvision checks, downloads and reads their files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision import datasets

from engine.data.split import Source, Split, split_in_memory
from engine.run.errors import InputError
from engine.run.folder import cache_root, exclusive
from engine.run.settings import DatasetSettings

FILES = {
    "cifar10": "cifar-10-python.tar.gz",
    "cifar100": "cifar-100-python.tar.gz",
    "fashion_mnist": "the four FashionMNIST/raw/*-ubyte files",
    "svhn": "train_32x32.mat and test_32x32.mat",
}


def load_torchvision_set(settings: DatasetSettings) -> Source:
    """The set from dataset.path or the cache, downloaded where absent; raises InputError where that fails."""
    root = Path(settings.path).expanduser() if settings.path else cache_root() / "data"
    parts = {train: _open(settings.name, root, train) for train in (True, False)}
    images = {train: _channels_first(part.data) for train, part in parts.items()}
    channels, native = images[True].shape[1:3]
    size = settings.resolution or native

    def split(train: bool) -> Split:
        labels = parts[train].labels if settings.name == "svhn" else parts[train].targets
        return split_in_memory(images[train], np.asarray(labels), size)

    names = [str(digit) for digit in range(10)] if settings.name == "svhn" else list(parts[True].classes)
    return Source(names, split(True), split(False), size, channels)


def _open(name: str, root: Path, train: bool) -> Any:
    makers: dict[str, Callable[[bool], Any]] = {
        "cifar10": lambda download: datasets.CIFAR10(root, train=train, download=download),
        "cifar100": lambda download: datasets.CIFAR100(root, train=train, download=download),
        "fashion_mnist": lambda download: datasets.FashionMNIST(root, train=train, download=download),
        "svhn": lambda download: datasets.SVHN(root, split="train" if train else "test", download=download),
    }
    try:
        return makers[name](False)
    except (RuntimeError, OSError):
        return _download(name, root, makers[name])


def _download(name: str, root: Path, make: Callable[[bool], Any]) -> Any:
    try:
        # Two runs that start together must not write the same file.
        with exclusive(root / f".{name}.lock"):
            return make(True)
    except (RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{name} is not there and could not be downloaded ({reason})",
            str(root),
            f"put {FILES[name]} into that folder by hand, or set dataset.path",
        ) from None


def _channels_first(data: Any) -> torch.Tensor:
    """(N, H, W), (N, H, W, 3) or (N, 3, H, W) uint8 as (N, C, H, W)."""
    images = torch.as_tensor(np.asarray(data))
    if images.ndim == 3:
        return images[:, None]
    return images if images.shape[1] == 3 else images.permute(0, 3, 1, 2)
