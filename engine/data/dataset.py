"""The long-tailed data of a run: which images, whitened, on the device.

A balanced (or naturally imbalanced) data set is cut to the imbalance factor that the settings ask for, as the papers
build CIFAR-10-LT and the others; the test set stays whole.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from engine.data.image_files import Source
from engine.data.partition import WHOLE_IMAGES, Partition
from engine.data.sources import load_source
from engine.data.whitening import Whitening
from engine.run.data_settings import DatasetSettings, ValidationSettings
from engine.run.datasets import CHOOSES_NOTHING, wanted_counts
from engine.run.errors import FILES_SHOWN, InputError, listed
from engine.run.events import DataReady, Emit, Warned
from engine.run.held_out import group_of, places_by_group
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


def set_apart(members: np.ndarray, count: int, subset_seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Of a class's train images those that remain, and `count` that are set apart for validation, each in their order.

    Drawn by the seed of the subset, so that all methods and all seeds of runs choose by the same images.
    """
    apart = np.zeros(len(members), dtype=bool)
    # Not the draw of the subset itself, in whose order a class lies.
    apart[np.random.RandomState(subset_seed ^ 1).permutation(len(members))[:count]] = True
    return members[~apart], members[apart]


def set_groups_apart(
    by_class: Sequence[np.ndarray], counts: Sequence[int], subset_seed: int, pattern: str, files: Sequence[Path]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """As `set_apart` of each class, about as many; files of one group, by the pattern, stay on one side.

    A class whose groups do not allow it has none set apart.
    """
    groups = [[group_of(pattern, f"{files[i].parent.name}/{files[i].name}") for i in own] for own in by_class]
    places = places_by_group(groups, counts, subset_seed)
    return [(np.delete(own, apart), own[apart]) for own, apart in zip(by_class, places, strict=True)]


# --- The data of a run ------------------------------------------------------------------------------------------------


NO_IMAGES, NO_LABELS = torch.empty(0), torch.empty(0, dtype=torch.int64)


@dataclass(frozen=True)
class LongTailedData:
    """Whitened images float32 (N, channels, H, W) and labels int64 (N,) on the device; train is class after class.

    `class_counts`: train images of each class. `groups`: many, medium or few for each class; `grouping`: the rule in
    words. `partition`: how stored images become what networks see. `fingerprint`: a hash of pixels, labels and
    whitening, by which experts are cached. `test_set`: as of Source. `held_out_files`: test
    images that are files of train. `validation_images`, `validation_labels`: what the
    run chooses by, empty where it chooses nothing. `stand_ins`: classes that could spare none, whose own train images
    stand in. `train_bytes`: of the train images as files, or as pixels of 8 bits where they are no files. `tested_on`:
    what the test images are.
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
    validation_images: Tensor = NO_IMAGES
    validation_labels: Tensor = NO_LABELS
    stand_ins: tuple[int, ...] = ()
    train_bytes: int = 0
    tested_on: Literal["test", "validation"] = "test"

    @property
    def judging(self) -> LongTailedData:
        """The same data with the validation images in place of the test images, which no choice may see."""
        images, labels = self.validation_images, self.validation_labels
        return replace(self, test_images=images, test_labels=labels, tested_on="validation")

    @property
    def chooses(self) -> bool:
        """Whether the run has validation images, and chooses by them."""
        return len(self.validation_labels) > 0

    @property
    def validation_counts(self) -> list[int]:
        """Validation images of each class."""
        counts: list[int] = torch.bincount(self.validation_labels, minlength=self.num_classes).tolist()
        return counts

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
    settings: DatasetSettings,
    ipc: int,
    device: torch.device,
    emit: Emit,
    mini_images: int = 1,
    validation: ValidationSettings = CHOOSES_NOTHING,
) -> LongTailedData:
    """Loads, selects, sets validation images apart, whitens; emits DataReady, and Warned where classes are short.

    `mini_images`: how many lie along a side of each stored image.

    Raises InputError where the data set is missing or damaged, or a class would be left without images.
    """
    source = load_source(settings, emit)
    if settings.class_order == "count":
        source = source.by_count()
    everything = _select(source, settings, emit)
    chosen, judges, stand_ins = _spare(source, everything, settings, validation, emit)
    labels = source.train.labels[chosen]
    counts = np.bincount(labels, minlength=len(source.class_names)).tolist()
    short = [name for name, count in zip(source.class_names, counts, strict=True) if count < ipc * mini_images**2]
    if short:
        wanted = f"ipc {ipc}" if mini_images == 1 else f"{ipc * mini_images**2} mini-images a class"
        emit(Warned(f"fewer train images than {wanted}: {listed(short)}", "their images repeat at the start"))
    train, test = source.train.read(chosen), source.test.read(np.arange(len(source.test.labels)))
    judged = source.train.read(judges) if len(judges) else train[:0]
    # The known sets are taken as published; a person's own files are not.
    if settings.name in ("folder", "imagenet-lt"):
        _warn_of_copies(train, [source.train.files[i] for i in chosen], test, source.test.files, emit)
    # ZCA needs float64, which not every accelerator has.
    whitening_device = device if device.type == "cuda" else torch.device("cpu")
    train_images, test_images, judged_images = (
        pixels.to(whitening_device).float() / 255 for pixels in (train, test, judged)
    )
    whitening = Whitening.fit(train_images, settings.whitening, settings.whitening_epsilon, settings.whitening_rank)
    groups, grouping = class_groups(counts)
    whitened = whitening.train(train_images).to(device)
    files = [source.train.files[i] for i in chosen] if source.train.files else []
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
        fingerprint=_fingerprint(settings, train, labels, test, source.test.labels, judged),
        test_set=source.test_set,
        held_out_files=tuple(source.test.files) if source.held_out else (),
        partition=Partition.into(mini_images, whitening, whitened),
        # As test images are prepared, for which choices are made.
        validation_images=whitening.test(judged_images).to(device),
        validation_labels=torch.from_numpy(source.train.labels[judges]).to(device),
        stand_ins=stand_ins,
        train_bytes=sum(file.stat().st_size for file in files) or train.numel(),
    )
    few = [f"{name} ({n})" for name, n in zip(data.class_names, data.test_counts, strict=True) if n < FEW_TEST_IMAGES]
    if few:
        what = f"fewer than {FEW_TEST_IMAGES} test images: {listed(few)}"
        emit(Warned(what, HINT_FEW_TESTS + (HINT_FOLDS if settings.test_folds is None else "")))
    compression = len(train) / (ipc * data.num_classes)
    judging = data.validation_counts if data.chooses else [], list(stand_ins)
    emit(DataReady(data.class_names, counts, groups, grouping, len(test), compression, data.test_counts, *judging))
    return data


def _spare(
    source: Source, selected: np.ndarray, settings: DatasetSettings, validation: ValidationSettings, emit: Emit
) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Of the selected train images those to train on, those to choose by, both class after class, and the stand-ins.

    To choose by are images set apart, and of a class that can spare none, a stand-in, all of its own. None where no
    class can spare any: how well a set is known by heart is nothing to choose by.
    """
    by_class = [selected[source.train.labels[selected] == c] for c in range(len(source.class_names))]
    spared = validation.spared(list(map(len, by_class)))
    if settings.test_groups is None:
        parts = [set_apart(own, count, settings.subset_seed) for own, count in zip(by_class, spared, strict=True)]
    else:
        parts = set_groups_apart(by_class, spared, settings.subset_seed, settings.test_groups, source.train.files)
    if not any(len(apart) for _, apart in parts):
        if validation.share:
            why = f"no class has {validation.smallest} train images"
            hint = "lower validation.smallest"
            if any(spared):
                why, hint = "each class has one group of files left to train on", "change dataset.test_groups"
            what = f"{why}: none are set apart, and nothing is chosen by them"
            emit(Warned(what, f"the run starts and ends as if validation.share were 0; {hint}"))
        return selected, selected[:0], ()
    stand_ins = tuple(c for c, (_, apart) in enumerate(parts) if not len(apart))
    if stand_ins:
        what = f"no images of {listed([source.class_names[c] for c in stand_ins])} could be spared for validation"
        hint = f"validation.smallest {validation.smallest} is the fewest that a class has to have"
        hint += ", in two groups of files at least" if settings.test_groups else ""
        emit(Warned(f"{what}: their own train images stand in when a set is judged", hint))
    judges = [apart if len(apart) else kept for kept, apart in parts]
    return np.concatenate([kept for kept, _ in parts]), np.concatenate(judges), stand_ins


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
    settings: DatasetSettings,
    train: Tensor,
    labels: np.ndarray,
    test: Tensor,
    test_labels: np.ndarray,
    validation: Tensor,
) -> str:
    """Sixteen hex digits over pixels, labels and whitening settings; of the input, so it is alike on every machine."""
    rank = "" if settings.whitening_rank == "full" else f" {settings.whitening_rank}"
    whitening = f"{settings.whitening} {settings.whitening_epsilon}{rank}"
    digest = hashlib.sha256(f"{whitening} {tuple(train.shape)}".encode())
    # Without validation images the last part adds nothing, and the hash is that of older versions.
    for part in (train.numpy(), labels, test.numpy(), test_labels, validation.numpy()):
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()[:16]
