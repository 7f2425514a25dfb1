"""Lists of image files: text with a relative path and a label on each line, as ImageNet-LT has; and other lists.

Read by one reader, before any image is: labels are checked before anything is sized by them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from engine.run.data_settings import DatasetSettings
from engine.run.errors import Fault, InputError
from engine.run.folder import expanded
from engine.run.image_headers import Files, header_faults
from engine.run.regular_files import read_regular
from engine.run.repeated_images import repeated_files

TRAIN_LISTS = ("train.txt", "ImageNet_LT_train.txt")
TEST_LISTS = ("test.txt", "ImageNet_LT_test.txt", "val.txt", "ImageNet_LT_val.txt")
MOST_CLASSES = 10_000
# A path with blanks has to have an ending: that tells it from a path and a further column.
_LINE = re.compile(r"(?P<image>\S+|\S.*\.\w+)\s+(?P<label>[0-9]+)")
_EXAMPLE = "a line is a path and a label, for example: train/n01440764/1.JPEG 0"


def text_lines(file: Path) -> list[tuple[int, str]]:
    """The lines that are not blank, stripped, each with its number; raises InputError for a file that is no text."""
    try:
        content = re.sub(rb"\r\n?", b"\n", read_regular(file))
        if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content[:1000]:
            raise InputError("the list is UTF-16 text", str(file), "save it as UTF-8")
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"the list cannot be read: {error.strerror}", str(file)) from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError("the list is not UTF-8 text", f"{file}:{line}", "save it as UTF-8") from None
    return [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def read_lists(dataset: DatasetSettings) -> tuple[Files, Files]:
    """Train and test files of the lists in dataset.path.

    Raises InputError where a list is missing, or with every line that is no path and label.
    """
    if dataset.path is None:
        hint = "give the folder of the images and of train.txt and test.txt"
        raise InputError("dataset imagenet-lt needs a path", "dataset.path", hint)
    root, faults = expanded(dataset.path), list[Fault]()
    train, test = (_files(find_list(root, names), faults) for names in (TRAIN_LISTS, TEST_LISTS))
    if faults:
        raise InputError(faults)
    return train, test


def find_list(root: Path, names: Sequence[str]) -> Path:
    """The first of these lists that is there; raises InputError without one."""
    for name in names:
        if (root / name).is_file():
            return root / name
    raise InputError(f"none of {', '.join(names)} is there", str(root), _EXAMPLE)


def _files(path: Path, faults: list[Fault]) -> Files:
    """The files of a list; a line that does not fit is a fault."""
    files, known = list[tuple[Path, int]](), len(faults)
    for number, line in text_lines(path):
        match = _LINE.fullmatch(line)
        if match is None:
            faults.append(Fault("this line is no path and label", f"{path}:{number}", _EXAMPLE))
        elif len(label := match["label"].lstrip("0") or "0") >= len(str(MOST_CLASSES)):
            what = f"the label {label[:20]} is too large: at most {MOST_CLASSES:,} classes"
            faults.append(Fault(what, f"{path}:{number}", "labels are 0, 1, 2, ... without a gap"))
        else:
            files.append((path.parent / match["image"], int(label)))
    if not files and len(faults) == known:
        faults.append(Fault("the list is empty", str(path), _EXAMPLE))
    return files


def names_of_classes(train: Files) -> list[str]:
    """The folder of a class's images, where each class has one of its own; else the label."""
    folders = {label: file.parent.name for file, label in reversed(train)}
    classes = range(max(folders, default=-1) + 1)
    named = len(set(folders.values())) == len(folders)
    return [folders.get(c, str(c)) if named else str(c) for c in classes]


def list_faults(dataset: DatasetSettings, open_images: bool) -> tuple[list[Fault], tuple[str, ...]]:
    """Every fault of the lists, and a note of files that stand in them twice; those of all images if `open_images`."""
    try:
        train, test = read_lists(dataset)
    except InputError as error:
        return list(error.faults), ()
    labels = {"train": [label for _, label in train], "test": [label for _, label in test]}
    faults = class_faults(names_of_classes(train), labels, str(dataset.path))
    if faults or not open_images:
        return faults, ()
    repeated = repeated_files(train, test)
    return header_faults([file for file, _ in train + test]), (repeated,) if repeated else ()


def class_faults(names: Sequence[str], labels_by_split: Mapping[str, Iterable[int]], where: str) -> list[Fault]:
    """The faults of the labels of a set, train and test: labels of no class, and classes without images."""
    faults = []
    for split, own in labels_by_split.items():
        labels = Counter(own)
        hint = "add images, or leave the class out; labels are 0, 1, 2, ... without a gap"
        empty = [name for c, name in enumerate(names) if not labels[c]]
        faults += [Fault(f"class {name} has no {split} images", where, hint) for name in empty]
        hint = f"labels run from 0 to {len(names) - 1}"
        unknown = sorted(label for label in labels if not 0 <= label < len(names))
        faults += [Fault(f"{split} label {label} is unknown to train", where, hint) for label in unknown]
    return faults
