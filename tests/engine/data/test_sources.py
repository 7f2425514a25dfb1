"""Every kind of data set, in its own format, written small by the test itself; and the real ones where they are."""

from __future__ import annotations

import gc
import random
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from engine.data.decoding import read_images
from engine.data.image_files import Source
from engine.data.sources import load_source
from engine.run.data_settings import DatasetSettings, Fit
from engine.run.datasets import counts_for
from engine.run.errors import InputError
from engine.run.events import Event, Warned
from engine.run.image_folder import survey
from engine.run.regular_files import natural_order
from engine.run.validation import data_faults

SHARED_DATA = Path(__file__).parents[4] / "shared" / "data"


def settings(name: str, path: Path | None = None, **others: object) -> DatasetSettings:
    return DatasetSettings(**{"name": name, "path": str(path) if path else None} | others)  # type: ignore[arg-type]


def picture(file: Path, color: object = (200, 100, 50), size: tuple[int, int] = (8, 8), mode: str = "RGB") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(file)  # type: ignore[arg-type]
    return file


def folder_of(root: Path, train: dict[str, int], test: dict[str, int] | None = None) -> Path:
    """Gray levels tell class and number apart: image i of the c-th class is 20 * c + i."""
    for split, classes in (("train", train), ("test", test or {})):
        for c, (name, count) in enumerate(classes.items()):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                picture(root / split / name / f"{i}.png", (20 * c + i,) * 3)
    return root


def source_of(given: DatasetSettings, warnings: list[Event] | None = None) -> Source:
    return load_source(given, [].append if warnings is None else warnings.append)


def everything(source: Source, split: str) -> torch.Tensor:
    part = getattr(source, split)
    images: torch.Tensor = part.read(np.arange(len(part.labels)))
    assert images.dtype == torch.uint8
    assert images.shape == (len(part.labels), source.channels, source.image_size, source.image_size)
    return images


def refused(given: DatasetSettings) -> str:
    with pytest.raises(InputError) as caught:
        everything(source_of(given), "train")
    assert all(fault.what and fault.where for fault in caught.value.faults)
    return str(caught.value)


# --- digits


def test_digits_hold_out_the_last_of_each_class_and_train_on_equally_many() -> None:
    source = source_of(settings("digits"))
    assert np.bincount(source.train.labels).tolist() == [134] * 10
    assert np.bincount(source.test.labels).tolist() == [40] * 10
    images = everything(source, "train")
    assert (source.channels, source.image_size, int(images.max()), int(images.min())) == (1, 8, 255, 0)
    assert len(images.unique()) == 17
    smaller = source_of(settings("digits", test_per_class=5))
    assert np.bincount(smaller.test.labels).tolist() == [5] * 10
    assert "digits has 174" in refused(settings("digits", test_per_class=174))


def test_resolution_resizes_images_in_memory() -> None:
    assert everything(source_of(settings("digits", resolution=16)), "test").shape[-1] == 16


# --- folder


def test_folder_is_read_in_natural_order_and_only_what_is_asked(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"cat2": 12, "cat10": 3}, {"cat2": 2, "cat10": 1})
    source = source_of(settings("folder", root))
    assert source.class_names == ["cat2", "cat10"]
    assert source.image_size == 8
    assert everything(source, "train")[:, 0, 0, 0].tolist() == [*range(12), 20, 21, 22]
    assert source.train.read(np.array([13, 2]))[:, 0, 0, 0].tolist() == [21, 2]
    assert everything(source, "test").shape[0] == 3
    assert sorted(["10.png", "b.png", "2.png", "02.png"], key=natural_order) == ["02.png", "2.png", "10.png", "b.png"]


def test_natural_order_compares_numbers_as_numbers_and_is_no_work_for_the_garbage_collector() -> None:
    def by_parts(name: str) -> tuple[list[tuple[bool, int, str]], str]:
        parts = re.findall(r"\d+|\D+", name)
        return [(False, int(part), "") if part.isdecimal() else (True, 0, part) for part in parts], name

    drawn = random.Random(0)
    names = ["".join(drawn.choices("ab012 -_.\u0663\u00ff", k=drawn.randrange(1, 12))) for _ in range(20_000)]
    names += ["9" * 60, "1" + "0" * 60, "0" * 61]
    assert sorted(names, key=natural_order) == sorted(names, key=by_parts)
    assert not gc.is_tracked(natural_order("img_12.png"))


def test_test_per_class_keeps_the_first(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 2, "b": 2}, {"a": 3, "b": 4})
    source = source_of(settings("folder", root, test_per_class=2))
    assert everything(source, "test")[:, 0, 0, 0].tolist() == [0, 1, 20, 21]


