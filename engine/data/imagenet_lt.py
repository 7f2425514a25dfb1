"""ImageNet-LT: a folder of images, and lists with a relative path and a label on each line."""

from __future__ import annotations

from pathlib import Path

from engine.data.image_files import CHANNELS, split_of_files
from engine.data.split import Source
from engine.run.errors import InputError
from engine.run.settings import DatasetSettings

SIZE = 64
TRAIN_LISTS = ("train.txt", "ImageNet_LT_train.txt")
TEST_LISTS = ("test.txt", "ImageNet_LT_test.txt", "val.txt")


def load_imagenet_lt(settings: DatasetSettings) -> Source:
    """The images of the two lists; a class is named by the folder of its images where that tells classes apart."""
    if settings.path is None:
        raise InputError(
            "dataset imagenet-lt needs a path",
            "dataset.path",
            "give the folder of the images and of train.txt and test.txt",
        )
    root = Path(settings.path).expanduser()
    size = settings.resolution or SIZE
    train, test = _listed(root, TRAIN_LISTS), _listed(root, TEST_LISTS)
    return Source(_class_names(train), split_of_files(train, size), split_of_files(test, size), size, CHANNELS)


def _listed(root: Path, names: tuple[str, ...]) -> list[tuple[Path, int]]:
    found = [root / name for name in names if (root / name).is_file()]
    if not found:
        raise InputError(f"none of {', '.join(names)} is there", str(root), "each line is: relative/path label")
    lines = found[0].read_text().splitlines()
    return [_entry(root, line, f"{found[0]}:{number}") for number, line in enumerate(lines, 1) if line.strip()]


def _entry(root: Path, line: str, where: str) -> tuple[Path, int]:
    path, _, label = line.strip().rpartition(" ")
    if not path or not label.isdecimal():
        raise InputError("this line is no path and label", where, "for example: train/n01440764/1.JPEG 0")
    return root / path.strip(), int(label)


def _class_names(train: list[tuple[Path, int]]) -> list[str]:
    folders = {label: file.parent.name for file, label in reversed(train)}
    classes = range(max(folders, default=-1) + 1)
    named = len(set(folders.values())) == len(folders)
    return [folders.get(c, str(c)) if named else str(c) for c in classes]
