"""A person's own images as folders: which classes there are, in which order, and how many images a run would take.

Only names are looked at, so that both the engine and the face may ask, the face as one types.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.run.errors import Fault, InputError
from engine.run.folder import expanded

# The side of images of many sizes, and how many classes are looked at for the one size of all.
DEFAULT_SIDE, SAMPLED_CLASSES = 32, 16
LAYOUT = "give a folder that holds train/<class>/* and test/<class>/* (or train alone)"


@dataclass(frozen=True)
class Survey:
    """The classes of a folder in order, the train images of each, and what would keep a run from taking them.

    test_images: of all classes together.
    """

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


def class_names(folder: Path) -> list[str]:
    """The classes of train/ or test/ in natural order; raises InputError where there are fewer than two."""
    with os.scandir(folder) as entries:
        names = sorted((e.name for e in entries if not e.name.startswith(".") and e.is_dir()), key=natural_order)
    if len(names) < 2:
        found = "1 class folder" if names else "no class folders"
        raise InputError(
            f"at least 2 classes are needed, and there is {found}",
            str(folder),
            "put the images of each class into a folder of its own",
        )
    return names


def held_out_count(images: int, share: float) -> int:
    """How many images of a class are kept for testing where there is no test/: at least one, never all."""
    return min(max(round(share * images), 1), images - 1)


def survey(path: str | None, test_share: float) -> Survey:
    """What a folder gives to train on, and every fault of its classes; raises InputError where it holds none."""
    root, faults = images_root(path), list[Fault]()
    names, tests = class_names(root / "train"), root / "test"
    train = [_counted(root / "train" / name, faults) for name in names]
    if tests.is_dir():
        test = [_counted(tests / name, faults) for name in names]
        unknown = (name for name in class_names(tests) if name not in names)
        faults += [
            Fault("this class has no train images", str(tests / name), f"put some into train/{name}")
            for name in unknown
        ]
        return Survey(tuple(names), tuple(train), tuple(faults), sum(test))
    faults += [
        Fault("one image is too few to train and to test", str(root / "train" / name), "add images, or a test/ folder")
        for name, count in zip(names, train, strict=True)
        if count == 1
    ]
    held_out = [held_out_count(count, test_share) if count else 0 for count in train]
    left = tuple(count - held for count, held in zip(train, held_out, strict=True))
    return Survey(tuple(names), left, tuple(faults), sum(held_out))


def _counted(folder: Path, faults: list[Fault]) -> int:
    """The images of a class, by their names; a class without any, and folders among them, are faults."""
    entries: list[os.DirEntry[str]] = []
    if folder.is_dir():
        with os.scandir(folder) as found:
            entries = [entry for entry in found if not entry.name.startswith(".")]
    if not entries:
        faults.append(Fault("this class has no images", str(folder), "add some, or remove the class"))
    faults += [
        Fault("a folder inside a class", entry.path, "images lie directly in their class folder")
        for entry in entries
        if entry.is_dir()
    ]
    return len(entries)


def sampled_side(train: Path, names: Sequence[str]) -> int:
    """The side of the images by a look at one of some classes, where a run looks at more."""
    from PIL import Image

    from engine.run.own_images import BROKEN

    sizes = set()
    for name in names[:SAMPLED_CLASSES]:
        with os.scandir(train / name) as entries:
            first = next((entry.path for entry in entries if not entry.name.startswith(".")), "")
        try:
            with Image.open(first) as image:
                sizes.add(image.size)
        except BROKEN:
            return DEFAULT_SIDE
    width, height = sizes.pop() if len(sizes) == 1 else (0, 1)
    return width if width == height else DEFAULT_SIDE