def test_a_share_is_held_out_of_each_class_and_nothing_lies_in_both(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 10, "b": 5, "c": 2})
    source = source_of(settings("folder", root))
    assert np.bincount(source.test.labels).tolist() == [2, 1, 1]
    assert np.bincount(source.train.labels).tolist() == [8, 4, 1]
    train, test = (everything(source, split)[:, 0, 0, 0].tolist() for split in ("train", "test"))
    assert sorted(train + test) == [*range(10), *range(20, 25), 40, 41]
    assert everything(source_of(settings("folder", root)), "test")[:, 0, 0, 0].tolist() == test
    assert np.bincount(source_of(settings("folder", root, test_share=0.5)).test.labels).tolist() == [5, 2, 1]


@pytest.mark.parametrize("folds", [2, 3, 4])
def test_each_image_is_tested_in_exactly_one_fold_and_folds_are_of_one_size(tmp_path: Path, folds: int) -> None:
    sizes = {"a": 11, "b": 5, "c": 6, "d": 4}
    root = folder_of(tmp_path, sizes)
    tested, counts = list[int](), list[list[int]]()
    for fold in range(folds):
        source = source_of(settings("folder", root, test_folds=folds, test_fold=fold))
        own = everything(source, "test")[:, 0, 0, 0].tolist()
        assert sorted(own + everything(source, "train")[:, 0, 0, 0].tolist()) == sorted(
            pixel for c, size in enumerate(sizes.values()) for pixel in range(20 * c, 20 * c + size)
        )
        tested += own
        counts.append(np.bincount(source.test.labels, minlength=4).tolist())
        assert min(counts[-1]) >= 1, "every class is tested in every fold"
        assert np.bincount(source.train.labels).min() >= 1, "never emptied of train images"
        found = survey(DatasetSettings(path=str(root), test_folds=folds, test_fold=fold))
        assert (found.faults, found.test_images) == ((), len(own))
        assert list(found.counts) == np.bincount(source.train.labels).tolist()
    assert len(tested) == len(set(tested)) == sum(sizes.values())
    for per_fold in zip(*counts, strict=True):
        assert max(per_fold) - min(per_fold) <= 1
    assert max(map(sum, counts)) - min(map(sum, counts)) <= 1


def test_folds_beside_a_test_folder_and_more_folds_than_a_class_has_images_are_refused(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "tested", {"a": 2, "b": 2}, {"a": 1, "b": 1})
    told = refused(settings("folder", root, test_folds=2))
    assert "dataset.test_folds" in told and "test is there, so no fold is held out" in told
    few = settings("folder", folder_of(tmp_path / "few", {"cat": 9, "eel": 5}), test_folds=6)
    told = (
        "error: dataset.test_folds: test_folds 6 is more than the 5 images of class eel\n"
        "hint: at most 5, so that each fold tests every class"
    )
    assert refused(few) == told
    assert [str(fault) for fault in data_faults(few, open_images=False)[0]] == [told]
    assert source_of(few.model_copy(update={"test_folds": 5})).test_set


def test_hidden_files_are_ignored(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 2, "b": 2})
    (root / "train" / "a" / ".DS_Store").write_text("no image")
    (root / "train" / ".cache").mkdir()
    assert len(everything(source_of(settings("folder", root)), "train")) == 2


def test_every_kind_of_file_becomes_rgb(tmp_path: Path) -> None:
    sixteen = tmp_path / "sixteen.png"
    Image.fromarray(np.full((8, 8), 51400, dtype=np.uint16)).save(sixteen)
    palette = tmp_path / "palette.png"
    Image.new("RGB", (8, 8), (200, 100, 50)).convert("P", palette=Image.Palette.ADAPTIVE).save(palette)
    rgba = picture(tmp_path / "rgba.png", (0, 0, 0, 51), mode="RGBA")
    expected = {
        picture(tmp_path / "gray.png", 77, mode="L"): (77, 77, 77),
        rgba: (204, 204, 204),
        palette: (200, 100, 50),
        sixteen: (200, 200, 200),
        picture(tmp_path / "la.png", (0, 0), mode="LA"): (255, 255, 255),
        picture(tmp_path / "bits.png", 1, mode="1"): (255, 255, 255),
    }
    images = read_images(list(expected), 8)
    assert [tuple(image[:, 3, 3].tolist()) for image in images] == list(expected.values())


