"""Reads the previews of a run, only the pixels and the label that are shown. Slow, so called in a thread."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

from PIL import Image, UnidentifiedImageError

from engine.run.events import Preview
from engine.run.folder import verify_file
from engine.run.image_headers import opened_image
from engine.run.regular_files import open_regular

WHOLE_BYTES, BYTES_A_PIXEL = 64 * 2**20, 4
MARGIN_ROWS = 16
MIDDLE, FACTORS, SAMPLED_PIXELS = 128, (64, 32, 16, 8, 4, 2, 1), 2**19
PIECE_BYTES = 2**20

# Pillow takes more than 89 million pixels for an attack; 50 images of 64 pixels for each of 1,000 classes are 205.
# What is opened has the size that the run said.
Image.MAX_IMAGE_PIXELS = 2**28


class Unreadable(Exception):
    """A preview that cannot be shown; its text says which file, and why."""


@dataclass(frozen=True)
class Sheet:
    """Pixels of the classes `first` to `last` (without it) of a preview."""

    path: Path
    preview: Preview
    pixels: Image.Image
    first: int
    last: int

    def holds(self, path: Path, preview: Preview, first: int, last: int) -> bool:
        """Whether these classes of that preview are here."""
        return (self.path, self.preview) == (path, preview) and self.first <= first and last <= self.last

    def pixels_of(self, first: int, last: int) -> Image.Image:
        """The pixels of the classes `first` to `last` (without it)."""
        size = self.preview.image_size
        return self.pixels.crop((0, (first - self.first) * size, self.pixels.width, (last - self.first) * size))

    def image(self, row: int, column: int) -> Image.Image:
        """One synthetic image."""
        size = self.preview.image_size
        left, top = column * size, (row - self.first) * size
        return self.pixels.crop((left, top, left + size, top + size))


@dataclass(frozen=True)
class Change:
    """How the images of one preview differ from those of another: amplified `factor` times around middle gray."""

    sheet: Sheet
    start: Sheet

    @cached_property
    def factor(self) -> int:
        """The largest power of two that leaves 99 of 100 of the differences within 8 bits."""
        import numpy as np

        first, last = max(self.sheet.first, self.start.first), min(self.sheet.last, self.start.last)
        both = [sheet.pixels_of(first, last) for sheet in (self.sheet, self.start)]
        # Of a large sheet every few pixels are enough.
        every = max(1, math.isqrt(both[0].width * both[0].height // SAMPLED_PIXELS))
        now, then = (np.asarray(pixels, dtype=np.int16)[::every, ::every] for pixels in both)
        usual = float(np.quantile(np.abs(now - then), 0.99))
        return next(factor for factor in FACTORS if factor == 1 or factor * usual <= MIDDLE - 1)

    def image(self, row: int, column: int) -> Image.Image:
        """The amplified difference of one image."""
        import numpy as np

        now, then = (np.asarray(sheet.image(row, column), dtype=np.int16) for sheet in (self.sheet, self.start))
        return Image.fromarray((MIDDLE + self.factor * (now - then)).clip(0, 255).astype(np.uint8))


def read_sheet(path: Path, preview: Preview, first: int, last: int) -> Sheet:
    """A preview with at least these classes: all of it, or of a very large one only those and their neighbors.

    Raises Unreadable.
    """
    width, height = preview.columns * preview.image_size, preview.rows * preview.image_size
    try:
        with opened_image(path, ["PNG"]) as file:
            if file.size != (width, height):
                raise Unreadable(f"{preview.path} is {file.width}x{file.height}, not {width}x{height} pixels")
            if width * height * BYTES_A_PIXEL > WHOLE_BYTES:
                first, last = max(first - MARGIN_ROWS, 0), min(last + MARGIN_ROWS, preview.rows)
            else:
                first, last = 0, preview.rows
            pixels = file.crop((0, first * preview.image_size, width, last * preview.image_size)).convert("RGB")
    except FileNotFoundError:
        raise Unreadable(f"{preview.path} is missing") from None
    except UnidentifiedImageError:
        raise Unreadable(f"{preview.path} is no PNG") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, MemoryError) as error:
        raise Unreadable(f"{preview.path} cannot be read: {_reason(error)}") from error
    return Sheet(path, preview, pixels, first, last)


def read_label(path: Path, preview: Preview, row: int, column: int, classes: int | None) -> list[float]:
    """The soft label of one image: a probability for each class. Raises Unreadable.

    The others are skipped, not parsed: a set of 1,000 classes has fifty million numbers.
    """
    place, images = row * preview.columns + column, preview.rows * preview.columns
    try:
        verify_file(path)
        with open_regular(path) as file:
            text, count = _list_at(file, place)
    except FileNotFoundError:
        raise Unreadable(f"{preview.labels} is missing") from None
    except (OSError, ValueError) as error:
        raise Unreadable(f"{preview.labels} cannot be read: {_reason(error)}") from error
    if count != images:
        raise Unreadable(f"{preview.labels} does not hold {images} labels but {count}")
    try:
        label: list[float] = json.loads(text)
    except ValueError:
        label = []
    valid = isinstance(label, list) and all(isinstance(share, int | float) and 0 <= share <= 1 for share in label)
    if not valid or not label or (classes and len(label) != classes):
        raise Unreadable(f"{preview.labels}: label {place + 1} is damaged")
    return label


def _list_at(file: IO[bytes], place: int) -> tuple[bytes, int]:
    """The text of one list in a JSON list of lists of numbers, and how many lists there are; piece by piece."""
    opened, kept = -1, b""
    while piece := file.read(PIECE_BYTES):
        if kept and b"]" not in kept:
            kept += piece
        opens = piece.count(b"[")
        if opened <= place < opened + opens:
            kept = b"[" + piece.split(b"[", place - opened + 1)[-1]
        opened += opens
    return kept[: kept.find(b"]") + 1], max(opened, 0)


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0][:60] if str(error) else type(error).__name__
