"""Data sets of image files: a folder of one's own, ImageNet-LT and Tiny-ImageNet; and what every data set becomes.

Only the files that are asked for are decoded (decoding.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.data.decoding import CHANNELS, read_images, unreadable_files
from engine.run.data_settings import DatasetSettings, Fit
from engine.run.datasets import FACTS, TINY_FOLDER, TINY_MARK, tiny_root
from engine.run.errors import Fault, InputError
from engine.run.events import Emit, Warned
from engine.run.folder import cache_root, expanded
from engine.run.image_folder import (
    DEFAULT_SIDE,
    class_files,
    labeled_files,
    survey,
    train_and_test_files,
)
from engine.run.image_headers import Files, common_size, skipped_files
from engine.run.image_lists import TEST_LISTS, find_list, names_of_classes, read_lists, text_lines
from engine.run.regular_files import natural_order
from engine.run.repeated_images import HINT_REPEATED, repeated_files

# --- What every data set becomes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Split:
    """Labels (N,) int64, and `read`, which decodes the images at the given indices to uint8 (n, channels, H, W).

    files: where each image lies; empty for images that are no files of their own.
    """

    labels: np.ndarray
    read: Callable[[np.ndarray], Tensor]
    files: Sequence[Path] = ()

    def keep(self, indices: np.ndarray) -> Split:
        """The split of the images at `indices` alone, in this order."""
        files = [self.files[i] for i in indices] if self.files else ()
        return Split(self.labels[indices], lambda chosen: self.read(indices[chosen]), files)

    def first_per_class(self, count: int) -> Split:
        """The split of the first `count` images of each class, in their order."""
        kept = [np.flatnonzero(self.labels == c)[:count] for c in np.unique(self.labels)]
        return self.keep(np.sort(np.concatenate(kept)))


@dataclass(frozen=True)
class Source:
    """A data set before it is made long-tailed; images are (channels, image_size, image_size).

    test_set: where the test images come from, in words; empty for the test set that a known set has. held_out: whether
    they are files of train that are held out.
    """

    class_names: list[str]
    train: Split
    test: Split
    image_size: int
    channels: int
    test_set: str = ""
    held_out: bool = False

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


def split_of_files(files: Files, image_size: int, emit: Emit, fit: Fit) -> Split:
    """A split of image files, made square by `fit`; reading warns and refuses as `read_images` does."""

    def read(indices: np.ndarray) -> Tensor:
        return read_images([files[i][0] for i in indices], image_size, emit, fit)

    return Split(np.array([label for _, label in files], dtype=np.int64), read, [file for file, _ in files])


# --- A folder of one's own images: train/<class>/* and test/<class>/*, or a held-out share of each class --------------

SAMPLED = 64
"""Files whose headers decide the image size; opening all of a large folder would take minutes."""


def load_image_folder(settings: DatasetSettings, emit: Emit) -> Source:
    """The folder as a data set; emits Warned for what is taken or left out, raises InputError with every fault."""
    folder = survey(settings)
    if folder.faults:
        raise InputError(list(folder.faults))
    for note in folder.notes:
        emit(Warned(note))
    unreadable = dict[Path, Fault]()
    if settings.unusable_files == "skip":
        # Of what the survey has left, those whose first bytes are good and whose end is missing.
        there = {fault.where for fault in folder.skipped}
        every = [file for file, _ in labeled_files((*folder.train, *folder.test)) if str(file) not in there]
        unreadable = unreadable_files(every)
        if unreadable:
            emit(Warned(skipped_files(list(unreadable.values()))))
    train, test = train_and_test_files(folder, settings, unreadable)
    if repeated := repeated_files(train, test):
        emit(Warned(repeated, HINT_REPEATED))
    sample = [file for files in (train, test) for file, _ in files[:: max(len(files) // SAMPLED, 1)]]
    size = settings.resolution or common_size(sample) or DEFAULT_SIDE
    return Source(
        list(folder.names),
        split_of_files(train, size, emit, settings.fit),
        split_of_files(test, size, emit, settings.fit),
        size,
        CHANNELS,
        folder.test_set,
        held_out=not folder.test,
    )


def _labeled(class_folders: Sequence[Path], key: Callable[[str], Any] = natural_order) -> Files:
    """Every file of every class with its label, class after class, in order of `key` of their names."""
    return [(file, label) for label, folder in enumerate(class_folders) for file in class_files(folder, key)]


# --- ImageNet-LT: a folder of images, and lists with a relative path and a label on each line -------------------------


def load_imagenet_lt(settings: DatasetSettings, emit: Emit) -> Source:
    """The images of the two lists; a class is named by the folder of its images where that tells classes apart."""
    train, test = read_lists(settings)
    if repeated := repeated_files(train, test):
        emit(Warned(repeated, HINT_REPEATED))
    size = settings.resolution or FACTS["imagenet-lt"].image_size
    train_split, test_split = (split_of_files(files, size, emit, settings.fit) for files in (train, test))
    # The list of the validation images is taken where there is no other.
    test_set = find_list(expanded(settings.path or ""), TEST_LISTS).name
    return Source(names_of_classes(train), train_split, test_split, size, CHANNELS, test_set)


# --- Tiny-ImageNet-200 in its original layout; the validation images are the test set ---------------------------------


def load_tiny_imagenet(settings: DatasetSettings, emit: Emit) -> Source:
    """The classes of wnids.txt that have train images, so that a part of the set works too.

    In the order of that file; with class_order text, classes and files in that of torchvision's ImageFolder.
    """
    root = tiny_root(settings.path)
    if root is None:
        folder = expanded(settings.path) if settings.path else cache_root() / "data"
        hint = f"unpack {TINY_FOLDER}.zip (cs231n.stanford.edu) there, or set dataset.path"
        raise InputError(f"no {TINY_FOLDER} with a wnids.txt", str(folder), hint)
    size = settings.resolution or FACTS["tiny-imagenet"].image_size
    as_text = settings.class_order == "text"
    codes = [code for code in _lines(root / TINY_MARK) if (root / "train" / code / "images").is_dir()]
    codes = sorted(codes) if as_text else codes
    if len(codes) < 2:
        hint = "expected train/<wnid>/images/*.JPEG"
        raise InputError("fewer than 2 classes of wnids.txt have a folder", str(root / "train"), hint)
    train = _labeled([root / "train" / code / "images" for code in codes], key=str if as_text else natural_order)
    labels = {code: label for label, code in enumerate(codes)}
    rows = (line.split("\t") for line in _lines(root / "val" / "val_annotations.txt"))
    test = [(root / "val" / "images" / row[0], labels[row[1]]) for row in rows if len(row) > 1 and row[1] in labels]
    names = _words(root, codes)
    train_split, test_split = (split_of_files(files, size, emit, settings.fit) for files in (train, test))
    return Source(names, train_split, test_split, size, CHANNELS)


def _words(root: Path, codes: list[str]) -> list[str]:
    """The first synonym of words.txt, or the code itself where it has none or shares it."""
    words = {line.split("\t")[0]: line.split("\t")[-1].split(",")[0] for line in _lines(root / "words.txt")}
    names = [words.get(code, code) for code in codes]
    return [code if names.count(name) > 1 else name for name, code in zip(names, codes, strict=True)]


def _lines(file: Path) -> list[str]:
    if not file.is_file():
        raise InputError("a file of the original layout is missing", str(file), f"unpack {TINY_FOLDER}.zip again")
    return [line for _, line in text_lines(file)]