def test_short_side_is_scaled_and_the_middle_of_the_long_side_kept(tmp_path: Path) -> None:
    wide = Image.new("RGB", (40, 10), "red")
    wide.paste("blue", (11, 0, 29, 10))
    wide.save(tmp_path / "wide.png")
    image = read_images([tmp_path / "wide.png"], 5)[0]
    assert image[2].float().mean() == 255 and image[0].float().mean() == 0


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_a_wide_image_is_cropped_padded_or_stretched(tmp_path: Path, fit: Fit) -> None:
    wide = Image.new("RGB", (40, 20), "red")
    wide.paste("blue", (10, 0, 30, 20))
    wide.save(tmp_path / "wide.png")
    image = read_images([tmp_path / "wide.png"], 8, fit=fit)[0]
    # The red ends of the middle row are there but where it was cropped.
    assert bool(image[0, 4, 0] > 200) == (fit != "crop") and image[2, 4, 4] == 255
    # Only bars are black: above and below the picture, a quarter of the side each.
    assert [bool(image[:, y, 4].sum()) for y in (0, 4, 7)] == ([False, True, False] if fit == "pad" else [True] * 3)
    assert image.shape == (3, 8, 8)


def test_files_that_are_cut_or_no_images_are_skipped_where_that_is_asked_for(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 6, "b": 5})
    (root / "train" / "a" / "notes.txt").write_text("no image")
    whole = (root / "train" / "b" / "0.png").read_bytes()
    (root / "train" / "b" / "cut.png").write_bytes(whole[: len(whole) - 30])
    told: list[Event] = []
    source = source_of(settings("folder", root, unusable_files="skip"), told)
    assert np.bincount(source.train.labels).tolist() == [5, 4] and len(everything(source, "test")) == 2
    warned = [event.message for event in told if isinstance(event, Warned)]
    assert ["notes.txt" in text for text in warned[:2]] == [True, False] and "cut.png" in warned[1]


def test_default_size_is_the_images_own_where_they_agree_else_32(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 2, "b": 2})
    assert source_of(settings("folder", root)).image_size == 8
    assert source_of(settings("folder", root, resolution=12)).image_size == 12
    picture(root / "train" / "a" / "other.png", size=(9, 8))
    assert source_of(settings("folder", root)).image_size == 32


def test_files_that_are_no_images_are_named_all_at_once(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 3, "b": 2})
    (root / "train" / "a" / "notes.txt").write_text("no image")
    cut = (root / "train" / "b" / "0.png").read_bytes()[:50]
    (root / "train" / "b" / "cut.png").write_bytes(cut)
    with pytest.raises(InputError) as caught:
        read_images(sorted((root / "train").rglob("*.*")), 8)
    assert [Path(fault.where).name for fault in caught.value.faults] == ["notes.txt", "cut.png"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "train" / "empty").mkdir(), "empty: this class has no images"),
        (
            lambda root: folder_of(root / "x", {}, {"a": 1, "b": 1, "new": 1}).joinpath("test").rename(root / "test"),
            "new: this class has no train images",
        ),
        (
            lambda root: folder_of(root / "x", {}, {"a": 1, "c": 1}).joinpath("test").rename(root / "test"),
            "b: this class has no images",
        ),
        (lambda root: (root / "train").rename(root / "training"), "the folder holds no train/"),
        (lambda root: (root / "train" / "b").rename(root / "b"), "at least 2 classes are needed, and there is 1"),
        (lambda root: (root / "train" / "a" / "more").mkdir(), "more: a folder inside a class"),
        (lambda root: (root / "train" / "a" / "1.png").unlink(), "a: one image is too few to train and to test"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(tmp_path: Path, spoil: Callable[[Path], object], message: str) -> None:
    root = folder_of(tmp_path, {"a": 2, "b": 2})
    spoil(root)
    assert message in refused(settings("folder", root))


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert "there is no such folder" in refused(settings("folder", tmp_path / "nowhere"))
    assert "dataset.path" in refused(settings("folder"))


@pytest.mark.parametrize("test", [None, {"a": 1, "b": 1, "c10": 1}])
def test_a_survey_by_names_counts_what_a_run_takes(tmp_path: Path, test: dict[str, int] | None) -> None:
    root = folder_of(tmp_path, {"c10": 11, "a": 3, "b": 2}, test)
    (root / "train" / "a" / ".hidden").touch()
    folder, source = (
        survey(DatasetSettings(path=str(root), test_share=0.4)),
        source_of(settings("folder", root, test_share=0.4)),
    )
    assert list(folder.names) == source.class_names
    assert list(folder.counts) == np.bincount(source.train.labels).tolist()
    assert folder.faults == ()


def test_a_survey_finds_the_faults_that_a_run_would_find(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 3, "b": 1})
    (root / "train" / "c").mkdir()
    told = "\n".join(str(fault) for fault in survey(DatasetSettings(path=str(root))).faults)
    assert sorted(told.splitlines()) == sorted(refused(settings("folder", root)).splitlines())


