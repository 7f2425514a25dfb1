"""What a run gets: the tail, whitened and labeled alike, with everything that a person should be told."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.data.dataset import LongTailedData, load_long_tailed
from engine.run.data_settings import DatasetSettings, ValidationSettings
from engine.run.errors import InputError
from engine.run.events import DataReady, Event, Warned


def load(ipc: int = 2, share: float = 0.0, **given: object) -> tuple[LongTailedData, list[Event]]:
    events: list[Event] = []
    settings = DatasetSettings(**given)  # type: ignore[arg-type]
    validation = ValidationSettings(share=share)
    data = load_long_tailed(settings, ipc, torch.device("cpu"), events.append, validation=validation)
    return data, events


@pytest.fixture
def uneven(tmp_path: Path) -> str:
    """Classes a, b, c, d of 3, 9, 3 and 6 noisy train images whose brightness is 20, 60, 100 and 140."""
    noise = np.random.RandomState(0)
    for split in ("train", "test"):
        for level, (name, count) in zip((20, 60, 100, 140), {"a": 3, "b": 9, "c": 3, "d": 6}.items(), strict=True):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = np.uint8(level + noise.randint(-9, 10, (8, 8, 3)))
                Image.fromarray(pixels).save(tmp_path / split / name / f"{i}.png")
    return str(tmp_path)


def brightness(data: LongTailedData) -> list[float]:
    pixels = data.whitening.to_pixels(data.train_images) * 255
    return [round(pixels[data.train_labels == c].mean().item(), -1) for c in range(data.num_classes)]


def test_digits_toy_of_the_method() -> None:
    data, events = load(imbalance_factor=50.0)
    assert data.class_counts == [134, 86, 56, 36, 23, 15, 9, 6, 4, 2]
    class_after_class = torch.arange(10).repeat_interleave(torch.tensor(data.class_counts))
    assert torch.equal(data.train_labels, class_after_class)
    assert (data.train_images.dtype, data.train_labels.dtype) == (torch.float32, torch.int64)
    assert data.train_images.shape == (371, 1, 8, 8) and data.test_images.shape == (400, 1, 8, 8)
    assert events == [
        DataReady(data.class_names, data.class_counts, data.groups, data.grouping, 400, 371 / 20, [40] * 10)
    ]


def test_the_same_settings_give_the_same_bytes_and_others_another_fingerprint() -> None:
    one, again = load(imbalance_factor=50.0)[0], load(imbalance_factor=50.0)[0]
    assert torch.equal(one.train_images, again.train_images) and torch.equal(one.test_images, again.test_images)
    others: list[dict[str, object]] = [
        {},
        {"imbalance_factor": 50.0, "whitening": "paper"},
        {"imbalance_factor": 50.0, "whitening_epsilon": 0.2},
        {"imbalance_factor": 50.0, "subset_seed": 1},
        {"imbalance_factor": 50.0, "test_per_class": 20},
    ]
    prints = [one.fingerprint] + [load(**other)[0].fingerprint for other in others]
    assert one.fingerprint == again.fingerprint and len(set(prints)) == len(prints)


def test_validation_images_are_of_the_train_images_alone_and_no_longer_among_them() -> None:
    (whole, _), (data, events) = load(imbalance_factor=50.0), load(share=0.1, imbalance_factor=50.0)
    spared = [13, 9, 6, 4, 2, 0, 0, 0, 0, 0]  # classes from 20 images on
    assert data.class_counts == [had - gave for had, gave in zip(whole.class_counts, spared, strict=True)]
    assert data.stand_ins == (5, 6, 7, 8, 9) and data.validation_counts == spared[:5] + whole.class_counts[5:]

    def pixels(of: LongTailedData, images: torch.Tensor) -> list[bytes]:
        levels = (of.whitening.to_pixels(images) * 255).round().to(torch.uint8)
        return [image.numpy().tobytes() for image in levels]

    apart = data.validation_labels < 5
    kept, judges = pixels(data, data.train_images), pixels(data, data.validation_images[apart])
    assert sorted(kept + judges) == sorted(pixels(whole, whole.train_images)) and not set(kept) & set(judges)
    own = data.validation_images[~apart]
    assert torch.allclose(own, data.train_images[data.train_labels >= 5], atol=1e-4)
    assert data.fingerprint != whole.fingerprint and torch.equal(data.judging.test_images, data.validation_images)
    ready = events[-1]
    assert isinstance(ready, DataReady) and (ready.validation_counts, ready.stand_ins) == (
        data.validation_counts,
        [5, 6, 7, 8, 9],
    )
    told = [event.message for event in events if isinstance(event, Warned)]
    assert any("no images of 5, 6, 7, 8" in text and "stand in" in text for text in told)


def test_a_track_is_trained_on_or_tested_on_or_chosen_by_and_never_two_of_these(tmp_path: Path) -> None:
    # Each track has one color; classes a and b share track 5, and all of c, which is large enough, is one track.
    tracks = {"a": range(1, 6), "b": range(5, 10), "c": [11]}
    for name, own in tracks.items():
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "test" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "test" / name / "0.png")
        for track in own:
            for i in range(20 // len(own)):
                image = Image.new("RGB", (8, 8), (20 * track, i, 0))
                image.save(tmp_path / "train" / name / f"track{track}_{i}.png")
    given = {"name": "folder", "path": str(tmp_path), "test_groups": r"track(\d+)_"}
    data, events = load(share=0.2, **given)

    def seen(images: torch.Tensor) -> set[int]:
        return {round(red * 255 / 20) for red in data.whitening.to_pixels(images)[:, 0, 0, 0].tolist()}

    apart, own = seen(data.validation_images[data.validation_labels < 2]), seen(data.train_images)
    assert not apart & own and apart | own == {*range(1, 10), 11}
    assert data.validation_counts[:2] == [4, 4] and data.stand_ins == (2,) and data.class_counts == [16, 16, 20]
    told = [event for event in events if isinstance(event, Warned)]
    assert any("no images of c" in one.message and "two groups" in one.hint for one in told)
    given["test_groups"] = "(track)"
    data, events = load(share=0.2, **given)
    assert not data.chooses and data.class_counts == [20, 20, 20]
    assert any("one group of files" in event.message for event in events if isinstance(event, Warned))


def test_where_no_class_can_spare_images_nothing_is_chosen_and_a_person_is_told(uneven: str) -> None:
    (data, events), (whole, _) = (load(share=share, name="folder", path=uneven) for share in (0.1, 0.0))
    assert data.class_counts == whole.class_counts and len(data.validation_labels) == 0
    assert data.fingerprint == whole.fingerprint and torch.equal(data.train_images, whole.train_images)
    assert "no class has 20 train images" in next(event.message for event in events if isinstance(event, Warned))


def test_classes_with_fewer_images_than_ipc_are_named() -> None:
    warnings = [event for event in load(5, imbalance_factor=50.0)[1] if isinstance(event, Warned)]
    assert [warning.message for warning in warnings] == ["fewer train images than ipc 5: 8, 9"]


def test_classes_with_few_test_images_are_named_with_how_many(uneven: str) -> None:
    data, events = load(name="folder", path=uneven)
    assert data.test_counts == [3, 9, 3, 6]
    warning = next(event for event in events if isinstance(event, Warned) and "test images" in event.message)
    assert warning.message == "fewer than 10 test images: a (3), b (9), c (3), d (6)"
    assert "95 % intervals" in warning.hint and "dataset.test_folds" in warning.hint


def test_folds_are_not_recommended_where_they_are_in_use(uneven: str) -> None:
    shutil.rmtree(Path(uneven) / "test")
    warned = [event for event in load(1, name="folder", path=uneven, test_folds=3)[1] if isinstance(event, Warned)]
    assert warned[-1].message.startswith("fewer than 10 test images") and "test_folds" not in warned[-1].hint


def test_copies_of_train_images_among_the_test_images_are_counted(uneven: str) -> None:
    shutil.copy(f"{uneven}/train/b/0.png", f"{uneven}/test/b/copy.png")
    (Path(uneven) / "test" / "c" / "link.png").symlink_to(Path(uneven) / "train" / "c" / "0.png")
    told = [event.message for event in load(name="folder", path=uneven)[1] if isinstance(event, Warned)]
    assert told[0].startswith("image files used more than once: 1 in train and test (")
    pair = f"{uneven}/test/b/copy.png = {uneven}/train/b/0.png"
    assert [what for what in told if "pixels as" in what] == [
        f"1 of 23 test images have the same pixels as a train image ({pair})"
    ]


def test_natural_keeps_every_image_and_label_order(uneven: str) -> None:
    data, _ = load(name="folder", path=uneven)
    assert (data.class_names, data.class_counts) == (["a", "b", "c", "d"], [3, 9, 3, 6])
    assert brightness(data) == [20, 60, 100, 140]


def test_order_by_count_renumbers_names_train_and_test_alike(uneven: str) -> None:
    data, _ = load(name="folder", path=uneven, class_order="count")
    assert (data.class_names, data.class_counts) == (["b", "d", "a", "c"], [9, 6, 3, 3])
    assert brightness(data) == [60, 140, 20, 100]
    assert torch.bincount(data.test_labels).tolist() == [9, 6, 3, 3]
    pixels = data.whitening.to_pixels(data.test_images) * 255
    assert [round(pixels[data.test_labels == c].mean().item(), -1) for c in range(4)] == [60, 140, 20, 100]


def test_a_class_too_small_for_its_place_gives_all_and_is_named(uneven: str) -> None:
    data, events = load(name="folder", path=uneven, imbalance_factor=3.0)
    assert data.class_counts == [3, 6, 3, 3]
    warning = next(event for event in events if isinstance(event, Warned))
    assert "a (3 of 9), c (3 of 4)" in warning.message and "class_order" in warning.hint


def test_a_tail_without_images_is_refused(uneven: str) -> None:
    with pytest.raises(InputError, match=r"leaves none for d"):
        load(name="folder", path=uneven, imbalance_factor=20.0)


@pytest.mark.cuda
def test_cuda_gets_the_same_images() -> None:
    settings = DatasetSettings(imbalance_factor=50.0)
    here, there = (load_long_tailed(settings, 2, torch.device(kind), lambda _: None) for kind in ("cpu", "cuda"))
    assert here.fingerprint == there.fingerprint and there.train_labels.is_cuda
    torch.testing.assert_close(there.train_images.cpu(), here.train_images, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(there.test_images.cpu(), here.test_images, rtol=1e-3, atol=1e-3)
