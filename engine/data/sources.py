"""From dataset.name to a data set with its labels in memory and its images decoded on demand."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.data.image_files import (
    Source,
    load_image_folder,
    load_imagenet_lt,
    load_tiny_imagenet,
    split_in_memory,
)
from engine.run.data_settings import DatasetSettings
from engine.run.datasets import DIGITS_HELD_OUT, FACTS
from engine.run.errors import Fault, InputError
from engine.run.events import Emit
from engine.run.folder import FULL_DISK, cache_root, expanded
from engine.run.image_lists import class_faults
from engine.run.locks import exclusive


def load_source(settings: DatasetSettings, emit: Emit) -> Source:
    """The whole data set at the setting's resolution, images not yet decoded; `emit` takes the warnings.

    Raises InputError where it is missing, or a class has no images.
    """
    of_files = {"folder": load_image_folder, "tiny-imagenet": load_tiny_imagenet, "imagenet-lt": load_imagenet_lt}
    if settings.name in of_files:
        source = of_files[settings.name](settings, emit)
    else:
        source = load_digits_source(settings) if settings.name == "digits" else load_torchvision_set(settings)
    labels = {"train": source.train.labels.tolist(), "test": source.test.labels.tolist()}
    if faults := class_faults(source.class_names, labels, settings.path or settings.name):
        raise InputError(faults)
    if settings.test_per_class is None:
        return source
    return replace(source, test=source.test.first_per_class(settings.test_per_class))


# --- scikit-learn's handwritten digits, 8x8 and gray: needs no file and no network ------------------------------------

DIGITS = FACTS["digits"]
DIGITS_LEVELS = 16


def load_digits_source(settings: DatasetSettings) -> Source:
    """Test: the last 40 images of each class (or test_per_class). Train: the first of the rest, 134 of each class.

    134 is what the smallest class has left: with equal counts any class can be the head of the tail.
    """
    # Imported here: scikit-learn takes seconds to import, and most runs never need it.
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    held_out = settings.test_per_class or DIGITS_HELD_OUT
    members = [np.flatnonzero(labels == c) for c in range(len(DIGITS.class_names))]
    smallest = min(map(len, members))
    train_per_class = smallest - held_out
    if train_per_class < 1:
        hint = f"the smallest class of digits has {smallest} images"
        raise InputError(f"{held_out} test images a class leave none to train on", "dataset.test_per_class", hint)
    levels = np.rint(pixels * (255 / DIGITS_LEVELS)).astype(np.uint8)
    images = torch.from_numpy(levels).view(-1, 1, DIGITS.image_size, DIGITS.image_size)
    size = settings.resolution or DIGITS.image_size
    everything = split_in_memory(images, labels, size)
    train = everything.keep(np.sort(np.concatenate([own[:train_per_class] for own in members])))
    test = everything.keep(np.sort(np.concatenate([own[-held_out:] for own in members])))
    return Source(list(DIGITS.class_names), train, test, size, DIGITS.channels)


# --- CIFAR-10, CIFAR-100, Fashion-MNIST and SVHN: torchvision checks, downloads and reads their files -----------------

DELETE = "delete it and start again: the next start downloads it anew"
# The name of torchvision's class, and the files to download by hand where it cannot.
TORCHVISION_SETS = {
    "cifar10": ("CIFAR10", "cifar-10-python.tar.gz"),
    "cifar100": ("CIFAR100", "cifar-100-python.tar.gz"),
    "fashion_mnist": ("FashionMNIST", "the four FashionMNIST/raw/*-ubyte files"),
    "svhn": ("SVHN", "train_32x32.mat and test_32x32.mat"),
}


def load_torchvision_set(settings: DatasetSettings) -> Source:
    """The set from dataset.path or the cache, downloaded where absent; raises InputError where that fails."""
    root = expanded(settings.path) if settings.path else cache_root() / "data"
    parts = [_open_torchvision(settings.name, root, train) for train in (True, False)]
    images = [_channels_first(part.data) for part in parts]
    channels, native = images[0].shape[1:3]
    size = settings.resolution or native
    if settings.name == "svhn":
        names, labels = list(FACTS["svhn"].class_names), [part.labels for part in parts]
    else:
        names, labels = list(parts[0].classes), [part.targets for part in parts]
    for own, of_own in zip(images, labels, strict=True):
        if len(own) != len(of_own):
            what = f"{len(own):,} images with {len(of_own):,} labels: files of the set are mixed up"
            raise InputError(what, str(root), DELETE)
    train, test = (split_in_memory(own, np.asarray(of_own), size) for own, of_own in zip(images, labels, strict=True))
    return Source(names, train, test, size, channels)


def _open_torchvision(name: str, root: Path, train: bool) -> Any:
    # Imported here: torchvision takes seconds to import, and most runs never need it.
    from torchvision import datasets

    class_name, files = TORCHVISION_SETS[name]
    split: dict[str, Any] = {"split": "train" if train else "test"} if name == "svhn" else {"train": train}
    dataset = getattr(datasets, class_name)
    make = functools.partial(dataset, root, **split)
    # What torchvision raises for a damaged file is whatever comes up while it is read.
    with contextlib.suppress(Exception):
        return make(download=False)
    try:
        # Two runs that start together must not write the same file.
        held = f"another run is downloading {name} into this folder"
        with exclusive(root / f".{name}.lock", held, "start this run again when the other one has it"):
            return make(download=True)
    except InputError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL_DISK:
            error.filename = error.filename or str(root)
            raise
        if damaged := _damaged_files(dataset, root):
            raise InputError([Fault("the file is cut or damaged", str(file), DELETE) for file in damaged]) from None
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        hint = f"put {files} into that folder by hand, or set dataset.path"
        raise InputError(f"{name} is not there and could not be downloaded ({reason})", str(root), hint) from None


def _damaged_files(dataset: Any, root: Path) -> list[Path]:
    """Files of torchvision's data set that are there, but are not what was published."""
    from torchvision.datasets import CIFAR10, MNIST, SVHN, mnist
    from torchvision.datasets.utils import check_integrity

    def is_whole(file: Path, md5: str | None) -> bool:
        if md5 is not None or not issubclass(dataset, MNIST):
            return bool(check_integrity(file, md5))
        try:
            (mnist.read_image_file if "images" in file.name else mnist.read_label_file)(file)
        except Exception:
            return False
        return True

    files: list[tuple[Path, str | None]] = []
    if issubclass(dataset, CIFAR10):
        meta = (dataset.meta["filename"], dataset.meta["md5"])
        parts = [*dataset.train_list, *dataset.test_list, meta]
        files = [
            (root / dataset.filename, dataset.tgz_md5),
            *((root / dataset.base_folder / name, md5) for name, md5 in parts),
        ]
    elif issubclass(dataset, SVHN):
        files = [(root / name, md5) for _, name, md5 in dataset.split_list.values()]
    else:
        raw = root / dataset.__name__ / "raw"
        for name, md5 in dataset.resources:
            files += [(raw / name, md5), (raw / name.removesuffix(".gz"), None)]
    return [file for file, md5 in files if file.is_file() and not is_whole(file, md5)]


def _channels_first(data: Any) -> torch.Tensor:
    """(N, H, W), (N, H, W, 3) or (N, 3, H, W) uint8 as (N, C, H, W)."""
    images = torch.as_tensor(np.asarray(data))
    if images.ndim == 3:
        return images[:, None]
    return images if images.shape[1] == 3 else images.permute(0, 3, 1, 2)
