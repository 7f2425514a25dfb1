"""Facts about the known data sets, and class counts of a long tail: no data set is loaded, at most names are read."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.run.data_settings import DatasetName, DatasetSettings, ValidationSettings
from engine.run.errors import Fault
from engine.run.folder import cache_root, expanded

FLOAT_ERROR = 1e-12
"""Far above the relative error of the floats in `class_counts`, far below the distance of a count from a whole one."""

CHOOSES_NOTHING = ValidationSettings()


def class_counts(largest: int, imbalance_factor: float, num_classes: int) -> list[int]:
    """Images of each class, head first: int(N_max * rate ** (c / (C - 1))), rate = 1 / IF (method.md section 1)."""
    rate = 1 / imbalance_factor
    last = max(num_classes - 1, 1)
    # Where the exact count is whole, the floats may end a hair below it: 49 * (1 / 49) is 0.9999999999999999.
    return [int(largest * rate ** (c / last) * (1 + FLOAT_ERROR)) for c in range(num_classes)]


@dataclass(frozen=True)
class DatasetFacts:
    """Facts about a data set that need no download; class_sizes: train images of each class."""

    channels: int
    image_size: int
    class_sizes: tuple[int, ...]
    test_images: int
    class_names: tuple[str, ...] = ()


# Sets whose images are files that have to be decoded.
FROM_FILES = ("folder", "tiny-imagenet", "imagenet-lt")
# The folder that Tiny-ImageNet's archive holds, and a file by which it is recognized.
TINY_FOLDER, TINY_MARK = "tiny-imagenet-200", "wnids.txt"
DIGITS_SMALLEST, DIGITS_HELD_OUT = 174, 40
_DIGITS = tuple(str(digit) for digit in range(10))
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_SVHN_SIZES = (4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659)
FACTS: dict[DatasetName, DatasetFacts] = {
    # Balanced first: every class has as many train images as the smallest one after the test images are held out.
    "digits": DatasetFacts(1, 8, (DIGITS_SMALLEST - DIGITS_HELD_OUT,) * 10, 10 * DIGITS_HELD_OUT, _DIGITS),
    "cifar10": DatasetFacts(3, 32, (5000,) * 10, 10_000, _CIFAR10),
    "cifar100": DatasetFacts(3, 32, (500,) * 100, 10_000),
    "fashion_mnist": DatasetFacts(1, 28, (6000,) * 10, 10_000, _FASHION),
    "svhn": DatasetFacts(3, 32, _SVHN_SIZES, 26_032, _DIGITS),
    "tiny-imagenet": DatasetFacts(3, 64, (500,) * 200, 10_000),
    # The size of its largest class; those of the others stand in its list of files alone.
    "imagenet-lt": DatasetFacts(3, 64, (1280,) * 1000, 50_000),
}


def tiny_root(path: str | None) -> Path | None:
    """The folder with Tiny-ImageNet's wnids.txt, at or below `path` or in the cache; None where there is none."""
    folder = expanded(path) if path else cache_root() / "data"
    return next((root for root in (folder / TINY_FOLDER, folder) if (root / TINY_MARK).is_file()), None)


@functools.lru_cache(maxsize=8)
def _tiny_sizes(root: Path, as_text: bool, changed: int) -> tuple[int, ...]:
    """Train images of the classes that are there, in the order of wnids.txt or of text; counted anew when `changed`."""
    codes = (root / TINY_MARK).read_text(encoding="utf-8", errors="replace").split()
    folders = (root / "train" / code / "images" for code in (sorted(codes) if as_text else codes))
    listed = (os.listdir(folder) for folder in folders if folder.is_dir())
    return tuple(sum(not name.startswith(".") for name in names) for names in listed)


def class_sizes(settings: DatasetSettings) -> list[int] | None:
    """Train images of each class before the long tail is cut; None where only the files tell, as for a folder.

    A part of tiny-imagenet at dataset.path has its own classes.
    """
    if settings.name not in FACTS:
        return None
    if settings.name == "digits" and settings.test_per_class is not None:
        return [DIGITS_SMALLEST - settings.test_per_class] * len(FACTS["digits"].class_sizes)
    if settings.name == "tiny-imagenet" and settings.path and (root := tiny_root(settings.path)):
        with contextlib.suppress(OSError):
            # Fewer than two classes are a fault where the set is loaded.
            sizes = _tiny_sizes(root, settings.class_order == "text", (root / "train").stat().st_mtime_ns)
            return list(sizes) if len(sizes) > 1 else list(FACTS[settings.name].class_sizes)
    return list(FACTS[settings.name].class_sizes)


def counts_for(settings: DatasetSettings, validation: ValidationSettings = CHOOSES_NOTHING) -> list[int] | None:
    """Train images of each class, less those set apart for validation; None where only the files tell.

    These are folder, and imagenet-lt without a factor.
    imagenet-lt with an imbalance factor is taken to have as many images as the factor asks for.
    """
    factor, name = settings.imbalance_factor, settings.name
    if name == "folder" or (name == "imagenet-lt" and factor == "natural"):
        return None
    sizes = class_sizes(settings)
    return None if sizes is None else kept_counts(sizes, settings, validation)


def wanted_counts(sizes: Sequence[int], imbalance_factor: float | Literal["natural"]) -> list[int]:
    """Images per class that the imbalance factor asks for; the first class gets as many as the largest one has.

    A class may have fewer than it is asked for. `natural` asks for all there are.
    """
    if imbalance_factor == "natural":
        return list(sizes)
    return class_counts(max(sizes), imbalance_factor, len(sizes))


def kept_counts(
    sizes: Sequence[int], settings: DatasetSettings, validation: ValidationSettings = CHOOSES_NOTHING
) -> list[int]:
    """Train images kept of classes of these sizes, in the order of class_order, less those set apart for validation."""
    ordered = sorted(sizes, reverse=True) if settings.class_order == "count" else list(sizes)
    wanted = wanted_counts(ordered, settings.imbalance_factor)
    kept = [min(size, count) for size, count in zip(ordered, wanted, strict=True)]
    return [count - spared for count, spared in zip(kept, validation.spared(kept), strict=True)]


def image_size_for(settings: DatasetSettings) -> int | None:
    """The side of the images in pixels, or None for a folder of images without dataset.resolution."""
    if settings.resolution is not None:
        return settings.resolution
    return None if settings.name == "folder" else FACTS[settings.name].image_size


def empty_tail(dataset: DatasetSettings, counts: Sequence[int]) -> Iterator[Fault]:
    """The fault of an imbalance factor that leaves no image of some classes; `counts` are the images that it leaves."""
    if min(counts) < 1:
        yield Fault(
            f"{dataset.imbalance_factor:g} leaves no image for {list(counts).count(0)} classes of dataset.name"
            f" {dataset.name}, whose largest has {max(counts)}",
            "dataset.imbalance_factor",
            f"at most {max(counts)}",
        )
