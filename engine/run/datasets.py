"""Facts about the known data sets, class counts of a long tail, and folders of a person's own images.

Nothing here loads a data set: counts come from arithmetic and file names, faults from the first bytes of a file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Literal

from engine.run.errors import Fault, InputError
from engine.run.folder import expanded
from engine.run.settings import DatasetName, DatasetSettings

FLOAT_ERROR = 1e-12
"""Far above the relative error of the floats in `class_counts`, far below the distance of a count from a whole one."""


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


def counts_for(settings: DatasetSettings) -> list[int] | None:
    """Train images of each class, or None where only the files tell: folder, and imagenet-lt without a factor.

    imagenet-lt with an imbalance factor is taken to have as many images as the factor asks for.
    """
    factor, name = settings.imbalance_factor, settings.name
    if name == "folder" or (name == "imagenet-lt" and factor == "natural"):
        return None
    sizes = list(FACTS[name].class_sizes)
    if name == "digits" and settings.test_per_class is not None:
        sizes = [DIGITS_SMALLEST - settings.test_per_class] * len(sizes)
    return kept_counts(sizes, settings)


def wanted_counts(sizes: Sequence[int], imbalance_factor: float | Literal["natural"]) -> list[int]:
    """Images per class that the imbalance factor asks for; the first class gets as many as the largest one has.

    A class may have fewer than it is asked for. `natural` asks for all there are.
    """
    if imbalance_factor == "natural":
        return list(sizes)
    return class_counts(max(sizes), imbalance_factor, len(sizes))


def kept_counts(sizes: Sequence[int], settings: DatasetSettings) -> list[int]:
    """Train images kept of classes of these sizes, in the order of class_order."""
    ordered = sorted(sizes, reverse=True) if settings.class_order == "count" else list(sizes)
    wanted = wanted_counts(ordered, settings.imbalance_factor)
    return [min(size, count) for size, count in zip(ordered, wanted, strict=True)]


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


# A person's own images in folders: their classes, and how many images a run would use. Only names are listed, which is
# fast enough for the form to ask while a path is typed.

# The side to which images of different sizes are resized, and how many classes are sampled to find one common size.
DEFAULT_SIDE, SAMPLED_CLASSES = 32, 16
LAYOUT = "give a folder that holds train/<class>/* and test/<class>/* (or train alone)"


@dataclass(frozen=True)
class Survey:
    """The classes of a folder in order, the train images of each, the test images of all, and faults."""

    names: tuple[str, ...]
    counts: tuple[int, ...]
    faults: tuple[Fault, ...] = ()
    test_images: int = 0


def natural_order(name: str) -> tuple[list[tuple[bool, int, str]], str]:
    """A sort key that puts 2.png before 10.png, and both before a.png."""
    parts = re.findall(r"\d+|\D+", name)
    return [(False, int(part), "") if part.isdecimal() else (True, 0, part) for part in parts], name


def images_root(path: str | None) -> Path:
    """The folder that holds train/; raises InputError where it does not."""
    if path is None:
        raise InputError("dataset folder needs a path", "dataset.path", LAYOUT)
    root = expanded(path)
    if not root.is_dir():
        raise InputError("there is no such folder", str(root), LAYOUT)
    if not (root / "train").is_dir():
        raise InputError("the folder holds no train/", str(root), LAYOUT)
    return root


def visible_entries(folder: Path) -> list[os.DirEntry[str]]:
    """The files and folders in a folder; hidden ones (.DS_Store) are left out."""
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith(".")]


def class_names(folder: Path) -> list[str]:
    """The classes of train/ or test/ in natural order; raises InputError where there are fewer than two."""
    names = sorted((entry.name for entry in visible_entries(folder) if entry.is_dir()), key=natural_order)
    if len(names) < 2:
        there = "1 class folder" if names else "no class folders"
        raise InputError(
            f"at least 2 classes are needed, and there is {there}",
            str(folder),
            "put the images of each class into a folder of its own",
        )
    return names


HeldOut = tuple[float, int | None, int]
"""What is held out for testing where a folder has no test/: a share, or of so many folds the one with this number."""


def held_out(dataset: DatasetSettings) -> HeldOut:
    """What the settings hold out."""
    return dataset.test_share, dataset.test_folds, dataset.test_fold


def held_out_places(sizes: Sequence[int], share: float, folds: int | None = None, fold: int = 0) -> list[range]:
    """Where the images that are held out for testing stand in the shuffled images of each class.

    A share: at least one image, never all. One of several folds: all images are dealt in turn, class after class, so
    that neither the folds of a class nor whole folds differ by more than one image; a class with fewer images than
    there are folds has none in some of them.
    """
    if folds is None:
        return [range(min(max(round(share * size), 1), size - 1) if size else 0) for size in sizes]
    dealt_before = accumulate(sizes, initial=0)
    return [range((fold - dealt) % folds, size, folds) for size, dealt in zip(sizes, dealt_before, strict=False)]


def survey(path: str | None, share: float, folds: int | None = None, fold: int = 0) -> Survey:
    """The classes of a folder and every fault of theirs; raises InputError where it is no folder of classes.

    `share`, `folds`, `fold`: what is held out where there is no test/ (`held_out`).
    """
    root, faults = images_root(path), list[Fault]()
    names, tests = class_names(root / "train"), root / "test"
    train = [_counted(root / "train" / name, faults) for name in names]
    if tests.is_dir():
        test = [_counted(tests / name, faults) for name in names]
        faults += [
            Fault("this class has no train images", str(tests / name), f"put some into train/{name}")
            for name in class_names(tests)
            if name not in names
        ]
        if folds is not None:
            faults.append(Fault(f"{tests} is there, so no fold is held out", "dataset.test_folds", "leave it empty"))
        return Survey(tuple(names), tuple(train), tuple(faults), sum(test))
    faults += [
        Fault("one image is too few to train and to test", str(root / "train" / name), "add images, or a test/ folder")
        for name, count in zip(names, train, strict=True)
        if count == 1
    ]
    held = [len(places) for places in held_out_places(train, share, folds, fold)]
    if folds and not any(held):
        faults.append(Fault(f"fold {fold} of {folds} has no image", "dataset.test_folds", f"at most {sum(train)}"))
    left = tuple(count - tests for count, tests in zip(train, held, strict=True))
    return Survey(tuple(names), left, tuple(faults), sum(held))


def _counted(folder: Path, faults: list[Fault]) -> int:
    """The number of a class's images; a class without images and a folder inside a class are faults."""
    entries = visible_entries(folder) if folder.is_dir() else []
    if not entries:
        faults.append(Fault("this class has no images", str(folder), "add some, or remove the class"))
    faults += [
        Fault("a folder inside a class", entry.path, "images lie directly in their class folder")
        for entry in entries
        if entry.is_dir()
    ]
    return len(entries)


