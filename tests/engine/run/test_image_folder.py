"""What a folder of images is taken for: splits, classes, links, names; from names alone, so the files are empty."""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from engine.run import image_folder
from engine.run.data_settings import DatasetSettings
from engine.run.errors import InputError
from engine.run.image_folder import Survey, survey

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "\u00e9clair") for form in ("NFC", "NFD"))
LATIN_1 = os.fsdecode("caf\u00e9".encode("latin-1"))


def fill(root: Path, split: str, **classes: int) -> Path:
    for name, count in classes.items():
        (root / split / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            (root / split / name / f"{i}.png").touch()
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return fill(tmp_path, "train", a=5, b=5)


def link(place: Path, target: Path | str) -> None:
    place.symlink_to(target)


def found(root: Path) -> Survey:
    return survey(DatasetSettings(path=str(root)))


def told(root: Path) -> list[str]:
    """Each fault as `where: what`, with paths below the root."""
    try:
        faults = found(root).faults
    except InputError as error:
        faults = tuple(error.faults)
    assert all(fault.hint for fault in faults)
    return [f"{fault.where.strip(repr('')).removeprefix(f'{root}/')}: {fault.what}" for fault in faults]


# --- splits


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val", "VALIDATION"])
def test_validation_images_are_the_test_set_where_there_is_no_test_folder(root: Path, name: str) -> None:
    fill(root, name, a=2, b=1)
    survey = found(root)
    assert (survey.counts, survey.test_images, survey.test_set) == ((5, 5), 3, f"{name}/")
    assert survey.notes == (f"{name}/ is the test set, as there is no test/",)
    assert survey.test == (root / name / "a", root / name / "b")


def test_the_split_that_is_not_used_is_named(root: Path) -> None:
    for name in ("Test", "valid", "val"):
        fill(root, name, a=1, b=1)
    assert found(root).test_set == "Test/"
    assert found(root).notes == ("val/ is not used: Test/ is the test set", "valid/ is not used: Test/ is the test set")


def test_without_test_images_a_share_is_held_out(root: Path) -> None:
    assert (found(root).counts, found(root).test_set) == ((4, 4), "20 % of each class of train/, held out")
    assert (
        survey(DatasetSettings(path=str(root), test_folds=5, test_fold=1)).test_set == "fold 1 of 5 of train/, held out"
    )
    assert found((root / "train").rename(root / "Train").parent).counts == (4, 4)


def test_other_folders_with_images_are_named_and_those_with_classes_of_train_are_refused(root: Path) -> None:
    fill(root, "unlabeled", x=1)
    (root / "figures").mkdir()
    (root / "figures" / "overview.PDF").touch()
    (root / "logo.png").touch()
    link(root / "latest", "gone")
    assert found(root).notes == (
        "not used, beside train/: latest (the target of this link is missing)",
        "images that are not used lie beside train/: logo.png, unlabeled/",
    )
    assert told(root) == []
    fill(root, "train2", b=1)
    fill(root, "eval/part1", a=1)
    refused = "this folder holds classes of train/, but it would not be used"
    assert told(root) == [f"eval: {refused}", f"train2: {refused}"]


def test_how_far_it_is_looked_for_images_is_bounded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(root, "deep/1/2/3/4", a=1)
    fill(root, "other", **{f"class {i}": 3 for i in range(10)})
    link(root / "other" / "round", root)
    asked: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(image_folder.os, "scandir", lambda folder: asked.append(str(folder)) or scandir(folder))
    monkeypatch.setattr(image_folder, "LOOKED_AT", 15)
    assert found(root).notes == ("images that are not used lie beside train/: other/",)
    assert len(asked) < 40


def test_two_folders_of_one_split_are_refused(root: Path) -> None:
    fill(root, "Train", a=1, b=1)
    assert told(root) == ["train: there is also Train/"] or told(root) == ["Train: there is also train/"]


# --- classes and files


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda root: (root / "train" / "c.JPG").touch(), "train/c.JPG: this image is in no class folder"),
        (lambda root: link(root / "train" / "c", "gone"), "train/c: the target of this link is missing"),
        (lambda root: link(root / "train" / "c", "c"), "train/c: this link leads back to itself"),
        (lambda root: link(root / "train" / "c", root), "train/c/train: a folder inside a class"),
        (
            lambda root: link(root / "train" / "a" / "9.png", "gone"),
            "train/a/9.png: the target of this link is missing",
        ),
        (lambda root: link(root / "train" / "a" / "9.png", "9.png"), "train/a/9.png: this link leads back to itself"),
        (lambda root: link(root / "test", "gone"), "test: the target of this link is missing"),
        (lambda root: (root / "Test").touch(), "Test: this has the name of a split, but it is a file"),
        (lambda root: link(root / "val", "val"), "val: this link leads back to itself"),
        (lambda root: fill(root, "train", **{LATIN_1: 1}), r"train/caf\xe9: the name is not UTF-8 text"),
        (lambda root: (root / "train" / "a" / LATIN_1).touch(), r"train/a/caf\xe9: the name is not UTF-8 text"),
        (lambda root: fill(root, "train", **{" ": 2}), "train/ : the name is blank"),
        (lambda root: os.mkfifo(root / "train" / "a" / "pipe"), "train/a/pipe: this is neither a file nor a folder"),
        (
            lambda root: fill(root, "train", **{COMPOSED: 2, DECOMPOSED: 2}),
            f"train/{COMPOSED}: this class has two folders",
        ),
        (lambda root: fill(root, "val", a=1), "val/b: this class has no images"),
    ],
)
def test_what_cannot_be_used_is_a_fault(root: Path, spoil: Callable[[Path], object], expected: str) -> None:
    spoil(root)
    assert told(root) == [expected]


