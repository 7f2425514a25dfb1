"""The cost of a run from names of files alone: a person's own images counted, cached experts found."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from engine.run.data_settings import DatasetSettings
from engine.run.device_profiles import cpu
from engine.run.estimate import estimate_for_manifest, estimate_or_none, estimate_remaining
from engine.run.expert_cache import about_representation, expert_file, experts_root
from engine.run.folder import write_json
from engine.run.image_folder import survey
from engine.run.settings import RunSettings

DEVICE = cpu(2)


def folder_of(root: Path, side: int, **classes: int) -> RunSettings:
    """A data set of so many images a class, and one test image each."""
    for name, count in classes.items():
        for split, images in (("train", count), ("test", 1)):
            place = root / split / name
            place.mkdir(parents=True)
            for number in range(images):
                Image.new("RGB", (side, side)).save(place / f"{number}.png")
    experts = {"num_experts": 2, "depth": 2}
    dataset = {"name": "folder", "path": str(root)}
    # Compiling takes as long for one expert as for all, which would hide what the tests compare.
    return RunSettings.model_validate({"dataset": dataset, "ipc": 1, "experts": experts, "compile": "never"})


def test_class_counts_and_image_size_of_a_folder_are_found(tmp_path: Path) -> None:
    settings = folder_of(tmp_path, 16, cat=6, dog=2)
    assert survey(DatasetSettings(path=str(tmp_path))).test_images == 2
    found = estimate_or_none(settings, DEVICE)
    assert found is not None and found.compression_ratio == 4
    told = settings.model_copy(update={"dataset": settings.dataset.model_copy(update={"resolution": 16})})
    assert estimate_or_none(told, DEVICE) == found
    larger = settings.model_copy(update={"dataset": settings.dataset.model_copy(update={"resolution": 64})})
    bigger = estimate_or_none(larger, DEVICE)
    assert bigger is not None and bigger.experts_seconds > 3 * found.experts_seconds


def test_test_images_that_are_held_out_are_counted_too(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(10):
            (tmp_path / "train" / name / f"{number}.png").touch()
    found = survey(DatasetSettings(path=str(tmp_path), test_share=0.3))
    assert (found.counts, found.test_images) == ((7, 7), 6)


def test_a_missing_folder_has_no_estimate(tmp_path: Path) -> None:
    settings = RunSettings.model_validate({"dataset": {"name": "folder", "path": str(tmp_path / "none")}})
    assert estimate_or_none(settings, DEVICE) is None
    assert estimate_remaining(settings, DEVICE)[0] is None
    assert estimate_for_manifest(settings, DEVICE) is None


def test_experts_in_the_cache_are_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "cache"))
    settings = folder_of(tmp_path / "images", 16, cat=8, dog=8)
    tailed = settings.model_copy(update={"dataset": settings.dataset.model_copy(update={"imbalance_factor": 4.0})})
    before, cached = estimate_remaining(tailed, DEVICE)
    assert before is not None and not any(cached)
    place = experts_root() / "0123"
    # What is cached was made from the long tail, not from all that lies in the folder.
    write_json(place / "about.json", about_representation(tailed, "cpu", [8, 2], "eager", False))
    header = b'{"weights":{"dtype":"F32","shape":[24,1],"data_offsets":[0,96]}}'
    expert_file(place, 0).write_bytes(len(header).to_bytes(8, "little") + header + bytes(96))
    after, cached = estimate_remaining(tailed, DEVICE)
    assert cached == (1, 0, 0)
    assert after is not None and after.experts_seconds == pytest.approx(before.experts_seconds / 2)
    recorded = estimate_for_manifest(tailed, DEVICE)
    assert recorded is not None and recorded["stage_seconds"]["experts"] == after.experts_seconds
