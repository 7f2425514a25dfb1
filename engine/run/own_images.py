"""What is wrong with a person's own images as far as names and first bytes tell: nothing is decoded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from engine.run.catalog import long_tailed
from engine.run.checks import empty_tail
from engine.run.class_folders import images_root, survey
from engine.run.errors import Fault, InputError
from engine.run.settings import DatasetSettings

# Pillow answers a broken file with any of these, by format and by where it is broken.
BROKEN = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)
FAULTS_SHOWN = 10
_READERS = 8


def image_faults(dataset: DatasetSettings) -> list[Fault]:
    """The faults of a folder of images that a run would meet, all at once; of other data sets none is looked for."""
    if dataset.name != "folder":
        return []
    try:
        found = survey(dataset.path, dataset.test_share)
    except InputError as error:
        return list(error.faults)
    # What an empty class leaves of a tail says nothing more.
    tail = [] if found.faults else empty_tail(dataset, long_tailed(found.counts, dataset))
    return [*found.faults, *tail, *shown(_unreadable(images_root(dataset.path)))]


def fault_of(file: Path, error: Exception) -> Fault:
    """What an exception says of an image file."""
    if isinstance(error, FileNotFoundError):
        return Fault("the image is missing", str(file), "put it there, or take it out of the list")
    if isinstance(error, Image.DecompressionBombError):
        return Fault("the image has too many pixels to be read", str(file), "scale it down, or take it away")
    return Fault("this is no image that can be read", str(file), "take the file away, or replace it")


def shown(faults: list[Fault]) -> list[Fault]:
    """The first of very many faults, and how many more there are."""
    more = len(faults) - FAULTS_SHOWN
    return faults[:FAULTS_SHOWN] + ([Fault(f"{more} more files like these")] if more > 0 else [])


def _unreadable(root: Path) -> list[Fault]:
    with ThreadPoolExecutor(_READERS) as pool:
        return [fault for fault in pool.map(_by_header, _files(root)) if fault]


def _files(root: Path) -> Iterator[Path]:
    """Every file of every class, of train/ and then of test/."""
    for split in (root / "train", root / "test"):
        for folder in sorted(split.iterdir()) if split.is_dir() else ():
            if folder.is_dir() and not folder.name.startswith("."):
                with os.scandir(folder) as entries:
                    yield from sorted(Path(e.path) for e in entries if not e.name.startswith(".") and not e.is_dir())


def _by_header(file: Path) -> Fault | None:
    try:
        with Image.open(file):
            return None
    except BROKEN as error:
        return fault_of(file, error)