def test_what_is_taken_for_the_test_set_and_images_without_contrast_are_warned_of(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 2, "b": 2}, {"a": 1, "b": 1})
    (root / "test").rename(root / "val")
    warnings: list[Event] = []
    source = source_of(settings("folder", root), warnings)
    source.train.read(np.array([0, 3]))
    assert source.test_set == "val/"
    told = [warning.message for warning in warnings if isinstance(warning, Warned)]
    assert told[0] == "val/ is the test set, as there is no test/"
    assert told[1].startswith("2 of 2 images without contrast: all their pixels are alike (")


def test_a_file_at_several_places_of_a_folder_is_warned_of(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 2, "b": 2}, {"a": 1, "b": 1})
    (root / "test" / "a" / "7.png").symlink_to(root / "train" / "a" / "0.png")
    (root / "train" / "b" / "8.png").hardlink_to(root / "train" / "a" / "1.png")
    given, warnings = settings("folder", root), list[Event]()
    source_of(given, warnings)
    what = (
        f"image files used more than once: 1 in train and test ({root}/train/a/0.png = {root}/test/a/7.png);"
        f" 1 under two or more labels ({root}/train/a/1.png = {root}/train/b/8.png)"
    )
    assert [warning.message for warning in warnings if isinstance(warning, Warned)] == [what]
    assert data_faults(given, open_images=True) == ([], (what,))


# --- Tiny-ImageNet and ImageNet-LT


def tiny_imagenet(root: Path) -> Path:
    """Classes n2 (2 train images) and n1 (3), of a list that names a third without a folder."""
    home = root / "tiny-imagenet-200"
    for c, (code, count) in enumerate({"n2": 2, "n1": 3}.items()):
        for i in range(count):
            picture(home / "train" / code / "images" / f"{code}_{i}.JPEG", 100 * c, (64, 64), "L")
    for i in range(3):
        picture(home / "val" / "images" / f"val_{i}.JPEG", 10 * i, (64, 64), "L")
    (home / "wnids.txt").write_text("n2\nn3\nn1\n")
    (home / "words.txt").write_text("n1\torgan, pipe organ\nn2\treel\nn3\tother\n")
    annotations = "val_0.JPEG\tn1\t0\t0\t1\t1\nval_1.JPEG\tn3\t0\t0\t1\t1\nval_2.JPEG\tn2\t0\t0\t1\t1\n"
    (home / "val" / "val_annotations.txt").write_text(annotations)
    return home


def test_tiny_imagenet_keeps_the_order_of_wnids_and_classes_that_are_there(tmp_path: Path) -> None:
    home = tiny_imagenet(tmp_path)
    for path in (tmp_path, home):
        source = source_of(settings("tiny-imagenet", path))
        # An estimate knows them from their names.
        assert counts_for(settings("tiny-imagenet", path)) == np.bincount(source.train.labels).tolist()
        assert source.class_names == ["reel", "organ"]
        assert source.train.labels.tolist() == [0, 0, 1, 1, 1]
        assert source.test.labels.tolist() == [1, 0]
        assert everything(source, "train")[:, 0, 0, 0].tolist() == [0, 0, 100, 100, 100]
        assert everything(source, "test")[:, 2, 0, 0].tolist() == [0, 20]
    lost = home / "train" / "n1" / "images" / "n1_9.JPEG"
    lost.symlink_to("gone")
    assert "n1_9.JPEG: the target of this link is missing" in refused(settings("tiny-imagenet", home))
    lost.unlink()
    (home / "words.txt").unlink()
    assert "words.txt" in refused(settings("tiny-imagenet", home))
    assert "wnids.txt" in refused(settings("tiny-imagenet", tmp_path / "train"))


def test_tiny_imagenet_as_published_has_classes_and_files_in_text_order(tmp_path: Path) -> None:
    home = tiny_imagenet(tmp_path)
    for i in (3, 10):
        picture(home / "train" / "n1" / "images" / f"n1_{i}.JPEG", i, (64, 64), "L")
    official = torchvision.datasets.ImageFolder(home / "train")
    source = source_of(settings("tiny-imagenet", home, class_order="text"))
    assert source.class_names == ["organ", "reel"] and official.classes == ["n1", "n2"]
    assert source.train.labels.tolist() == official.targets == [0] * 5 + [1] * 2
    assert counts_for(settings("tiny-imagenet", home, class_order="text")) == [5, 2]
    # n1_10 stands between n1_1 and n1_2.
    assert everything(source, "train")[:, 0, 0, 0].tolist() == [100, 100, 10, 100, 3, 0, 0]
    assert source.test.labels.tolist() == [0, 1]


