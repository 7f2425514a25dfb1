"""The user's own images: train/<class>/* and test/<class>/*, or a held-out share of each class."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np

from engine.data.image_files import CHANNELS, common_size, split_of_files
from engine.data.split import Source
from engine.run.class_folders import (
    DEFAULT_SIDE,
    class_names,
    held_out_count,
    images_root,
    natural_order,
    one_image_only,
    without_images,
)
from engine.run.errors import Fault, InputError
from engine.run.settings import DatasetSettings

HELD_OUT_SEED = 0
SAMPLED = 64
Files = list[tuple[Path, int]]


def load_image_folder(settings: DatasetSettings) -> Source:
    """The folder as a data set; raises InputError with every class that lacks images or is unknown to train."""
    root = images_root(settings.path)
    names = class_names(root / "train")
    faults: list[Fault] = []
    train = _files(root / "train", names, faults)
    if (root / "test").is_dir():
        test = _files(root / "test", names, faults)
        faults += [
            Fault("this class has no train images", str(root / "test" / name), f"put some into train/{name}")
            for name in class_names(root / "test")
            if name not in names
        ]
    else:
        train, test = _held_out(root / "train", train, names, settings.test_share, faults)
    if faults:
        raise InputError(faults)
    size = settings.resolution or common_size(_sample(train) + _sample(test)) or DEFAULT_SIDE
    return Source(names, split_of_files(train, size), split_of_files(test, size), size, CHANNELS)


def _visible(folder: Path) -> list[Path]:
    return sorted(
        (entry for entry in folder.iterdir() if not entry.name.startswith(".")),
        key=lambda entry: natural_order(entry.name),
    )


def _files(folder: Path, names: list[str], faults: list[Fault]) -> Files:
    """Every file of every class, in class order and natural order."""
    files: Files = []
    for label, name in enumerate(names):
        entries = _visible(folder / name) if (folder / name).is_dir() else []
        if not entries:
            faults.append(without_images(folder / name))
        faults += [
            Fault("a folder inside a class", str(entry), "images lie directly in their class folder")
            for entry in entries
            if entry.is_dir()
        ]
        files += [(entry, label) for entry in entries]
    return files


def _held_out(folder: Path, files: Files, names: list[str], share: float, faults: list[Fault]) -> tuple[Files, Files]:
    """Train and test files: `share` of each class, at least one image, drawn alike on every run."""
    held: set[Path] = set()
    for label, members in groupby(files, key=lambda entry: entry[1]):
        own = [file for file, _ in members]
        if len(own) == 1:
            faults.append(one_image_only(folder / names[label]))
        count = held_out_count(len(own), share)
        held |= {own[i] for i in np.random.RandomState(HELD_OUT_SEED).permutation(len(own))[:count]}
    return [entry for entry in files if entry[0] not in held], [entry for entry in files if entry[0] in held]


def _sample(files: Files) -> list[Path]:
    return [file for file, _ in files[:: max(len(files) // SAMPLED, 1)]]
