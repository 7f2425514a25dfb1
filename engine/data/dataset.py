"""The long-tailed data of a run: which images, whitened, on the device.

A balanced (or naturally imbalanced) data set is cut to the imbalance factor that the settings ask for, as the papers
build CIFAR-10-LT and the others; the test set stays whole.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from engine.data.image_files import Source
from engine.data.partition import WHOLE_IMAGES, Partition
from engine.data.sources import load_source
from engine.data.whitening import Whitening
from engine.run.data_settings import DatasetSettings
from engine.run.datasets import wanted_counts
from engine.run.errors import FILES_SHOWN, InputError, listed
from engine.run.events import DataReady, Emit, Warned
from engine.run.metrics import FEW_TEST_IMAGES, GROUPS
from engine.run.repeated_images import HINT_REPEATED

MANY_ABOVE, FEW_BELOW = 100, 20
"""Train images of a many-shot and of a few-shot class (ImageNet-LT's borders)."""
HINT_FEW_TESTS = "accuracy by class is shown with 95 % intervals; more test images tell more"
HINT_FOLDS = ", or dataset.test_folds, which tests every image of a folder without test/ once"


# --- The long tail ----------------------------------------------------------------------------------------------------


def select_long_tailed(
    labels: np.ndarray, num_classes: int, imbalance_factor: float | Literal["natural"], subset_seed: int
) -> np.ndarray:
    """Indices of the long-tailed subset of `labels` (N,), class after class, each in the order drawn.

    A class that has fewer images than asked for gives all of them; `natural` takes every image, unshuffled.
    """
    members = [np.flatnonzero(labels == c) for c in range(num_classes)]
    if imbalance_factor == "natural":
        return np.concatenate(members)
    sizes = [len(own) for own in members]
    kept = [min(size, wanted) for size, wanted in zip(sizes, wanted_counts(sizes, imbalance_factor), strict=True)]
    # A fresh generator with the same seed for every class, as in the official code: the same images as there.
    return np.concatenate(
        [
            own[np.random.RandomState(subset_seed).choice(len(own), count, replace=False)]
            for own, count in zip(members, kept, strict=True)
        ]
    )


def class_groups(counts: list[int]) -> tuple[list[str], str]:
    """many, medium or few for each class, and the rule in words.

    By the number of train images; where that leaves a group empty, thirds of the classes by rank.
    """
    groups = ["many" if count > MANY_ABOVE else "few" if count < FEW_BELOW else "medium" for count in counts]
    if len(set(groups)) == 3:
        return groups, f"by images: many > {MANY_ABOVE}, medium {FEW_BELOW}-{MANY_ABOVE}, few < {FEW_BELOW}"
    ranked = np.argsort([-count for count in counts], kind="stable")
    for name, classes in zip(GROUPS, np.array_split(ranked, 3), strict=True):
        for c in classes:
            groups[c] = name
    return groups, "thirds of the classes, ranked by images"


# --- The data of a run ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LongTailedData:
    """Whitened images float32 (N, channels, H, W) and labels int64 (N,) on the device; train is class after class.

    `class_counts`: train images of each class. `groups`: many, medium or few for each class; `grouping`: the rule in
    words. `partition`: how stored images become what networks see. `fingerprint`: a hash of pixels, labels and
    whitening, by which experts are cached. `test_set`: as of Source. `held_out_files`: test images that are
    files of train.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    class_names: list[str]
    class_counts: list[int]
    groups: list[str]
    grouping: str
    whitening: Whitening
    channels: int
    image_size: int
    fingerprint: str
    test_set: str = ""
    held_out_files: tuple[Path, ...] = ()
    partition: Partition = WHOLE_IMAGES

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.class_names)

    @property
    def test_counts(self) -> list[int]:
        """Test images of each class."""
        counts: list[int] = torch.bincount(self.test_labels, minlength=self.num_classes).tolist()
        return counts

    @functools.cached_property
    def test_hash(self) -> str:
        """A hash of the test images as networks see them, and of their labels."""
        return content_hash([self.test_images, self.test_labels])


def load_long_tailed(
    settings: DatasetSettings, ipc: int, device: torch.device, emit: Emit, mini_images: int = 1
) -> LongTailedData:
    """Loads, selects and whitens; emits DataReady, and Warned where classes are short of images.

    `mini_images`: how many lie along a side of each stored image.

    Raises InputError where the data set is missing or damaged, or a class would be left without images.
    """
    source = load_source(settings, emit)
    if settings.class_order == "count":
        source = source.by_count()
    chosen = _select(source, settings, emit)
    labels = source.train.labels[chosen]
    counts = np.bincount(labels, minlength=len(source.class_names)).tolist()
    short = [name for name, count in zip(source.class_names, counts, strict=True) if count < ipc * mini_images**2]
    if short:
        wanted = f"ipc {ipc}" if mini_images == 1 else f"{ipc * mini_images**2} mini-images a class"
        emit(Warned(f"fewer train images than {wanted}: {listed(short)}", "their images repeat at the start"))
    train, test = source.train.read(chosen), source.test.read(np.arange(len(source.test.labels)))
    # The known sets are taken as published; a person's own files are not.
    if settings.name in ("folder", "imagenet-lt"):
        _warn_of_copies(train, [source.train.files[i] for i in chosen], test, source.test.files, emit)
    # ZCA needs float64, which not every accelerator has.
    whitening_device = device if device.type == "cuda" else torch.device("cpu")
    train_images, test_images = (pixels.to(whitening_device).float() / 255 for pixels in (train, test))
    whitening = Whitening.fit(train_images, settings.whitening, settings.whitening_epsilon)
    groups, grouping = class_groups(counts)
    whitened = whitening.train(train_images).to(device)
    data = LongTailedData(
        train_images=whitened,
        train_labels=torch.from_numpy(labels).to(device),
        test_images=whitening.test(test_images).to(device),
        test_labels=torch.from_numpy(source.test.labels).to(device),
        class_names=source.class_names,
        class_counts=counts,
        groups=groups,
        grouping=grouping,
        whitening=whitening,
        channels=source.channels,
        image_size=source.image_size,
        fingerprint=_fingerprint(settings, train, labels, test, source.test.labels),
        test_set=source.test_set,
        held_out_files=tuple(source.test.files) if source.held_out else (),
        partition=Partition.into(mini_images, whitening, whitened),
    )
    few = [f"{name} ({n})" for name, n in zip(data.class_names, data.test_counts, strict=True) if n < FEW_TEST_IMAGES]
    if few:
        what = f"fewer than {FEW_TEST_IMAGES} test images: {listed(few)}"
        emit(Warned(what, HINT_FEW_TESTS + (HINT_FOLDS if settings.test_folds is None else "")))
    compression = len(train) / (ipc * data.num_classes)
    emit(DataReady(data.class_names, counts, groups, grouping, len(test), compression, data.test_counts))
    return data


def _select(source: Source, settings: DatasetSettings, emit: Emit) -> np.ndarray:
    """Indices of the long-tailed train images; warns of classes that have fewer than they are asked for."""
    available = np.bincount(source.train.labels, minlength=len(source.class_names)).tolist()
    wanted = wanted_counts(available, settings.imbalance_factor)
    empty = [name for name, count in zip(source.class_names, wanted, strict=True) if count < 1]
    if empty:
        factor, largest = settings.imbalance_factor, max(available)
        what = f"imbalance factor {factor} of {largest} images leaves none for {listed(empty)}"
        raise InputError(what, "dataset.imbalance_factor", "lower it, or use natural")
    counts = zip(source.class_names, available, wanted, strict=True)
    if too_small := [f"{name} ({has} of {asked})" for name, has, asked in counts if has < asked]:
        what = f"classes smaller than their place in the tail asks for: {listed(too_small)}"
        emit(Warned(what, "all their images are taken; dataset.class_order count puts the largest class first"))
    return select_long_tailed(source.train.labels, len(available), settings.imbalance_factor, settings.subset_seed)


def _warn_of_copies(
    train: Tensor, train_files: Sequence[Path], test: Tensor, test_files: Sequence[Path], emit: Emit
) -> None:
    """Warns of test images whose pixels are those of a train image in another file, as a copy has."""
    trained = {hash(image.tobytes()): file for image, file in zip(train.numpy(), train_files, strict=True)}
    alike = [(trained.get(hash(image.tobytes())), file) for image, file in zip(test.numpy(), test_files, strict=True)]
    # One file in train and test was told of when the files were listed.
    copies = [f"{file} = {copied}" for copied, file in alike if copied and not os.path.samefile(copied, file)]
    if copies:
        named = listed(copies, FILES_SHOWN)
        what = f"{len(copies):,} of {len(test):,} test images have the same pixels as a train image ({named})"
        emit(Warned(what, HINT_REPEATED))


def content_hash(tensors: Iterable[Tensor]) -> str:
    """A hash of the types, shapes and values of tensors."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _fingerprint(
    settings: DatasetSettings, train: Tensor, labels: np.ndarray, test: Tensor, test_labels: np.ndarray
) -> str:
    """Sixteen hex digits over pixels, labels and whitening settings; of the input, so it is alike on every machine."""
    digest = hashlib.sha256(f"{settings.whitening} {settings.whitening_epsilon} {tuple(train.shape)}".encode())
    for part in (train.numpy(), labels, test.numpy(), test_labels):
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()[:16]