def test_a_train_folder_that_is_a_broken_link_is_told_as_that(root: Path) -> None:
    (root / "train").rename(root / "moved")
    link(root / "train", "gone")
    assert told(root) == ["train: the target of this link is missing"]


def test_links_to_folders_and_files_are_followed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = fill(tmp_path_factory.mktemp("elsewhere"), "more", c=4)
    link(root / "train" / "c", elsewhere / "more" / "c")
    link(root / "train" / "a" / "9.png", elsewhere / "more" / "c" / "0.png")
    assert (found(root).names, found(root).counts, told(root)) == (("a", "b", "c"), (5, 4, 3), [])


def test_a_folder_that_may_not_be_read_is_a_fault(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scandir(folder: Path) -> object:
        if Path(folder).name == "b":
            raise PermissionError(13, "Permission denied", str(folder))
        return original(folder)

    original = os.scandir
    monkeypatch.setattr(image_folder.os, "scandir", scandir)
    assert told(root) == ["train/b: the folder cannot be read: Permission denied"]


def test_class_names_are_compared_and_kept_in_nfc(root: Path) -> None:
    fill(root, "train", **{DECOMPOSED: 3})
    fill(root, "test", **{"a": 1, "b": 1, COMPOSED: 2})
    assert (found(root).names, found(root).counts, told(root)) == (("a", "b", COMPOSED), (5, 5, 3), [])
    assert found(root).train[2].name == DECOMPOSED and found(root).test[2].name == COMPOSED


def test_classes_that_differ_only_in_case_stay_apart_and_this_is_said(root: Path) -> None:
    fill(root, "train", A=2)
    assert found(root).names == ("A", "a", "b")
    assert found(root).notes == ("classes that differ only in upper and lower case stay apart: A, a",)


# --- classes without train/


def test_folders_of_images_are_classes_where_there_is_no_train_folder(tmp_path: Path) -> None:
    root = fill(tmp_path, ".", cat=5, dog=10)
    assert (found(root).names, found(root).counts, told(root)) == (("cat", "dog"), (4, 8), [])
    assert found(root).test_set == "20 % of each class, held out" and "as there is no train/" in found(root).notes[0]
    fill(root, "test", cat=2, dog=1)
    assert (found(root).counts, found(root).test_counts, found(root).test_set) == ((5, 10), (2, 1), "test/")
    shutil.rmtree(root / "test")
    (root / "notes").mkdir()
    (root / "logo.png").touch()
    assert told(root) == ["logo.png: this image is in no class folder", "notes: this class has no images"]


@pytest.mark.parametrize("deeper", ["training", "."])
def test_folders_of_folders_are_no_classes(tmp_path: Path, deeper: str) -> None:
    root = fill(tmp_path, f"{deeper}/one", a=2, b=2)
    fill(tmp_path, f"{deeper}/two", a=2, b=2)
    assert told(root) == [f"{root}: the folder holds no train/ and no folders of images"]


def test_a_train_folder_given_by_itself_names_the_test_split_beside_it(root: Path) -> None:
    fill(root, "test", a=1, b=1)
    assert found(root / "train").notes[1].startswith("test/ lies beside train/ and is not used")


# --- files that cannot be used


def test_files_that_cannot_be_used_are_skipped_and_counted_where_that_is_asked_for(root: Path) -> None:
    for file in (root / "train").rglob("*.png"):
        Image.new("L", (8, 8)).save(file)
    for name in ("notes.txt", "Thumbs.db"):
        (root / "train" / "a" / name).write_text("no image")
    link(root / "train" / "b" / "9.png", "gone")
    asked = DatasetSettings(path=str(root), unusable_files="skip")
    folder = survey(asked)
    assert (folder.counts, folder.faults, len(folder.skipped)) == ((4, 4), (), 3)
    assert folder.notes[-1].startswith("3 files that cannot be used are skipped: ") and "notes.txt" in folder.notes[-1]
    assert image_folder.image_faults(folder)[0] == [] and len(told(root)) == 1
    for file in (root / "train" / "b").glob("[0-8].png"):
        file.write_text("no image")
    assert [fault.what for fault in survey(asked).faults] == ["no file of this class can be used"]
