"""A person's own images in folders: train/<class>/* and test/<class>/*, their counts, and every fault of theirs.

Names are listed and first bytes are read; no image is decoded. docs/folders.md states the rules for users.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

from engine.run.data_settings import DatasetSettings
from engine.run.errors import CONTROL_CHARACTER, Fault, InputError, listed
from engine.run.folder import expanded
from engine.run.image_headers import common_size, header_faults
from engine.run.repeated_images import repeated_files

LAYOUT = "give a folder that holds train/<class>/* and test/<class>/* (or train alone)"
TRAIN, TESTS = "train", ("test", "val", "valid", "validation")
"""Names of the splits, in upper or lower case; the first of TESTS that is there is the test set."""
LEVELS, LOOKED_AT = 4, 5000
"""How deep, and at how many names, it is looked for images in a folder that is no split."""
_IMAGE_NAME = re.compile(r"\.(png|jpe?g|jfif|gif|bmp|tiff?|webp|avif|heic|jp2|p[bgp]m)$", re.IGNORECASE)


@dataclass(frozen=True)
class Survey:
    """The classes of a folder in order, the train images of each, and the test images of all.

    faults: what a run refuses. notes: sentences about folders that are taken or left out. train, test: the folder of
    each class; test is empty where images of train are held out. test_set: where the test images come from, in words.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]
    faults: tuple[Fault, ...] = ()
    test_images: int = 0
    notes: tuple[str, ...] = ()
    train: tuple[Path, ...] = ()
    test: tuple[Path, ...] = ()
    test_set: str = ""


# --- The classes, from names alone: fast enough to ask while a path is typed ------------------------------------------


def survey(path: str | None, share: float, folds: int | None = None, fold: int = 0) -> Survey:
    """The classes of a folder and every fault of theirs; raises InputError where it is no folder of classes.

    `share`, `folds`, `fold`: what is held out where there is no test split (`held_out`).
    """
    if path is None:
        raise InputError("dataset folder needs a path", "dataset.path", LAYOUT)
    root, faults = expanded(path), list[Fault]()
    if not root.is_dir():
        raise InputError("there is no such folder", str(root), LAYOUT)
    splits, others, notes = _splits(root, faults)
    if TRAIN not in splits:
        raise InputError(faults or [Fault("the folder holds no train/", str(root), LAYOUT)])
    train = _class_folders(splits[TRAIN], faults)
    if len(train) < 2:
        there = "1 class folder" if train else "no class folders"
        what = f"at least 2 classes are needed, and there is {there}"
        hint = "put the images of each class into a folder of its own"
        raise InputError([*faults, Fault(what, str(splits[TRAIN]), hint)])
    counts = [_image_count(folder, faults) for folder in train.values()]
    tests = [name for name in TESTS if name in splits]
    notes += _same_but_for_case(train)
    notes += [f"{splits[name].name}/ is not used: {splits[tests[0]].name}/ is the test set" for name in tests[1:]]
    notes += _unused(others, train, faults)
    if tests:
        folder = splits[tests[0]]
        if tests[0] != TESTS[0]:
            notes.insert(0, f"{folder.name}/ is the test set, as there is no test/")
        if folds is not None:
            faults.append(Fault(f"{folder} is there, so no fold is held out", "dataset.test_folds", "leave it empty"))
        test = _test_folders(folder, train, faults)
        tests_by_class, test_set = [_image_count(own, faults) for own in test], f"{folder.name}/"
    else:
        part = f"{100 * share:g} % of each class" if folds is None else f"fold {fold} of {folds}"
        test, test_set = [], f"{part} of {splits[TRAIN].name}/, held out"
        tests_by_class = [len(places) for places in held_out_places(counts, share, folds, fold)]
        faults += [
            Fault("one image is too few to train and to test", str(own), "add images, or a test/ folder")
            for own, count in zip(train.values(), counts, strict=True)
            if count == 1
        ]
        # A class of one image has its fault above.
        smallest, name = min(
            ((count, name) for name, count in zip(train, counts, strict=True) if count > 1), default=(0, "")
        )
        if folds and 0 < smallest < folds:
            what = f"test_folds {folds} is more than the {smallest} images of class {name}"
            faults.append(Fault(what, "dataset.test_folds", f"at most {smallest}, so that each fold tests every class"))
        counts = [count - held for count, held in zip(counts, tests_by_class, strict=True)]
    return Survey(
        tuple(train),
        tuple(counts),
        tuple(faults),
        sum(tests_by_class),
        tuple(notes),
        tuple(train.values()),
        tuple(test),
        test_set,
    )


HeldOut = tuple[float, int | None, int]
"""What is held out for testing where a folder has no test/: a share, or of so many folds the one with this number."""


def held_out(dataset: DatasetSettings) -> HeldOut:
    """What the settings hold out."""
    return dataset.test_share, dataset.test_folds, dataset.test_fold


