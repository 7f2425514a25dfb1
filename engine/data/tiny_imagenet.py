"""Tiny-ImageNet-200 in its original layout; the validation images are the test set."""

from __future__ import annotations

from pathlib import Path

from engine.data.image_files import CHANNELS, split_of_files
from engine.data.split import Source, Split
from engine.run.class_folders import natural_order
from engine.run.errors import InputError
from engine.run.folder import cache_root
from engine.run.settings import DatasetSettings

FOLDER = "tiny-imagenet-200"
SIZE = 64


def load_tiny_imagenet(settings: DatasetSettings) -> Source:
    """The classes of wnids.txt that have train images, in that order, so that a part of the set works too."""
    root = _root(Path(settings.path).expanduser() if settings.path else cache_root() / "data")
    size = settings.resolution or SIZE
    codes = [code for code in _lines(root / "wnids.txt") if (root / "train" / code / "images").is_dir()]
    if len(codes) < 2:
        raise InputError(
            "fewer than 2 classes of wnids.txt have a folder",
            str(root / "train"),
            "expected train/<wnid>/images/*.JPEG",
        )
    return Source(_names(root, codes), _train(root, codes, size), _test(root, codes, size), size, CHANNELS)


def _root(folder: Path) -> Path:
    for root in (folder / FOLDER, folder):
        if (root / "wnids.txt").is_file():
            return root
    raise InputError(
        f"no {FOLDER} with a wnids.txt",
        str(folder),
        f"unpack {FOLDER}.zip (cs231n.stanford.edu) there, or set dataset.path",
    )


def _names(root: Path, codes: list[str]) -> list[str]:
    """The first synonym of words.txt, or the code itself where it has none or shares it."""
    words = {line.split("\t")[0]: line.split("\t")[-1].split(",")[0] for line in _lines(root / "words.txt")}
    names = [words.get(code, code) for code in codes]
    return [code if names.count(name) > 1 else name for name, code in zip(names, codes, strict=True)]


def _train(root: Path, codes: list[str], size: int) -> Split:
    files = [
        (file, label)
        for label, code in enumerate(codes)
        for file in sorted((root / "train" / code / "images").iterdir(), key=lambda file: natural_order(file.name))
        if not file.name.startswith(".")
    ]
    return split_of_files(files, size)


def _test(root: Path, codes: list[str], size: int) -> Split:
    number = {code: label for label, code in enumerate(codes)}
    rows = (line.split("\t") for line in _lines(root / "val" / "val_annotations.txt"))
    known = [(root / "val" / "images" / row[0], number[row[1]]) for row in rows if len(row) > 1 and row[1] in number]
    return split_of_files(known, size)


def _lines(file: Path) -> list[str]:
    if not file.is_file():
        raise InputError("a file of the original layout is missing", str(file), f"unpack {FOLDER}.zip again")
    return [line.strip() for line in file.read_text().splitlines() if line.strip()]
