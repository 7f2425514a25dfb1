"""A person's own images, a folder for each class, in train/ and test/ or alone: counts, and every fault of theirs.

Names are listed and first bytes are read; no image is decoded. docs/folders.md states the rules for users.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from engine.run.data_settings import DatasetSettings
from engine.run.errors import CONTROL_CHARACTER, NO_FOLDER, Fault, InputError, listed
from engine.run.folder import expanded
from engine.run.held_out import HeldOut, held_out_faults, held_out_places, unmatched
from engine.run.image_headers import Files, common_size, header_faults, skipped_files
from engine.run.regular_files import natural_order
from engine.run.repeated_images import repeated_files

LAYOUT = "give a folder that holds a folder of images for each class, or train/<class>/* and test/<class>/*"
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
    test_counts: test images of each class. skipped: why each file that is skipped cannot be used.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]
    faults: tuple[Fault, ...] = ()
    test_counts: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    train: tuple[Path, ...] = ()
    test: tuple[Path, ...] = ()
    test_set: str = ""
    skipped: tuple[Fault, ...] = ()

    @property
    def test_images(self) -> int:
        """Test images of all classes."""
        return sum(self.test_counts)


# --- The classes, from names alone: fast enough to ask while a path is typed ------------------------------------------


def survey(dataset: DatasetSettings) -> Survey:
    """The classes of the folder dataset.path and every fault of theirs; raises InputError where it is none of classes.

    Where files that cannot be used are skipped, the first bytes of every file are read, too.
    """
    if dataset.path is None:
        raise InputError("dataset folder needs a path", "dataset.path", LAYOUT)
    root, faults = expanded(dataset.path), list[Fault]()
    if not os.path.isdir(root):
        raise InputError(NO_FOLDER[os.path.exists(root)], str(root), LAYOUT)
    splits, others, notes = _splits(root, faults)
    tests = [name for name in TESTS if name in splits]
    if TRAIN in splits:
        home, beside = f"{splits[TRAIN].name}/", others
        train = _class_folders(splits[TRAIN], faults)
    elif any(entry.is_dir() and _holds_images(entry) for entry in others):
        # The folders of the root itself are the classes; those that cannot be used are faults, and no mere notes.
        home, beside, notes = "", [], ["its own folders are the classes, as there is no train/"]
        train = _class_folders(root, faults, besides=splits)
        notes += _split_beside(root)
    else:
        raise InputError(faults or [_no_classes(root, [*splits], others)])
    if len(train) < 2:
        what = f"at least 2 classes are needed, and there is {'1 class folder' if train else 'no class folders'}"
        hint = "put the images of each class into a folder of its own"
        raise InputError([*faults, Fault(what, str(splits.get(TRAIN, root)), hint)])
    skipped = list[Fault]()
    unusable = skipped if dataset.unusable_files == "skip" else None
    files = [_class_files(folder, faults, unusable) for folder in train.values()]
    notes += _same_but_for_case(train)
    notes += [f"{splits[name].name}/ is not used: {splits[tests[0]].name}/ is the test set" for name in tests[1:]]
    notes += _unused(beside, train, faults)
    paths = [[f"{own.name}/{name}" for name in names] for own, names in zip(train.values(), files, strict=True)]
    unmatching = unmatched(dataset.test_groups, paths)
    test, faults = list[Path](), faults + unmatching
    if tests:
        folder = splits[tests[0]]
        if tests[0] != TESTS[0]:
            notes.insert(0, f"{folder.name}/ is the test set, as there is no test/")
        if dataset.test_folds is not None:
            faults.append(Fault(f"{folder} is there, so no fold is held out", "dataset.test_folds", "leave it empty"))
        test = _test_folders(folder, train, faults)
        counts, test_set = [*map(len, files)], f"{folder.name}/"
        test_counts = [len(_class_files(own, faults, unusable)) for own in test]
    else:
        which = held_out(dataset)
        held = held_out_places(paths, which)
        part = f"fold {which.fold} of {which.folds}" if which.folds else f"{100 * which.share:g} %"
        of = f" of {home}" if home else ""
        test_set = f"{part}{of}, held out" if which.folds else f"{part} of each class{of}, held out"
        test_counts = [*map(len, held)]
        counts = [len(own) - len(places) for own, places in zip(files, held, strict=True)]
        faults += [] if unmatching else held_out_faults(list(train.values()), paths, held, which)
    notes += [skipped_files(skipped)] if skipped else []
    return Survey(
        tuple(train),
        tuple(counts),
        tuple(faults),
        tuple(test_counts),
        tuple(notes),
        tuple(train.values()),
        tuple(test),
        test_set,
        tuple(skipped),
    )


def held_out(dataset: DatasetSettings) -> HeldOut:
    """What the settings hold out where there is no test split."""
    return HeldOut(dataset.test_share, dataset.test_folds, dataset.test_fold, dataset.test_groups)


def surveyed_settings(dataset: DatasetSettings) -> DatasetSettings:
    """The settings that a survey depends on, the others at their defaults: for those who keep surveys."""
    kept = ("path", "test_share", "test_folds", "test_fold", "test_groups", "unusable_files")
    return DatasetSettings(name="folder", **{key: getattr(dataset, key) for key in kept})


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
    usable, unusable = list[os.DirEntry[str]](), list[Fault]()
    for entry in _visible_entries(folder, faults):
        if fault := _entry_fault(entry):
            unusable.append(fault)
        else:
            usable.append(entry)
    faults += sorted(unusable, key=lambda fault: fault.where)
    return usable


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


def _class_folders(split: Path, faults: list[Fault], besides: Collection[str] = ()) -> dict[str, Path]:
    """The folder of each class of a split, by its name in NFC: file systems differ in how they store an accent.

    `besides`: names of folders, in lower case, that are no classes.
    """
    folders = dict[str, Path]()
    for entry in sorted(_usable_entries(split, faults), key=lambda entry: entry.name):
        if entry.is_dir() and entry.name.lower() in besides:
            continue
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


def _class_files(folder: Path, faults: list[Fault], skipped: list[Fault] | None) -> list[str]:
    """The names of a class's images in natural order; a class without images and a folder inside a class are faults.

    `skipped` takes the faults of files that cannot be used, if these are skipped; then first bytes are read.
    """
    known, unusable = len(faults), list[Fault]()
    entries = _usable_entries(folder, unusable) if folder.is_dir() else []
    files = sorted((entry.name for entry in entries if entry.is_file()), key=natural_order)
    if skipped is None:
        faults += unusable
    else:
        unusable += header_faults([folder / name for name in files])
        refused = {fault.where for fault in unusable}
        files = [name for name in files if str(folder / name) not in refused]
        skipped += unusable
    if not files and not any(entry.is_dir() for entry in entries) and len(faults) == known:
        none_left = "no file of this class can be used" if unusable else "this class has no images"
        faults.append(Fault(none_left, str(folder), "add some, or remove the class"))
    faults += [
        Fault("a folder inside a class", entry.path, "images lie directly in their class folder")
        for entry in entries
        if entry.is_dir()
    ]
    return files


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


def _no_classes(root: Path, splits: Sequence[str], entries: Sequence[os.DirEntry[str]]) -> Fault:
    """What there is in place of train/ and of folders of images."""
    if splits:
        hint = f"put those to train on into {TRAIN}/, a folder for each class"
        return Fault(f"there is {splits[0]}/ with images to test on, and no {TRAIN}/", str(root), hint)
    if any(_IMAGE_NAME.search(entry.name) for entry in entries):
        return Fault("the images lie in the folder itself, and not in a folder for each class", str(root), LAYOUT)
    return Fault("the folder holds no train/ and no folders of images", str(root), LAYOUT)


def _holds_images(entry: os.DirEntry[str]) -> bool:
    """Whether images lie directly in a folder, by the names of its first entries."""
    return any(_IMAGE_NAME.search(own.name) for own in islice(_visible_entries(Path(entry.path), []), LOOKED_AT))


def _split_beside(root: Path) -> list[str]:
    """What to say where the folder that was given is itself a train/ with a test split beside it."""
    beside = [own.name for own in _visible_entries(root.parent, []) if own.name.lower() in TESTS and own.is_dir()]
    if root.name.lower() != TRAIN or not beside:
        return []
    return [
        f"{sorted(beside)[0]}/ lies beside {root.name}/ and is not used: give the folder that holds both to test on it"
    ]


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


def labeled_files(class_folders: Sequence[Path]) -> Files:
    """Every usable file of every class with its label, class after class, in natural order of their names."""
    return [
        (Path(entry.path), label)
        for label, own in enumerate(class_folders)
        if own.is_dir()
        for entry in sorted(_usable_entries(own, []), key=lambda entry: natural_order(entry.name))
        if entry.is_file()
    ]


def train_and_test_files(
    folder: Survey, dataset: DatasetSettings, unusable: Collection[Path] = ()
) -> tuple[Files, Files]:
    """The files of a folder without those that are skipped or `unusable`; held-out ones are test files."""
    without = {fault.where for fault in folder.skipped} | set(map(str, unusable))
    train, test = (
        [(file, label) for file, label in labeled_files(own) if str(file) not in without]
        for own in (folder.train, folder.test)
    )
    if folder.test:
        return train, test
    classes = [[entry for entry in train if entry[1] == c] for c in range(len(folder.names))]
    paths = [[f"{file.parent.name}/{file.name}" for file, _ in own] for own in classes]
    places = [set(own) for own in held_out_places(paths, held_out(dataset))]
    told = [
        (entry, place in held) for own, held in zip(classes, places, strict=True) for place, entry in enumerate(own)
    ]
    return [entry for entry, is_held in told if not is_held], [entry for entry, is_held in told if is_held]


def image_faults(folder: Survey) -> tuple[list[Fault], tuple[str, ...]]:
    """The faults of the first bytes of its images; and a note of those that repeat each other."""
    train, test = labeled_files(folder.train), labeled_files(folder.test)
    skipped = {fault.where for fault in folder.skipped}
    files = sorted((file for file, _ in train + test), key=lambda file: natural_order(str(file)))
    repeated = repeated_files(train, test)
    faults = [fault for fault in header_faults(files) if fault.where not in skipped]
    return faults, (repeated,) if repeated else ()
