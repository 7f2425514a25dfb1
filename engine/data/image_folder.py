"""The user's own images: train/<class>/* and test/<class>/*, or a held-out share of each class."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np

from engine.data.image_files import CHANNELS, common_size, split_of_files
from engine.data.split import Source
from engine.run.class_folders import DEFAULT_SIDE, held_out_count, images_root, natural_order, survey
from engine.run.errors import InputError
from engine.run.settings import DatasetSettings

HELD_OUT_SEED = 0
SAMPLED = 64
Files = list[tuple[Path, int]]


def load_image_folder(settings: DatasetSettings) -> Source:
    """The folder as a data set; raises InputError with every class that lacks images or is unknown to train."""
    found = survey(settings.path, settings.test_share)
    if found.faults:
        raise InputError(list(found.faults))
    root, names = images_root(settings.path), list(found.names)
    train = _files(root / "train", names)
    if (root / "test").is_dir():
        test = _files(root / "test", names)
    else:
        train, test = _held_out(train, settings.test_share)
    size = settings.resolution or common_size(_sample(train) + _sample(test)) or DEFAULT_SIDE
    return Source(names, split_of_files(train, size), split_of_files(test, size), size, CHANNELS)


def _files(folder: Path, names: list[str]) -> Files:
    """Every file of every class, in class order and natural order."""
    return [(entry, label) for label, name in enumerate(names) for entry in _visible(folder / name)]


def _visible(folder: Path) -> list[Path]:
    return sorted(
        (entry for entry in folder.iterdir() if not entry.name.startswith(".")),
        key=lambda entry: natural_order(entry.name),
    )


def _held_out(files: Files, share: float) -> tuple[Files, Files]:
    """Train and test files: `share` of each class, at least one image, drawn alike on every run."""
    held: set[Path] = set()
    for _, members in groupby(files, key=lambda entry: entry[1]):
        own = [file for file, _ in members]
        count = held_out_count(len(own), share)
        held |= {own[i] for i in np.random.RandomState(HELD_OUT_SEED).permutation(len(own))[:count]}
    return [entry for entry in files if entry[0] not in held], [entry for entry in files if entry[0] in held]


def _sample(files: Files) -> list[Path]:
    return [file for file, _ in files[:: max(len(files) // SAMPLED, 1)]]
