"""The long-tailed data of a run: selected, whitened, on the device."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from engine.data.image_files import Source
from engine.data.sources import load_source
from engine.data.whitening import Whitening
from engine.run.datasets import class_counts
from engine.run.errors import InputError
from engine.run.events import DataReady, Emit, Warned
from engine.run.settings import DatasetSettings

# The long tail: how many images each class keeps, which ones, and which classes count as many, medium or few-shot.


MANY_ABOVE, FEW_BELOW = 100, 20


def wanted_counts(available: list[int], imbalance_factor: float | Literal["natural"]) -> list[int]:
    """Images per class that the imbalance factor asks for, its head as large as the largest class (method, section 1).

    A class may have fewer available; natural asks for all there are.
    """
    if imbalance_factor == "natural":
        return list(available)
    return class_counts(max(available), imbalance_factor, len(available))


def select_long_tailed(
    labels: np.ndarray, num_classes: int, imbalance_factor: float | Literal["natural"], subset_seed: int
) -> np.ndarray:
    """Indices of the long-tailed subset of `labels` (N,), class after class in the order drawn.

    Every class is drawn from a fresh generator with the same seed, as in the official code; a class short of its
    count gives all it has, and natural takes every image in the order of the labels.
    """
    members = [np.flatnonzero(labels == c) for c in range(num_classes)]
    if imbalance_factor == "natural":
        return np.concatenate(members)
    sizes = [len(own) for own in members]
    kept = [min(size, wanted) for size, wanted in zip(sizes, wanted_counts(sizes, imbalance_factor), strict=True)]
    return np.concatenate(
        [
            own[np.random.RandomState(subset_seed).choice(len(own), count, replace=False)]
            for own, count in zip(members, kept, strict=True)
        ]
    )


def class_groups(counts: list[int]) -> tuple[list[str], str]:
    """many, medium or few for each class, and the rule in words: by count, else by rank where a group were empty."""
    groups = ["many" if count > MANY_ABOVE else "few" if count < FEW_BELOW else "medium" for count in counts]
    if len(set(groups)) == 3:
        return groups, f"by images: many > {MANY_ABOVE}, medium {FEW_BELOW}-{MANY_ABOVE}, few < {FEW_BELOW}"
    ranked = np.argsort([-count for count in counts], kind="stable")
    for name, classes in zip(("many", "medium", "few"), np.array_split(ranked, 3), strict=True):
        for c in classes:
            groups[c] = name
    return groups, "thirds of the classes, ranked by images"


NAMES_SHOWN = 8


@dataclass(frozen=True)
class LongTailedData:
    """Whitened images float32 (N, C, H, W) and labels int64 (N,), train grouped by class; `fingerprint` names them.

    groups: many, medium or few for each class; grouping: the rule in words.
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

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)


def load_long_tailed(settings: DatasetSettings, ipc: int, device: torch.device, emit: Emit) -> LongTailedData:
    """Loads, selects and whitens; emits DataReady and warnings; raises InputError where the data does not fit."""
    source = load_source(settings)
    if settings.class_order == "count":
        source = source.by_count()
    chosen = _selected(source, settings, emit)
    labels = source.train.labels[chosen]
    counts = np.bincount(labels, minlength=len(source.class_names)).tolist()
    short = [name for name, count in zip(source.class_names, counts, strict=True) if count < ipc]
    if short:
        emit(Warned(f"fewer train images than ipc {ipc}: {_listed(short)}", "their images repeat at the start"))
    train, test = source.train.read(chosen), source.test.read(np.arange(len(source.test.labels)))
    data = _assembled(source, settings, train, labels, test, counts, device)
    emit(
        DataReady(
            data.class_names,
            counts,
            data.groups,
            data.grouping,
            len(test),
            len(train) / (ipc * data.num_classes),
        )
    )
    return data


def _selected(source: Source, settings: DatasetSettings, emit: Emit) -> np.ndarray:
    """Indices of the long-tailed train images; warns of classes that cannot give what was asked of them."""
    available = np.bincount(source.train.labels, minlength=len(source.class_names)).tolist()
    wanted = wanted_counts(available, settings.imbalance_factor)
    empty = [name for name, count in zip(source.class_names, wanted, strict=True) if count < 1]
    if empty:
        raise InputError(
            f"imbalance factor {settings.imbalance_factor} of {max(available)} images leaves none for {_listed(empty)}",
            "dataset.imbalance_factor",
            "lower it, or use natural",
        )
    short = [
        f"{name} ({has} of {asked})"
        for name, has, asked in zip(source.class_names, available, wanted, strict=True)
        if has < asked
    ]
    if short:
        emit(
            Warned(
                f"classes smaller than their place in the tail asks for: {_listed(short)}",
                "all their images are taken; dataset.class_order count puts the largest class first",
            )
        )
    return select_long_tailed(source.train.labels, len(available), settings.imbalance_factor, settings.subset_seed)


def _assembled(
    source: Source,
    settings: DatasetSettings,
    train: Tensor,
    labels: np.ndarray,
    test: Tensor,
    counts: list[int],
    device: torch.device,
) -> LongTailedData:
    # ZCA needs float64, which not every accelerator has.
    workplace = device if device.type == "cuda" else torch.device("cpu")
    train_images, test_images = (pixels.to(workplace).float() / 255 for pixels in (train, test))
    whitening = Whitening.fit(train_images, settings.whitening, settings.whitening_epsilon)
    groups, grouping = class_groups(counts)
    return LongTailedData(
        train_images=whitening.train(train_images).to(device),
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
    )


def _fingerprint(
    settings: DatasetSettings, train: Tensor, labels: np.ndarray, test: Tensor, test_labels: np.ndarray
) -> str:
    """Sixteen hex digits of the pixels, labels and whitening: the same on every machine."""
    digest = hashlib.sha256(f"{settings.whitening} {settings.whitening_epsilon} {tuple(train.shape)}".encode())
    for part in (train.numpy(), labels, test.numpy(), test_labels):
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()[:16]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


# Which real images stand for a class: the start of distillation, and the random baseline.


def pick_real_images(data: LongTailedData, ipc: int, draw: torch.Generator, allowed: Tensor | None = None) -> Tensor:
    """Indices (C * IPC,) of real images in class order, without repeats while a class has images left.

    Only images marked in `allowed` (N,) are taken, in classes that have any; a class with fewer than IPC starts over.
    """
    picked = []
    for c in range(data.num_classes):
        members = torch.nonzero(data.train_labels == c).flatten().cpu()
        if allowed is not None and allowed[members].any():
            members = members[allowed[members]]
        order = members[torch.randperm(len(members), generator=draw)]
        picked.append(order.repeat(-(-ipc // len(order)))[:ipc])
    return torch.cat(picked).to(data.train_labels.device)
