"""Image files of any kind of pixels as 8-bit RGB of one square size.

Brightness is scaled by a rule of the file's type (docs/folders.md), never by the darkest and brightest pixel of one
image: the images of a set stay comparable. What fits no rule is refused, with what was seen.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image, TiffImagePlugin
from torch import Tensor

from engine.run.data_settings import Fit
from engine.run.errors import FILES_SHOWN, Fault, InputError, listed
from engine.run.events import Emit, Warned
from engine.run.image_headers import fault_of, made_square, opened_image

CHANNELS = 3
_FILES_A_TASK = 64
"""Decoded by a thread in one go: enough that handing out work costs nothing beside it."""
REMARKS = {
    "flat": ("without contrast: all their pixels are alike", "look at these files; replace them, or take them away"),
    "several": ("with several pictures in one file: the first is taken", "split the files to have them all"),
    "dark": (
        "that are dark all over: no pixel reaches an eighth of white",
        "scale the pixels to the full range of their type, where they are masks or have fewer bits than it",
    ),
}
"""What a person should know of images that are used all the same, and what can be done about it."""
TIFF_SIGNED, TIFF_WHITE_IS_ZERO = 2, 0
_DARK = 256 // 8
_FLOAT_SLACK = 1e-3
"""Floats may lie so far outside of 0 to 1, a quarter of a level of 8 bits: resizing leaves such. They are clipped."""


def read_images(files: Sequence[Path], image_size: int, emit: Emit | None = None, fit: Fit = "crop") -> Tensor:
    """The files as RGB, uint8 (n, 3, image_size, image_size), each made square by `fit` (see `made_square`).

    Emits Warned for each of REMARKS that fits images, counted. Raises InputError that names every file that is missing,
    no image, or of pixels that fit no rule.
    """
    pixels = np.empty((len(files), image_size, image_size, CHANNELS), dtype=np.uint8)
    faults, remarks = dict[int, Fault](), {remark: list[int]() for remark in REMARKS}

    def decode(start: int) -> None:
        for i in range(start, min(start + _FILES_A_TASK, len(files))):
            try:
                image, own_remarks = _decoded(files[i], image_size, fit)
            except Exception as error:
                faults[i] = fault_of(files[i], error)
                continue
            pixels[i] = np.asarray(image)
            if (pixels[i] == pixels[i, 0, 0]).all():
                own_remarks.append("flat")
            elif pixels[i].max() < _DARK:
                own_remarks.append("dark")
            for remark in own_remarks:
                remarks[remark].append(i)

    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 16)) as pool:
        list(pool.map(decode, range(0, len(files), _FILES_A_TASK)))  # the list raises what a task raised
    if faults:
        raise InputError([faults[i] for i in sorted(faults)])
    for remark, which in remarks.items():
        if which and emit:
            what, hint = REMARKS[remark]
            named = listed([str(files[i]) for i in sorted(which)], FILES_SHOWN)
            emit(Warned(f"{len(which):,} of {len(files):,} images {what} ({named})", hint))
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


# As numbered by EXIF. ImageOps.exif_transpose writes the EXIF data anew as well, and fails at any invalid tag in it.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def unreadable_files(files: Sequence[Path]) -> dict[Path, Fault]:
    """The files that cannot be decoded to their end, with what is wrong; every one is decoded, as small as it gets."""

    def fault(file: Path) -> Fault | None:
        try:
            _decoded(file, 1, "stretch")
        except Exception as error:
            return fault_of(file, error)
        return None

    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 16)) as pool:
        return {file: found for file, found in zip(files, pool.map(fault, files), strict=True) if found}


def _decoded(file: Path, image_size: int, fit: Fit) -> tuple[Image.Image, list[str]]:
    """The image, and the remarks on it that its decoding shows."""
    with opened_image(file) as image:
        # How the file stores its pixels, such as RGB;16B; known until they are loaded.
        stored = str(image.tile[0].args) if image.tile else ""
        image.load()
        # The further pictures in a camera's JPEG (MPO) are smaller copies of the first.
        remarks = ["several"] if image.format != "MPO" and getattr(image, "is_animated", False) else []
        turn = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
        if ";16" in stored:
            _refuse_lost_color(image, file)
        rgb = _rgb(_eight_bits(image, file))
    upright = rgb if turn is None else rgb.transpose(turn)
    return made_square(upright, image_size, fit), remarks


def _refuse_lost_color(image: Image.Image, file: Path) -> None:
    """Raises InputError for color of 16 bits, of which Pillow keeps the upper 8, where nothing is in these.

    A black drawing on a transparent ground shows in its alpha band.
    """
    if len(image.getbands()) == 1:
        return
    extrema: Any = image.getextrema()
    bands = dict(zip(image.getbands(), extrema, strict=True))
    low, high = bands.pop("A", (0, 0))
    if low == high and not any(most for _, most in bands.values()):
        what = "16-bit color with nothing in the upper 8 bits: no pixel would be seen"
        raise InputError(what, str(file), "scale the pixels to the full range, or save the image with 8 bits")


def _eight_bits(image: Image.Image, file: Path) -> Image.Image:
    """The image as it is, or in 8 bits where its type has more: white is 1.0, or the type's largest whole number.

    Raises InputError for values outside the type's range, and for an image that would be black by this rule.
    """
    tags = getattr(image, "tag_v2", {})
    signed = tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))[0] == TIFF_SIGNED
    if image.mode != "F" and not image.mode.startswith("I") and not signed:
        return image
    values, white, kind = np.asarray(image), 1, "float"
    if image.mode != "F":
        # PNG and PGM have 16 bits at most, though Pillow may hold them in 32.
        known = 16 if image.mode.startswith("I;16") or image.format in ("PNG", "PPM") else 32
        bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (known,))[0]
        signed = signed or (bits == 32 and not tags)
        if bits == 32 and not signed:
            values = values.view(np.uint32)
        white, kind = 2 ** (bits - signed) - 1, f"{'signed ' if signed else ''}{bits}-bit"
    if not np.isfinite(values).all():
        raise InputError(f"{kind} pixels that are NaN or infinite", str(file), "replace the image, or take it away")
    low, high = values.min().item(), values.max().item()
    seen = [f"{value:.6g}" if kind == "float" else f"{value:,}" for value in (low, high)]
    slack = _FLOAT_SLACK if kind == "float" else 0
    if low < -slack or high > white + slack:
        what = f"{kind} pixels from {' to '.join(seen)}, where 0 is black and {white:,} white"
        raise InputError(what, str(file), "scale the pixels to this range, or save the image with 8 bits")
    if 0 < high * 255 < white:
        what = f"{kind} pixels up to {seen[1]} only: all would be black, as {white:,} is white"
        raise InputError(what, str(file), "scale the pixels to the full range, or save the image with 8 bits")
    scaled = np.rint(values.clip(0, 1) * 255) if kind == "float" else values.astype(np.int64) * 255 // white
    if tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == TIFF_WHITE_IS_ZERO:
        scaled = 255 - scaled
    return Image.fromarray(scaled.astype(np.uint8))


def _rgb(image: Image.Image) -> Image.Image:
    """Transparent pixels lie on white; CMYK, YCbCr and palettes are converted as Pillow does it: no color profiles."""
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque).convert("RGB")
    return image.convert("RGB")
