"""Folders of random images in the shape of a known data set: as quick to train on as the real ones, and as large."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from PIL import Image


def make_random_images(folder: Path, train: Sequence[int], test: Sequence[int], side: int) -> None:
    """Writes <folder>/train/<class>/* and test/<class>/*, so many PNG files a class, whole or not at all."""
    unfinished, draw = folder.with_name(f"{folder.name}.unfinished"), random.Random(0)
    for split, counts in (("train", train), ("test", test)):
        for label, count in enumerate(counts):
            place = unfinished / split / f"{label:03d}"
            place.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                image = Image.frombytes("RGB", (side, side), draw.randbytes(3 * side**2))
                image.save(place / f"{number:05d}.png", compress_level=0)
    unfinished.rename(folder)