def common_size(files: Sequence[Path]) -> int | None:
    """The side of the images where all are square and of one size, else None; read from headers. Raises InputError."""
    from PIL import Image  # here, as in the other two: the list of runs and --help need no image

    sizes = set()
    for file in files:
        try:
            with Image.open(file) as image:
                sizes.add(image.size)
        except Exception as error:
            raise InputError([fault_of(file, error)]) from None
    width, height = sizes.pop() if len(sizes) == 1 else (0, 1)
    return width if width == height else None


def sampled_side(train: Path, names: Sequence[str]) -> int:
    """The side of the images, from one image of each of the first classes; a run looks at more of them."""
    firsts = [Path(entry.path) for name in names[:SAMPLED_CLASSES] for entry in visible_entries(train / name)[:1]]
    try:
        return common_size(firsts) or DEFAULT_SIDE
    except InputError:
        return DEFAULT_SIDE


# Faults of a person's own images, from names and first bytes: no image is decoded.

FAULTS_SHOWN = 10
_READERS = 8


def image_faults(dataset: DatasetSettings) -> list[Fault]:
    """Every fault of a folder of images, before a run meets it; other data sets are not checked."""
    if dataset.name != "folder":
        return []
    try:
        folder = survey(dataset.path, *held_out(dataset))
    except InputError as error:
        return list(error.faults)
    # With an empty class among them, the tail's fault would only repeat that one.
    tail = [] if folder.faults else empty_tail(dataset, kept_counts(folder.counts, dataset))
    with ThreadPoolExecutor(_READERS) as pool:
        unreadable = [fault for fault in pool.map(_header_fault, _files(images_root(dataset.path))) if fault]
    return [*folder.faults, *tail, *shown(unreadable)]


def fault_of(file: Path, error: Exception) -> Fault:
    """The fault of an image file that could not be read.

    What Pillow raises for one depends on its format and on where it is broken, so its callers catch every exception.
    """
    from PIL import Image

    if isinstance(error, FileNotFoundError):
        return Fault("the image is missing", str(file), "put it there, or take it out of the list")
    if isinstance(error, Image.DecompressionBombError):
        return Fault("the image has too many pixels to be read", str(file), "scale it down, or take it away")
    return Fault("this is no image that can be read", str(file), "take the file away, or replace it")


def shown(faults: list[Fault]) -> list[Fault]:
    """The first FAULTS_SHOWN of the faults, and how many more there are."""
    more = len(faults) - FAULTS_SHOWN
    return faults[:FAULTS_SHOWN] + ([Fault(f"{more} more files like these")] if more > 0 else [])


def _files(root: Path) -> Iterator[Path]:
    """Every file of every class, of train/ and then of test/; hidden ones are left out."""
    for split in ("train", "test"):
        yield from sorted(path for path in (root / split).glob("[!.]*/[!.]*") if not path.is_dir())


def _header_fault(file: Path) -> Fault | None:
    from PIL import Image

    try:
        with Image.open(file):
            return None
    except Exception as error:
        return fault_of(file, error)
