"""Data sets of image files: a folder of one's own, ImageNet-LT and Tiny-ImageNet; and what every data set becomes.

Files are decoded in a thread pool, only those that are asked for, as RGB of one square size.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional as F

from engine.run.datasets import (
    DEFAULT_SIDE,
    FACTS,
    TINY_FOLDER,
    TINY_MARK,
    HeldOut,
    common_size,
    fault_of,
    held_out_places,
    images_root,
    natural_order,
    shown,
    survey,
)
from engine.run.errors import Fault, InputError
from engine.run.folder import cache_root, expanded
from engine.run.settings import DatasetSettings

CHANNELS = 3
Files = list[tuple[Path, int]]
"""Image files, each with its label."""


# --- What every data set becomes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Split:
    """Labels (N,) int64, and `read`, which decodes the images at the given indices to uint8 (n, channels, H, W)."""

    labels: np.ndarray
    read: Callable[[np.ndarray], Tensor]

    def keep(self, indices: np.ndarray) -> Split:
        """The split of the images at `indices` alone, in this order."""
        return Split(self.labels[indices], lambda chosen: self.read(indices[chosen]))

    def first_per_class(self, count: int) -> Split:
        """The split of the first `count` images of each class, in their order."""
        kept = [np.flatnonzero(self.labels == c)[:count] for c in np.unique(self.labels)]
        return self.keep(np.sort(np.concatenate(kept)))


@dataclass(frozen=True)
class Source:
    """A data set before it is made long-tailed; images are (channels, image_size, image_size)."""

    class_names: list[str]
    train: Split
    test: Split
    image_size: int
    channels: int

    def by_count(self) -> Source:
        """The same set with its classes renumbered by train images, the largest first; equal ones keep their order."""
        order = np.argsort(-np.bincount(self.train.labels, minlength=len(self.class_names)), kind="stable")
        number = np.argsort(order)
        return replace(
            self,
            class_names=[self.class_names[c] for c in order],
            train=replace(self.train, labels=number[self.train.labels]),
            test=replace(self.test, labels=number[self.test.labels]),
        )


def split_in_memory(images: Tensor, labels: np.ndarray, image_size: int) -> Split:
    """A split of uint8 images (N, channels, H, W), resized to the side `image_size` when they are read."""

    def read(indices: np.ndarray) -> Tensor:
        chosen = images[torch.from_numpy(indices)]
        if chosen.shape[-1] == image_size:
            return chosen
        resized = F.interpolate(chosen.float(), (image_size, image_size), mode="bilinear", antialias=True)
        return resized.round().clamp(0, 255).to(torch.uint8)

    return Split(np.asarray(labels, dtype=np.int64), read)


def split_of_files(files: Files, image_size: int) -> Split:
    """A split of image files; reading raises InputError with every file that is missing or no image."""

    def read(indices: np.ndarray) -> Tensor:
        return read_images([files[i][0] for i in indices], image_size)

    return Split(np.array([label for _, label in files], dtype=np.int64), read)


# --- Decoding ---------------------------------------------------------------------------------------------------------

_FILES_A_TASK = 64
"""Decoded by a thread in one go: enough that handing out work costs nothing beside it."""


def read_images(files: Sequence[Path], image_size: int) -> Tensor:
    """The files as RGB, uint8 (n, 3, image_size, image_size): the short side scaled, the long one cropped centrally.

    Raises InputError that names every file that is missing or no image.
    """
    pixels = np.empty((len(files), image_size, image_size, CHANNELS), dtype=np.uint8)

    def decode(start: int) -> list[Fault]:
        faults = []
        for i in range(start, min(start + _FILES_A_TASK, len(files))):
            try:
                pixels[i] = np.asarray(_decoded(files[i], image_size))
            except Exception as error:
                faults.append(fault_of(files[i], error))
        return faults

    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 16)) as pool:
        faults = list(chain.from_iterable(pool.map(decode, range(0, len(files), _FILES_A_TASK))))
    if faults:
        raise InputError(shown(faults))
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def _decoded(file: Path, image_size: int) -> Image.Image:
    with Image.open(file) as image:
        image.load()
        upright = _rgb(ImageOps.exif_transpose(image))
    if upright.size == (image_size, image_size):
        return upright
    return ImageOps.fit(upright, (image_size, image_size), Image.Resampling.BILINEAR)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Sixteen bits a channel, which Pillow's convert would clip at 255 instead of scaling.
        return Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque).convert("RGB")
    return image.convert("RGB")


# --- A folder of one's own images: train/<class>/* and test/<class>/*, or a held-out share of each class --------------

HELD_OUT_SEED = 0
SAMPLED = 64
"""Files whose headers decide the image size; opening all of a large folder would take minutes."""


def load_image_folder(settings: DatasetSettings) -> Source:
    """The folder as a data set; raises InputError with every class that lacks images or is unknown to train."""
    held_out = settings.test_share, settings.test_folds, settings.test_fold
    folder = survey(settings.path, *held_out)
    if folder.faults:
        raise InputError(list(folder.faults))
    root, names = images_root(settings.path), list(folder.names)
    train = _files(root / "train", names)
    if (root / "test").is_dir():
        test = _files(root / "test", names)
    else:
        train, test = _held_out(train, held_out)
    sample = [file for files in (train, test) for file, _ in files[:: max(len(files) // SAMPLED, 1)]]
    size = settings.resolution or common_size(sample) or DEFAULT_SIDE
    return Source(names, split_of_files(train, size), split_of_files(test, size), size, CHANNELS)


def _files(folder: Path, names: list[str], key: Callable[[str], Any] = natural_order) -> Files:
    """Every file of every class, class after class, in order of `key`; hidden ones (.DS_Store) are left out."""
    files = []
    for label, name in enumerate(names):
        visible = [file for file in (folder / name).iterdir() if not file.name.startswith(".")]
        files += [(file, label) for file in sorted(visible, key=lambda file: key(file.name))]
    return files


def _held_out(files: Files, held_out: HeldOut) -> tuple[Files, Files]:
    """Train and test files; the order in which a class is dealt out is the same on every run and for every fold."""
    classes = [[file for file, _ in members] for _, members in groupby(files, key=lambda entry: entry[1])]
    held: set[Path] = set()
    for own, places in zip(classes, held_out_places([*map(len, classes)], *held_out), strict=True):
        order = np.random.RandomState(HELD_OUT_SEED).permutation(len(own))
        held |= {own[i] for i in order[list(places)]}
    return [entry for entry in files if entry[0] not in held], [entry for entry in files if entry[0] in held]


# --- ImageNet-LT: a folder of images, and lists with a relative path and a label on each line -------------------------

TRAIN_LISTS = ("train.txt", "ImageNet_LT_train.txt")
TEST_LISTS = ("test.txt", "ImageNet_LT_test.txt", "val.txt")


def load_imagenet_lt(settings: DatasetSettings) -> Source:
    """The images of the two lists; a class is named by the folder of its images where that tells classes apart."""
    if settings.path is None:
        hint = "give the folder of the images and of train.txt and test.txt"
        raise InputError("dataset imagenet-lt needs a path", "dataset.path", hint)
    root = expanded(settings.path)
    size = settings.resolution or FACTS["imagenet-lt"].image_size
    train, test = _read_list(root, TRAIN_LISTS), _read_list(root, TEST_LISTS)
    return Source(_class_names(train), split_of_files(train, size), split_of_files(test, size), size, CHANNELS)


def _read_list(root: Path, names: tuple[str, ...]) -> Files:
    """The files of the first list that is there; raises InputError without one, or for a malformed line."""
    path = next((root / name for name in names if (root / name).is_file()), None)
    if path is None:
        raise InputError(f"none of {', '.join(names)} is there", str(root), "each line is: relative/path label")
    files = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip():
            continue
        image, _, label = line.strip().rpartition(" ")
        if not image or not label.isdecimal():
            hint = "for example: train/n01440764/1.JPEG 0"
            raise InputError("this line is no path and label", f"{path}:{number}", hint)
        files.append((root / image.strip(), int(label)))
    return files


def _class_names(train: Files) -> list[str]:
    """The folder of a class's images, where each class has one of its own; else the label."""
    folders = {label: file.parent.name for file, label in reversed(train)}
    classes = range(max(folders, default=-1) + 1)
    named = len(set(folders.values())) == len(folders)
    return [folders.get(c, str(c)) if named else str(c) for c in classes]