def held_out_places(sizes: Sequence[int], share: float, folds: int | None = None, fold: int = 0) -> list[range]:
    """Where the images that are held out for testing stand in the shuffled images of each class.

    A share: at least one image, never all. One of several folds: all images are dealt in turn, class after class, so
    that neither the folds of a class nor whole folds differ by more than one image.
    """
    if folds is None:
        return [range(min(max(round(share * size), 1), size - 1) if size else 0) for size in sizes]
    dealt_before = accumulate(sizes, initial=0)
    return [range((fold - dealt) % folds, size, folds) for size, dealt in zip(sizes, dealt_before, strict=False)]


def natural_order(name: str) -> tuple[list[tuple[bool, int, str]], str]:
    """A sort key that puts 2.png before 10.png, and both before a.png."""
    parts = re.findall(r"\d+|\D+", name)
    return [(False, int(part), "") if part.isdecimal() else (True, 0, part) for part in parts], name


def class_files(folder: Path, key: Callable[[str], Any] = natural_order) -> list[Path]:
    """The files of a class in the order of `key` of their names; hidden ones (.DS_Store) are left out.

    Raises InputError for what cannot be used, such as a link whose target is missing.
    """
    faults = list[Fault]()
    files = [Path(entry.path) for entry in _usable_entries(folder, faults) if entry.is_file()]
    if faults:
        raise InputError(faults)
    return sorted(files, key=lambda file: key(file.name))


def _visible_entries(folder: Path, faults: list[Fault]) -> list[os.DirEntry[str]]:
    """The files and folders in a folder; hidden ones are left out. A folder that cannot be read is a fault."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        faults.append(Fault(f"the folder cannot be read: {error.strerror}", str(folder), "check its permissions"))
        return []


def _usable_entries(folder: Path, faults: list[Fault]) -> list[os.DirEntry[str]]:
    """The visible files and folders that can be used; each other one is a fault."""
    entries = [(entry, _entry_fault(entry)) for entry in _visible_entries(folder, faults)]
    faults += sorted((fault for _, fault in entries if fault), key=lambda fault: fault.where)
    return [entry for entry, fault in entries if fault is None]


def _entry_fault(entry: os.DirEntry[str]) -> Fault | None:
    """Why a file or folder cannot be used: its name, a link that leads nowhere, or what it is."""
    try:
        where = os.fsencode(entry.path).decode()
    except UnicodeDecodeError:
        # Python holds such bytes as surrogates, which no settings file, result or terminal can take.
        where = os.fsencode(entry.path).decode(errors="backslashreplace")
        return Fault("the name is not UTF-8 text", where, "rename it; convmv renames many")
    if not entry.name.strip():
        return Fault("the name is blank", repr(where), "rename it")
    try:
        if entry.is_symlink():
            os.stat(entry.path)
        known = entry.is_file() or entry.is_dir()
    except OSError as error:
        if error.errno == errno.ENOENT:
            return Fault("the target of this link is missing", where, "mend the link, or take it away")
        if error.errno == errno.ELOOP:
            return Fault("this link leads back to itself", where, "mend the link, or take it away")
        return Fault(f"it cannot be read: {error.strerror}", where, "check its permissions")
    return None if known else Fault("this is neither a file nor a folder", where, "take it away")


def _splits(root: Path, faults: list[Fault]) -> tuple[dict[str, Path], list[os.DirEntry[str]], list[str]]:
    """The folders of the splits by their names in lower case, what else lies in the root, and what to say of links."""
    splits, others, unusable = dict[str, Path](), list[os.DirEntry[str]](), list[str]()
    for entry in _visible_entries(root, faults):
        name, fault = entry.name.lower(), _entry_fault(entry)
        if name not in (TRAIN, *TESTS):
            # Beside the splits anything may lie about, whatever its state.
            if fault is None:
                others.append(entry)
            else:
                unusable.append(f"{Path(fault.where).name} ({fault.what})")
        elif fault:
            faults.append(fault)
        elif name in splits:
            faults.append(Fault(f"there is also {splits[name].name}/", entry.path, "join the two folders"))
        elif entry.is_dir():
            splits[name] = Path(entry.path)
        else:
            hint = "rename it, or make it a folder that holds a folder of images for each class"
            faults.append(Fault("this has the name of a split, but it is a file", entry.path, hint))
    notes = [f"not used, beside {TRAIN}/: {listed(sorted(unusable))}"] if unusable else []
    return splits, sorted(others, key=lambda entry: natural_order(entry.name)), notes


def _class_folders(split: Path, faults: list[Fault]) -> dict[str, Path]:
    """The folder of each class of a split, by its name in NFC: file systems differ in how they store an accent."""
    folders = dict[str, Path]()
    for entry in sorted(_usable_entries(split, faults), key=lambda entry: entry.name):
        if entry.is_dir():
            name = unicodedata.normalize("NFC", entry.name)
            if name in folders:
                hint = "the two names differ only in how their accents are stored: join the two folders"
                faults.append(Fault("this class has two folders", entry.path, hint))
            if CONTROL_CHARACTER.search(name):  # classes.txt has one name a line, and terminals show the names
                faults.append(Fault("the name of this class has control characters", entry.path, "rename it"))
            folders[name] = Path(entry.path)
        elif _IMAGE_NAME.search(entry.name):
            hint = "move it into the folder of its class, or take it away"
            faults.append(Fault("this image is in no class folder", entry.path, hint))
    return {name: folders[name] for name in sorted(folders, key=natural_order)}


def _test_folders(split: Path, train: dict[str, Path], faults: list[Fault]) -> list[Path]:
    """The folder of each class of train in the test split, which may be missing; other classes are faults."""
    test = _class_folders(split, faults)
    faults += [
        Fault("this class has no train images", str(folder), f"put some into {TRAIN}/{name}")
        for name, folder in test.items()
        if name not in train
    ]
    return [test.get(name, split / name) for name in train]


def _image_count(folder: Path, faults: list[Fault]) -> int:
    """The number of a class's images; a class without images and a folder inside a class are faults."""
    known = len(faults)
    entries = _usable_entries(folder, faults) if folder.is_dir() else []
    if not entries and len(faults) == known:
        faults.append(Fault("this class has no images", str(folder), "add some, or remove the class"))
    faults += [
        Fault("a folder inside a class", entry.path, "images lie directly in their class folder")
        for entry in entries
        if entry.is_dir()
    ]
    return sum(entry.is_file() for entry in entries)


