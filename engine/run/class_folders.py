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


def without_images(folder: Path) -> Fault:
    """The fault of a class that is empty."""
    return Fault("this class has no images", str(folder), "add some, or remove the class")


def one_image_only(folder: Path) -> Fault:
    """The fault of a class that has one image where some are to be held out."""
    return Fault("one image is too few to train and to test", str(folder), "add images, or a test/ folder")


def survey(path: str | None, test_share: float) -> Survey:
    """What a folder gives to train on; raises InputError where it is no folder of classes."""
    root = images_root(path)
    names, holds_out = class_names(root / "train"), not (root / "test").is_dir()
    counts, faults, tests = [], [], 0
    for name in names:
        folder = root / "train" / name
        found = _images(folder)
        if found == 0:
            faults.append(without_images(folder))
        elif found == 1 and holds_out:
            faults.append(one_image_only(folder))
        held_out = held_out_count(found, test_share) if holds_out and found else 0
        counts.append(found - held_out)
        tests += _images(root / "test" / name) if (root / "test" / name).is_dir() else held_out
    return Survey(tuple(names), tuple(counts), tuple(faults), tests)


def sampled_side(train: Path, names: Sequence[str]) -> int:
    """The side of the images by a look at one of some classes, where a run looks at more."""
    from PIL import Image

    sizes = set()
    for name in names[:SAMPLED_CLASSES]:
        with os.scandir(train / name) as entries:
            first = next((entry.path for entry in entries if not entry.name.startswith(".")), "")
        try:
            with Image.open(first) as image:
                sizes.add(image.size)
        except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
            return DEFAULT_SIDE
    width, height = sizes.pop() if len(sizes) == 1 else (0, 1)
    return width if width == height else DEFAULT_SIDE


def _images(folder: Path) -> int:
    with os.scandir(folder) as entries:
        return sum(not entry.name.startswith(".") for entry in entries)