def imagenet_lt(root: Path, names: tuple[str, str]) -> Path:
    for code, level in (("n1", 10), ("n2", 20)):
        for i in range(2):
            picture(root / "images" / code / f"{i}.JPEG", (level,) * 3, (80, 70))
    (root / names[0]).write_text("images/n1/0.JPEG 0\nimages/n1/1.JPEG 0\n\nimages/n2/0.JPEG 1\n")
    (root / names[1]).write_text("images/n2/1.JPEG 1\nimages/n1/0.JPEG 0\n")
    return root


@pytest.mark.parametrize(
    "names", [("train.txt", "test.txt"), ("train.txt", "val.txt"), ("ImageNet_LT_train.txt", "ImageNet_LT_test.txt")]
)
def test_imagenet_lt_follows_its_lists(tmp_path: Path, names: tuple[str, str]) -> None:
    source = source_of(settings("imagenet-lt", imagenet_lt(tmp_path, names)))
    assert source.class_names == ["n1", "n2"]
    assert source.train.labels.tolist() == [0, 0, 1] and source.test.labels.tolist() == [1, 0]
    assert source.test_set == names[1]
    assert everything(source, "train")[:, 0, 0, 0].tolist() == [10, 10, 20]
    assert source.image_size == 64


def test_a_file_that_stands_twice_in_lists_is_warned_of(tmp_path: Path) -> None:
    given, warnings = settings("imagenet-lt", imagenet_lt(tmp_path, ("train.txt", "test.txt"))), list[Event]()
    with open(tmp_path / "train.txt", "a") as file:
        file.write("images/n2/../n2/0.JPEG 1\n" * 2)
    source_of(given, warnings)
    (what,) = (warning.message for warning in warnings if isinstance(warning, Warned))
    assert what.startswith("image files used more than once: 1 in train and test (")
    assert "; 1 twice or more under one label (" in what
    assert data_faults(given, open_images=True) == ([], (what,))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("images/n2/0.JPEG", "train.txt:5: this line is no path and label"),
        ("images/n2/9.JPEG 1", "9.JPEG: the image is missing"),
        ("images/n2/0.JPEG 3", "class 2 has no train images"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(tmp_path: Path, line: str, message: str) -> None:
    root = imagenet_lt(tmp_path, ("train.txt", "test.txt"))
    with open(root / "train.txt", "a") as file:
        file.write(line + "\n")
    assert message in refused(settings("imagenet-lt", root))
    (root / "test.txt").write_text("images/n1/0.JPEG 0\nimages/n1/1.JPEG 1\nimages/n1/1.JPEG 7\n")
    (root / "train.txt").write_text("images/n1/0.JPEG 0\nimages/n2/0.JPEG 1\n")
    assert "test label 7 is unknown to train" in refused(settings("imagenet-lt", root))
    assert "dataset.path" in refused(settings("imagenet-lt"))


# --- real images


def unpack(archive: str, root: Path, wanted: Callable[[str], bool]) -> Path:
    with tarfile.open(SHARED_DATA / archive) as tar:
        members = [member for member in tar if member.isfile() and wanted(member.name)]
        tar.extractall(root, members, filter="data")
    return root


@pytest.mark.shared_data
def test_real_cifar10_folder(tmp_path: Path) -> None:
    root = unpack("cifar10-jpeg.tar.xz", tmp_path, lambda name: name[-8:] in ("0000.jpg", "0001.jpg"))
    source = source_of(settings("folder", root))
    assert source.class_names[0] == "airplane" and source.class_names[9] == "truck"
    assert everything(source, "train").shape == (20, 3, 32, 32)
    assert everything(source, "test").float().std() > 30


@pytest.mark.shared_data
def test_real_tiny_imagenet(tmp_path: Path) -> None:
    root = unpack("tiny-imagenet-20.tar.xz", tmp_path, lambda name: "train" not in name or name[-7:] == "_1.JPEG")
    source = source_of(settings("tiny-imagenet", root, test_per_class=2))
    assert len(source.class_names) == 20 and "Egyptian cat" in source.class_names
    assert everything(source, "train").shape == (20, 3, 64, 64)
    assert everything(source, "test").shape == (40, 3, 64, 64)


def test_an_image_of_too_many_pixels_is_named_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 16)
    file = picture(tmp_path / "huge.png")
    with pytest.raises(InputError, match="too many pixels"):
        read_images([file], 8)
