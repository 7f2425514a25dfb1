"""Image files of any kind as RGB pixels: decoded in a thread pool, brought to one square size."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from engine.data.split import Split
from engine.run.errors import Fault, InputError
from engine.run.own_images import BROKEN, fault_of, shown

CHANNELS = 3
_FILES_A_TASK = 64


def split_of_files(entries: Sequence[tuple[Path, int]], image_size: int) -> Split:
    """A split of image files and labels; reading raises InputError with every file that is missing or no image."""

    def read(indices: np.ndarray) -> Tensor:
        return read_images([entries[i][0] for i in indices], image_size)

    return Split(np.array([label for _, label in entries], dtype=np.int64), read)


def read_images(files: Sequence[Path], image_size: int) -> Tensor:
    """The files as uint8 (n, 3, image_size, image_size): the short side scaled, the middle of the long side kept."""
    pixels = np.empty((len(files), image_size, image_size, CHANNELS), dtype=np.uint8)

    def decode(start: int) -> list[Fault]:
        faults = []
        for i in range(start, min(start + _FILES_A_TASK, len(files))):
            try:
                pixels[i] = np.asarray(_decoded(files[i], image_size))
            except BROKEN as error:
                faults.append(fault_of(files[i], error))
        return faults

    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 16)) as pool:
        faults = [fault for found in pool.map(decode, range(0, len(files), _FILES_A_TASK)) for fault in found]
    if faults:
        raise InputError(shown(faults))
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def common_size(files: Sequence[Path]) -> int | None:
    """The side of the images where all files are square and of one size, by their headers; raises InputError."""
    sizes = set()
    for file in files:
        try:
            with Image.open(file) as image:
                sizes.add(image.size)
        except BROKEN as error:
            raise InputError([fault_of(file, error)]) from None
    width, height = sizes.pop() if len(sizes) == 1 else (0, 1)
    return width if width == height else None


def _decoded(file: Path, image_size: int) -> Image.Image:
    with Image.open(file) as image:
        image.load()
        upright = _rgb(ImageOps.exif_transpose(image))
    if upright.size == (image_size, image_size):
        return upright
    return ImageOps.fit(upright, (image_size, image_size), Image.Resampling.BILINEAR)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Sixteen bits a pixel, which Pillow would clip at 255 instead of scaling.
        return Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque).convert("RGB")
    return image.convert("RGB")