def _same_but_for_case(names: Iterable[str]) -> list[str]:
    folded = Counter(name.casefold() for name in names)
    alike = [name for name in names if folded[name.casefold()] > 1]
    return [f"classes that differ only in upper and lower case stay apart: {listed(alike)}"] if alike else []


def _unused(entries: Iterable[os.DirEntry[str]], train: dict[str, Path], faults: list[Fault]) -> list[str]:
    """What to say of images that lie beside the splits; a folder with classes of train among them is a fault."""
    names, unused = {own.name for own in train.values()} | train.keys(), list[str]()
    for entry in entries:
        if not entry.is_dir():
            unused += [entry.name] if _IMAGE_NAME.search(entry.name) else []
            continue
        inside = list(_first_entries_below(Path(entry.path)))
        if not any(_IMAGE_NAME.search(below.name) for below in inside):
            continue
        if any(below.name in names and below.is_dir() for below in inside):
            hint = "move its images into train/ or test/, or take it out of this folder"
            faults.append(Fault("this folder holds classes of train/, but it would not be used", entry.path, hint))
        else:
            unused.append(f"{entry.name}/")
    return [f"images that are not used lie beside {TRAIN}/: {listed(unused)}"] if unused else []


def _first_entries_below(folder: Path) -> Iterator[os.DirEntry[str]]:
    """The visible entries of a folder and of the folders in it, level by level; LEVELS deep, LOOKED_AT at most."""
    left, level = LOOKED_AT, [folder]
    for _ in range(LEVELS):
        deeper = list[Path]()
        for place in level:
            with contextlib.suppress(OSError), os.scandir(place) as entries:
                for entry in islice((entry for entry in entries if not entry.name.startswith(".")), left):
                    left -= 1
                    yield entry
                    if not _IMAGE_NAME.search(entry.name) and entry.is_dir():
                        deeper.append(Path(entry.path))
        level = deeper


# --- What the first bytes of the images add ---------------------------------------------------------------------------

DEFAULT_SIDE, SAMPLED_CLASSES = 32, 16
"""The side to which images of different sizes are resized; how many classes show one image to find a common size."""


def sampled_side(folder: Survey) -> int:
    """The side of the images, from one image of each of the first classes; a run looks at more of them."""
    firsts = [Path(entry.path) for own in folder.train[:SAMPLED_CLASSES] for entry in _visible_entries(own, [])[:1]]
    try:
        return common_size(firsts) or DEFAULT_SIDE
    except (InputError, OSError):
        return DEFAULT_SIDE


def image_faults(folder: Survey) -> tuple[list[Fault], tuple[str, ...]]:
    """The faults of the first bytes of its images; and a note of those that repeat each other."""
    train, test = (
        [
            (Path(entry.path), label)
            for label, own in enumerate(classes)
            if own.is_dir()
            for entry in _usable_entries(own, [])
            if entry.is_file()
        ]
        for classes in (folder.train, folder.test)
    )
    files = sorted((file for file, _ in train + test), key=lambda file: natural_order(str(file)))
    repeated = repeated_files(train, test)
    return header_faults(files), (repeated,) if repeated else ()
