"""What the first bytes of a folder's images tell."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from engine.run.data_settings import DatasetSettings
from engine.run.image_folder import survey
from engine.run.image_headers import opened_image
from engine.run.image_inventory import inventory


def test_sizes_modes_turns_and_repeats_are_found(tmp_path: Path) -> None:
    for split, count in (("train", 4), ("test", 2)):
        for shade, name in enumerate(("cat", "dog")):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(count):
                color = (40 * i, 90 * shade, 200 * (split == "test"))
                Image.new("RGB", (16, 16), color).save(tmp_path / split / name / f"{i}.jpg")
    train = tmp_path / "train"
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("L", (40, 20)).save(train / "cat" / "3.jpg", exif=turned)
    shutil.copy(train / "cat" / "0.jpg", train / "dog" / "copy.jpg")
    shutil.copy(train / "dog" / "2.jpg", tmp_path / "test" / "dog" / "9.jpg")
    (train / "dog" / "notes.txt").write_text("no image")
    told: list[tuple[int, int]] = []
    found = inventory(
        DatasetSettings(name="folder", path=str(tmp_path)), lambda done, files: told.append((done, files))
    )
    assert (found.train, found.test, found.sides, found.common_side) == ((4, 5), (2, 3), (16, 16, 20), None)
    assert found.aspect == 1 / 14 and found.modes == {"RGB": 13, "L": 1} and found.turned == 1
    assert found.repeated == ((train / "cat" / "0.jpg", train / "dog" / "copy.jpg"),)
    assert found.crossing == (tmp_path / "test" / "dog" / "9.jpg",)
    assert [fault.where for fault in found.unreadable] == [str(train / "dog" / "notes.txt")]
    assert found.train_bytes == sum(file.stat().st_size for file in train.rglob("*.jpg"))
    assert found.thumbnails(0, 2) == [train / "cat" / "0.jpg", train / "cat" / "2.jpg"] and told[-1] == (15, 15)
    assert len(found.thumbnails(1, 9)) == 5


def test_images_are_held_out_as_in_a_run_of_the_preset(tmp_path: Path) -> None:
    for name, count in (("cat", 31), ("dog", 8)):
        (tmp_path / name).mkdir()
        for i in range(count):
            Image.new("L", (8, 8), i).save(tmp_path / name / f"{i}.png")
    (tmp_path / "dog" / "1.txt").write_text("no image")
    found = inventory(DatasetSettings(name="folder", path=str(tmp_path)))
    settings = DatasetSettings(name="folder", path=str(tmp_path), test_folds=5, unusable_files="skip")
    run = survey(settings)
    assert found.folds == 5 and (found.train, found.test) == (run.counts, run.test_counts) == ((24, 7), (7, 1))
    assert found.survey.test_set == "fold 0 of 5, held out"


def test_no_content_starts_a_program_and_no_fifo_holds_a_reader_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "eps.png", format="EPS")
    os.mkfifo(tmp_path / "fifo.png")
    # Image.open does not start Ghostscript by itself, but as soon as pixels are asked for.
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    for name in ("eps.png", "fifo.png"):
        with (
            pytest.raises(OSError, match=r"cannot identify image file|it is a FIFO"),
            opened_image(tmp_path / name) as it,
        ):
            it.load()


def test_every_image_is_opened_in_one_place() -> None:
    root = Path(__file__).parents[3]
    files = [file for half in ("engine", "ltdd_tui") for file in (root / half).rglob("*.py")]
    # What the card shows is for whoever uses the result.
    allowed = {"image_headers.py", "card.py"}
    assert {file.name for file in files if "Image.open(" in file.read_text()} == allowed


def test_a_class_without_a_file_that_can_be_used_is_a_fault(tmp_path: Path) -> None:
    for name in ("cat", "dog", "owl"):
        (tmp_path / "train" / name).mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(tmp_path / "train" / name / "0.png")
        Image.new("RGB", (16, 16), "red").save(tmp_path / "train" / name / "1.png")
    for number in range(2):
        (tmp_path / "train" / "owl" / f"{number}.png").write_text("no image")
    faults = inventory(DatasetSettings(name="folder", path=str(tmp_path))).survey.faults
    assert [(fault.what, Path(fault.where).name) for fault in faults] == [("no file of this class can be used", "owl")]
