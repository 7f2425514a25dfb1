"""`new`: a folder of images is looked over, and a preset for it is written that `run` takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of 40, 12 and 6 images of 20 to 60 pixels, one of them gray; the current folder holds it."""
    for name, count in (("cat", 40), ("dog", 12), ("gray owl", 6)):
        (tmp_path / "My photos" / name).mkdir(parents=True)
        for i in range(count):
            mode, color = ("L", i) if (name, i) == ("cat", 0) else ("RGB", (i, count, 0))
            Image.new(mode, (20 + i, 60), color).save(tmp_path / "My photos" / name / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LTDD_HOME", str(tmp_path / "home"))
    return tmp_path / "My photos"


def test_a_preset_is_written_that_run_takes_and_the_page_says_what_is_there(
    command: Callable, photos: Path, tmp_path: Path
) -> None:
    done = command("new", str(photos), "--no-calibrate", "--minutes", "0.01")
    assert done.code == 0 and "written: My-photos.yaml\nnext: ltdd-tui run My-photos.yaml" in done.err
    lines = done.out.splitlines()
    shown = [next(line for line in lines if line.startswith(f"{name} ")) for name in ("cat", "dog", "gray owl")]
    # The first of five folds is held out, and a bar is as long as its train images.
    assert [line.split()[-3:-1] for line in shown] == [["32", "8"], ["9", "3"], ["5", "1"]]
    assert [line.count("#") for line in shown] == [40, 11, 6]
    assert lines[0].startswith("! 0.01 minutes are too few: even the least work takes about"), "above all else"
    for text in ("1 gray", "fewer than 10 test images", "dataset.test_folds", "about ", "because"):
        assert text in done.out
    assert command("presets", "check", "My-photos.yaml").code == 0
    planned = command("run", "My-photos.yaml", "--dry-run")
    assert planned.code == 0 and "auto: " in planned.out and "experts.epochs" in planned.out
    # Nothing is lost: a file that is there stays.
    again = command("new", str(photos), "--no-calibrate")
    assert again.code == 2 and "My-photos.yaml: this file is there already" in again.err


def test_the_page_as_json(command: Callable, photos: Path, tmp_path: Path) -> None:
    (photos / "cat" / "broken.jpg").write_bytes(b"no image")
    done = command("new", str(photos), "--json", "--no-calibrate", "-o", "a.yaml", "--device", "cuda:7")
    assert "cuda:7 is not on this machine" in done.err
    page = json.loads(done.out)
    assert page["classes"][0] == {"name": "cat", "train": 32, "test": 8} and page["preset"] == "a.yaml"
    assert page["unreadable"][0]["file"].endswith("cat/broken.jpg") and page["estimate"]["total_seconds"] > 0
    assert {"setting", "value", "reason"} == page["choices"][0].keys()
    assert "unusable_files: skip" in Path("a.yaml").read_text()


def test_a_folder_that_is_given_to_run_leads_to_new(command: Callable, photos: Path) -> None:
    done = command("run", str(photos))
    assert done.code == 2 and "this is a folder, no preset" in done.err and f"ltdd-tui new {photos}" in done.err
