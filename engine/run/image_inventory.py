"""What a folder of one's own images holds: sizes, kinds of pixels, files that repeat, and those that are no images.

Headers alone are read, and of files of one size also their ends: 20,000 files take seconds. No image is decoded.
Pillow is imported where it is used.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from statistics import median_low
from typing import NamedTuple

from engine.run.data_settings import DatasetSettings
from engine.run.errors import Fault
from engine.run.held_out import folds_instead
from engine.run.image_folder import Survey, labeled_files, survey, train_and_test_files
from engine.run.image_headers import Files, fault_of, opened_image
from engine.run.regular_files import open_regular

LONG_RATIO = 1.5
"""An image whose long side is over so many times the short one loses a third and more where it is cropped."""
Progress = Callable[[int, int], None]
"""Takes how many files have been looked at, and how many there are."""
_READERS, _FILES_A_TASK, _END_BYTES = 8, 64, 65536


@dataclass(frozen=True)
class Inventory:
    """What a folder of images holds, from the first bytes of its files.

    survey: its classes, counts, notes and faults. train, test: readable images of each class. sides: least, median and
    largest short side in pixels, zeros without images. common_side: the side where all are square and of one size, else
    None. aspect: the share of images whose long side is over LONG_RATIO times the short one. modes: images by Pillow's
    mode, such as RGB and L. turned: images that EXIF turns. repeated: pairs of train files with the same bytes.
    crossing: test files with the bytes of a train file. unreadable: files that are no images. train_bytes: of all train
    files on the disk. train_files: those that can be read, by class. folds: into so many the images are dealt, of which
    the first is held out, where there is no test folder and a share would test a class on too few images.
    """

    survey: Survey
    train: tuple[int, ...]
    test: tuple[int, ...]
    sides: tuple[int, int, int]
    common_side: int | None
    aspect: float
    modes: Counter[str]
    turned: int
    repeated: tuple[tuple[Path, Path], ...]
    crossing: tuple[Path, ...]
    unreadable: tuple[Fault, ...]
    train_bytes: int
    train_files: tuple[tuple[Path, ...], ...]
    folds: int | None = None

    def thumbnails(self, label: int, count: int) -> list[Path]:
        """Up to `count` readable train files of a class, spread evenly over it."""
        files = self.train_files[label]
        count = min(count, len(files))
        return [files[place * len(files) // count] for place in range(count)]


class _Header(NamedTuple):
    """The facts of one image file: its sides as stored, its mode, whether EXIF turns it, its bytes on the disk."""

    width: int
    height: int
    mode: str
    turned: bool
    file_bytes: int


def inventory(dataset: DatasetSettings, progress: Progress | None = None) -> Inventory:
    """The images of the folder `dataset.path`; raises InputError where it is no folder of classes, as `survey` does.

    Which are held out follows from those that can be read, as in a run that skips the others.
    """
    folder = survey(dataset)
    files = labeled_files((*folder.train, *folder.test))
    headers = dict[Path, _Header]()
    unreadable = list[Fault]()
    tasks = [files[start : start + _FILES_A_TASK] for start in range(0, len(files), _FILES_A_TASK)]
    with ThreadPoolExecutor(_READERS) as pool:
        looked_at = 0
        for found in pool.map(lambda task: [_header(file) for file, _ in task], tasks):
            for header in found:
                if isinstance(header, Fault):
                    unreadable.append(header)
                else:
                    headers[files[looked_at][0]] = header
                looked_at += 1
            if progress:
                progress(looked_at, len(files))
    short_sides = sorted(min(header.width, header.height) for header in headers.values())
    sizes = {(header.width, header.height) for header in headers.values()}
    width, height = sizes.pop() if len(sizes) == 1 else (0, 1)
    long = sum(max(header[:2]) > LONG_RATIO * min(header[:2]) for header in headers.values())
    folds = None
    if not folder.test:
        readable = Counter(label for file, label in files if file in headers)
        folds = folds_instead([readable[c] for c in range(len(folder.names))], dataset.test_share)
        if folds:
            dataset = dataset.model_copy(update={"test_folds": folds})
            folder = survey(dataset)
    train, test = train_and_test_files(folder, dataset, {file for file, _ in files if file not in headers})
    repeated, crossing = _alike(train, test, headers)
    by_class = [[file for file, label in train if label == c and file in headers] for c in range(len(folder.names))]
    # A class without any files is a fault of the survey itself.
    unusable = [
        Fault("no file of this class can be used", str(own), "add some, or remove the class")
        for own, readable, count in zip(folder.train, by_class, folder.counts, strict=True)
        if count and not readable
    ]
    return Inventory(
        survey=replace(folder, faults=(*folder.faults, *unusable)),
        train=tuple(map(len, by_class)),
        test=tuple(_counts(test, headers, len(folder.names))),
        sides=(short_sides[0], median_low(short_sides), short_sides[-1]) if short_sides else (0, 0, 0),
        common_side=width if width == height else None,
        aspect=long / len(headers) if headers else 0.0,
        modes=Counter(header.mode for header in headers.values()),
        turned=sum(header.turned for header in headers.values()),
        repeated=repeated,
        crossing=crossing,
        unreadable=tuple(unreadable),
        train_bytes=sum(headers[file].file_bytes for file, _ in train if file in headers),
        train_files=tuple(map(tuple, by_class)),
        folds=folds,
    )


def _counts(files: Files, headers: dict[Path, _Header], classes: int) -> Iterator[int]:
    readable = Counter(label for file, label in files if file in headers)
    return (readable[c] for c in range(classes))


def _header(file: Path) -> _Header | Fault:
    from PIL import ExifTags

    try:
        with opened_image(file) as image:
            # Pillow would decode a PNG to look for EXIF data behind its pixels.
            told = image.format != "PNG" or "exif" in image.info
            turned = told and image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
            return _Header(*image.size, image.mode, turned, os.stat(file).st_size)
    except Exception as error:
        return fault_of(file, error)


def _alike(
    train: Files, test: Files, headers: dict[Path, _Header]
) -> tuple[tuple[tuple[Path, Path], ...], tuple[Path, ...]]:
    """Pairs of train files with the same bytes, each with the first one of its kind; test files with those of train."""
    by_size = defaultdict[int, list[Path]](list)
    for file, _ in chain(train, test):
        if file in headers:
            by_size[headers[file].file_bytes].append(file)
    several = [file for own in by_size.values() if len(own) > 1 for file in own]
    with ThreadPoolExecutor(_READERS) as pool:
        ends = dict(zip(several, pool.map(_hash_of_ends, several), strict=True))
    firsts, repeated = dict[bytes, Path](), list[tuple[Path, Path]]()
    for file in _with_ends(train, ends):
        first = firsts.setdefault(ends[file], file)
        if first != file:
            repeated.append((first, file))
    return tuple(repeated), tuple(file for file in _with_ends(test, ends) if ends[file] in firsts)


def _with_ends(files: Files, ends: dict[Path, bytes]) -> Iterable[Path]:
    return (file for file, _ in files if ends.get(file))


def _hash_of_ends(file: Path) -> bytes:
    """A hash of a file's size and of its first and last bytes, which compressed pixels do not share by chance."""
    try:
        with open_regular(file) as opened:
            size = os.fstat(opened.fileno()).st_size
            content = opened.read(_END_BYTES)
            opened.seek(max(size - _END_BYTES, len(content)))
            return hashlib.sha256(f"{size} ".encode() + content + opened.read()).digest()
    except OSError:
        return b""
