"""Image files: how every one is opened, the size that its first bytes tell, files that are none; made square.

Pillow is imported where it is used: the list of runs and --help need no image.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from engine.run.data_settings import Fit
from engine.run.errors import FILES_SHOWN, Fault, InputError, listed
from engine.run.regular_files import open_regular

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage
    from PIL.ImageFile import ImageFile

Files = list[tuple[Path, int]]
"""Image files, each with its label."""
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP")
"""As Pillow names them. What a file is follows from its content: of all formats, EPS would start Ghostscript."""
_READERS = 8
_EXHAUSTED = (errno.ENOMEM, errno.EMFILE, errno.ENFILE)


@contextmanager
def opened_image(file: Path, formats: Sequence[str] = FORMATS) -> Iterator[ImageFile]:
    """An image of one of these formats, its pixels not yet decoded; every image file is opened by this function.

    Raises OSError for what is no regular file, and whatever Pillow raises: `fault_of` puts it into words.
    """
    from PIL import Image

    Image.init()  # Pillow may have been built without some
    with (
        open_regular(file) as content,
        Image.open(content, formats=[own for own in formats if own in Image.OPEN]) as image,
    ):
        yield image


def common_size(files: Sequence[Path]) -> int | None:
    """The side of the images where all are square and of one size, else None; read from headers. Raises InputError."""
    sizes = set()
    for file in files:
        try:
            with opened_image(file) as image:
                sizes.add(image.size)
        except Exception as error:
            raise InputError([fault_of(file, error)]) from None
    width, height = sizes.pop() if len(sizes) == 1 else (0, 1)
    return width if width == height else None


def header_faults(files: Iterable[Path]) -> list[Fault]:
    """The fault of each file whose first bytes are those of no image."""
    with ThreadPoolExecutor(_READERS) as pool:
        return [fault for fault in pool.map(_header_fault, files) if fault]


def _header_fault(file: Path) -> Fault | None:
    try:
        with opened_image(file):
            return None
    except Exception as error:
        return fault_of(file, error)


def skipped_files(faults: Sequence[Fault]) -> str:
    """What to say of files that are skipped, as nobody can use them."""
    what = "1 file that cannot be used is" if len(faults) == 1 else f"{len(faults):,} files that cannot be used are"
    return f"{what} skipped: {listed([f'{fault.where} ({fault.what})' for fault in faults], FILES_SHOWN)}"


def fault_of(file: Path, error: Exception) -> Fault:
    """The fault of an image file that could not be read; raises the error again where the system is to blame.

    What Pillow raises for one depends on its format and on where it is broken, so its callers catch every exception.
    """
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _EXHAUSTED):
        raise error
    if isinstance(error, InputError):
        return error.faults[0]
    if isinstance(error, FileNotFoundError):
        return Fault("the image is missing", str(file), "put it there, or take it out of the list")
    if isinstance(error, Image.DecompressionBombError):
        return Fault("the image has too many pixels to be read", str(file), "scale it down, or take it away")
    if isinstance(error, UnidentifiedImageError):
        what = "this is no image that can be read" if os.path.getsize(file) else "the file is empty"
        return Fault(what, str(file), "take the file away, or replace it")
    if isinstance(error, OSError) and error.strerror:
        own = isinstance(error, PermissionError)
        hint = "check its permissions, or take it away" if own else "check the disk or network drive that it lies on"
        return Fault(f"the file cannot be read: {error.strerror}", str(file), hint)
    reason = str(error).partition("\n")[0] or type(error).__name__
    return Fault(f"this is no image that can be read: {reason}", str(file), "take the file away, or replace it")


def made_square(image: PillowImage, side: int, fit: Fit) -> PillowImage:
    """The image with both sides `side`: the ends of its long side cropped off, black bars added, or stretched."""
    from PIL import Image, ImageOps

    if image.size == (side, side):
        return image
    resampling = Image.Resampling.BILINEAR
    if fit == "stretch":
        return image.resize((side, side), resampling)
    return (ImageOps.fit if fit == "crop" else ImageOps.pad)(image, (side, side), resampling)
