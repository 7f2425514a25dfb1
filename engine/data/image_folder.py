"""The user's own images: train/<class>/* and test/<class>/*, or a held-out share of each class."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np

from engine.data.image_files import CHANNELS, common_size, natural_order, split_of_files
from engine.data.split import Source
from engine.run.errors import Fault, InputError
from engine.run.settings import DatasetSettings

DEFAULT_SIZE = 32
HELD_OUT_SEED = 0
SAMPLED = 64
Files = list[tuple[Path, int]]


def load_image_folder(settings: DatasetSettings) -> Source:
    """The folder as a data set; raises InputError with every class that lacks images or is unknown to train."""
    root = _root(settings)
    names = _class_folders(root / "train")
    faults: list[Fault] = []
    train = _files(root / "train", names, faults)
    if (root / "test").is_dir():
        test = _files(root / "test", names, faults)
        faults += [
            Fault("this class has no train images", str(root / "test" / name), f"put some into train/{name}")
            for name in _class_folders(root / "test")
            if name not in names
        ]
    else:
        train, test = _held_out(root / "train", train, names, settings.test_share, faults)
    if faults:
        raise InputError(faults)
    size = settings.resolution or common_size(_sample(train) + _sample(test)) or DEFAULT_SIZE
    return Source(names, split_of_files(train, size), split_of_files(test, size), size, CHANNELS)


def _root(settings: DatasetSettings) -> Path:
    layout = "give a folder that holds train/<class>/* and test/<class>/* (or train alone)"
    if settings.path is None:
        raise InputError("dataset folder needs a path", "dataset.path", layout)
    root = Path(settings.path).expanduser()
    if not root.is_dir():
        raise InputError("there is no such folder", str(root), layout)
    if not (root / "train").is_dir():
        raise InputError("the folder holds no train/", str(root), layout)
    return root


def _visible(folder: Path) -> list[Path]:
    return sorted(
        (entry for entry in folder.iterdir() if not entry.name.startswith(".")),
        key=lambda entry: natural_order(entry.name),
    )


def _class_folders(folder: Path) -> list[str]:
    names = [entry.name for entry in _visible(folder) if entry.is_dir()]
    if len(names) < 2:
        found = "1 class folder" if names else "no class folders"
        raise InputError(
            f"at least 2 classes are needed, and there is {found}",
            str(folder),
            "put the images of each class into a folder of its own",
        )
    return names


def _files(folder: Path, names: list[str], faults: list[Fault]) -> Files:
    """Every file of every class, in class order and natural order."""
    files: Files = []
    for label, name in enumerate(names):
        entries = _visible(folder / name) if (folder / name).is_dir() else []
        if not entries:
            faults.append(Fault("this class has no images", str(folder / name), "add some, or remove the class"))
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
            faults.append(
                Fault(
                    "one image is too few to train and to test",
                    str(folder / names[label]),
                    "add images, or a test/ folder",
                )
            )
        count = min(max(round(share * len(own)), 1), len(own) - 1)
        held |= {own[i] for i in np.random.RandomState(HELD_OUT_SEED).permutation(len(own))[:count]}
    return [entry for entry in files if entry[0] not in held], [entry for entry in files if entry[0] in held]


def _sample(files: Files) -> list[Path]:
    return [file for file, _ in files[:: max(len(files) // SAMPLED, 1)]]