# --- Tiny-ImageNet-200 in its original layout; the validation images are the test set ---------------------------------


def load_tiny_imagenet(settings: DatasetSettings) -> Source:
    """The classes of wnids.txt that have train images, so that a part of the set works too.

    In the order of that file; with class_order text, classes and files in that of torchvision's ImageFolder.
    """
    folder = expanded(settings.path) if settings.path else cache_root() / "data"
    root = next((root for root in (folder / TINY_FOLDER, folder) if (root / TINY_MARK).is_file()), None)
    if root is None:
        hint = f"unpack {TINY_FOLDER}.zip (cs231n.stanford.edu) there, or set dataset.path"
        raise InputError(f"no {TINY_FOLDER} with a wnids.txt", str(folder), hint)
    size = settings.resolution or FACTS["tiny-imagenet"].image_size
    as_text = settings.class_order == "text"
    codes = [code for code in _lines(root / TINY_MARK) if (root / "train" / code / "images").is_dir()]
    codes = sorted(codes) if as_text else codes
    if len(codes) < 2:
        hint = "expected train/<wnid>/images/*.JPEG"
        raise InputError("fewer than 2 classes of wnids.txt have a folder", str(root / "train"), hint)
    train = _files(root / "train", [f"{code}/images" for code in codes], key=str if as_text else natural_order)
    labels = {code: label for label, code in enumerate(codes)}
    rows = (line.split("\t") for line in _lines(root / "val" / "val_annotations.txt"))
    test = [(root / "val" / "images" / row[0], labels[row[1]]) for row in rows if len(row) > 1 and row[1] in labels]
    names = _words(root, codes)
    return Source(names, split_of_files(train, size), split_of_files(test, size), size, CHANNELS)


def _words(root: Path, codes: list[str]) -> list[str]:
    """The first synonym of words.txt, or the code itself where it has none or shares it."""
    words = {line.split("\t")[0]: line.split("\t")[-1].split(",")[0] for line in _lines(root / "words.txt")}
    names = [words.get(code, code) for code in codes]
    return [code if names.count(name) > 1 else name for name, code in zip(names, codes, strict=True)]


def _lines(file: Path) -> list[str]:
    if not file.is_file():
        raise InputError("a file of the original layout is missing", str(file), f"unpack {TINY_FOLDER}.zip again")
    return [line.strip() for line in file.read_text().splitlines() if line.strip()]
