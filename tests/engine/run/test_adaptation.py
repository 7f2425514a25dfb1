"""Settings that follow from a folder, a machine and the time: they fit, they are told, and their preset loads."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from engine.run.adaptation import (
    BUDGET_SHARE,
    DEPTHS,
    EFFORTS,
    MOST_STORED,
    Choice,
    adapt,
    estimate_of,
    preset_text,
    settings_of,
    too_few,
)
from engine.run.auto_settings import with_numbers
from engine.run.device_profiles import CUDA, cpu
from engine.run.errors import Fault
from engine.run.image_folder import Survey
from engine.run.image_inventory import Inventory
from engine.run.presets import load_preset

HERE = Path("photos")
SCENES = (2378, 1295, 5, 4)


def looked_over(
    train: tuple[int, ...] = SCENES,
    test: int | tuple[int, ...] = 200,
    side: int | tuple[int, int, int] = 32,
    aspect: float = 0.0,
    has_test: bool = True,
    unreadable: int = 0,
    folds: int | None = None,
) -> Inventory:
    """The inventory of a folder that need not exist; side: of all images, or least, median and largest."""
    tests = test if isinstance(test, tuple) else (test,) * len(train)
    folders = tuple(Path(f"photos/{split}/{c}") for split in ("train", "test") for c in range(len(train)))
    survey = Survey(
        tuple(map(str, range(len(train)))), train, test_counts=tests, test=folders[len(train) :] if has_test else ()
    )
    return Inventory(
        survey,
        train,
        tests,
        side if isinstance(side, tuple) else (side,) * 3,
        None if isinstance(side, tuple) else side,
        aspect,
        Counter(RGB=sum(train)),
        0,
        (),
        (),
        (Fault("this is no image that can be read", "photos/train/0/a.txt"),) * unreadable,
        1000,
        ((),) * len(train),
        folds,
    )


def chosen(inventory: Inventory, minutes: float = 10) -> dict[str, Choice]:
    return {choice.setting: choice for choice in adapt(inventory, cpu(2), minutes)}


@pytest.mark.parametrize("train", [SCENES, (100, 60, 40, 20, 9, 5) * 3, (20, 10, 6), (5000, 50)])
@pytest.mark.parametrize("minutes", [2, 10, 60])
def test_a_run_fits_into_the_minutes_or_the_choices_say_that_it_does_not(
    train: tuple[int, ...], minutes: float
) -> None:
    inventory = looked_over(train, side=64)
    choices = adapt(inventory, cpu(2), minutes)
    seconds = estimate_of(inventory, choices, cpu(2)).total_seconds
    told = next(choice.reason for choice in choices if choice.setting == "matching.iterations")
    least = settings_of(choices).matching.iterations == EFFORTS[-1].iterations
    assert seconds <= 60 * BUDGET_SHARE * minutes or (least and f"the limit is {BUDGET_SHARE * minutes:.1f}" in told)
    warning = too_few(minutes, estimate_of(inventory, choices, cpu(2)))
    assert bool(warning) == (seconds > 60 * BUDGET_SHARE * minutes)
    if warning:
        enough = float(warning.split()[-3].replace(",", ""))
        assert not too_few(enough, estimate_of(inventory, adapt(inventory, cpu(2), enough), cpu(2)))
    assert all(choice.reason for choice in choices)


def test_more_minutes_never_mean_less_work() -> None:
    inventory = looked_over(side=(60, 130, 900))
    done = [settings_of(adapt(inventory, cpu(2), minutes)) for minutes in (1, 10, 100, 1000)]
    assert [own.dataset.resolution for own in done] == sorted(own.dataset.resolution or 0 for own in done)
    assert done[-1].dataset.resolution == 128 and done[-1].matching.iterations == EFFORTS[0].iterations


def test_the_preset_says_why_and_loads_as_the_choices(tmp_path: Path) -> None:
    inventory = looked_over((90, 30, 10), 5, (20, 50, 70), aspect=0.5, has_test=False, unreadable=1)
    choices = adapt(inventory, cpu(2), 10)
    file = tmp_path / "photos.yaml"
    file.write_text(preset_text(HERE, inventory, choices))
    settings = load_preset(str(file))
    path = {"name": "folder", "path": str(HERE.absolute())}
    expected = settings_of(choices)
    assert settings == expected.model_copy(update={"dataset": expected.dataset.model_copy(update=path)})
    assert (settings.method, settings.initialize.partition, settings.dataset.fit) == ("ltdd-plus", 2, "pad")
    text = file.read_text()
    assert "3 classes with 90 to 10 train images" in text and "unusable_files: skip  # 1 file cannot" in text
    assert "epochs: auto  # now " in text and "image_lr" not in text, "what own-images says already is left out"
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize(
    ("train", "ipc"),
    [(SCENES, 10), ((100, 60, 30, 10), 10), ((50, 30, 10, 10), 5), ((10, 5, 2), 1), ((50_000,) * 10, 10)],
)
def test_the_set_is_small_beside_its_images(train: tuple[int, ...], ipc: int) -> None:
    own = chosen(looked_over(train))["ipc"]
    assert own.value == ipc and (ipc == 1 or ipc * len(train) <= MOST_STORED * sum(train))


@pytest.mark.parametrize(
    ("side", "resolution", "told"),
    [
        (28, 28, "the side of all images"),
        (32, 32, "the side of all images"),
        (27, 32, "27 pixels"),
        ((24, 48, 100), 32, "24 to 100 pixels"),
        (64, 64, "the side of all images"),
        ((90, 100, 110), 96, "90 to 110"),
        ((200, 400, 3000), 128, "made for 128 at most"),
    ],
)
def test_images_are_scaled_to_a_side_that_the_networks_are_made_for(
    side: int | tuple[int, int, int], resolution: int, told: str
) -> None:
    own = chosen(looked_over((60, 30, 10), side=side), minutes=10_000)
    assert own["dataset.resolution"].value == resolution and told in own["dataset.resolution"].reason
    assert own["experts.depth"].value == DEPTHS.get(resolution, 3)
    small = chosen(looked_over((60, 30, 10), side=(200, 400, 3000)), minutes=1)["dataset.resolution"]
    assert small.value < 128 and "128 would take too long" in small.reason


def test_reasons_are_true_of_a_folder_that_is_too_small_for_them() -> None:
    own = chosen(looked_over((5, 4), (1, 1)))
    assert own["ipc"].value == 1 and own["ipc"].reason == "2 images stand for 9: one of a class is the least"
    assert "none are set apart" in own["validation.share"].reason and "test images" in own["evaluate.every"].reason
    assert "validation images" in chosen(looked_over((50, 40), (9, 9)))["evaluate.every"].reason


def test_the_folds_that_the_files_were_dealt_into_are_those_of_the_preset() -> None:
    few = chosen(looked_over((40, 8), (10, 2), has_test=False, folds=5))["dataset.test_folds"]
    assert few.value == 5 and "the smallest class would test on 2 images" in few.reason
    assert "dataset.test_folds" not in chosen(looked_over((400, 80), (100, 20), has_test=False))


def test_epochs_that_are_cut_are_numbers_and_what_follows_them_says_so() -> None:
    own = chosen(looked_over((20_000, 100)), minutes=1)
    epochs = own["experts.epochs"].value
    assert epochs < 15 and own["experts.epochs"].reason.startswith("cut from 15 the least work")
    assert own["matching.max_start_epoch"].reason.endswith(f"the first half of {epochs} epochs of the experts")


def test_a_gpu_gets_a_wide_network_and_files_that_fit_get_no_settings() -> None:
    own = {choice.setting: choice.value for choice in adapt(looked_over(), CUDA, 10)}
    assert own["experts.width"] == 128 and not own.keys() & {"dataset.fit", "dataset.unusable_files"}


def test_what_is_auto_says_what_it_means_today(tmp_path: Path) -> None:
    for name, count in (("cat", 40), ("owl", 10)):
        for split in ("train", "test"):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(count):
                (tmp_path / split / name / f"{i}.png").touch()
    own = chosen(looked_over((40, 10), (40, 10)))
    settings = settings_of(list(own.values()))
    dataset = settings.dataset.model_copy(update={"path": str(tmp_path)})
    numbers, _ = with_numbers(settings.model_copy(update={"dataset": dataset}))
    assert own["experts.epochs"].value == "auto"
    assert own["experts.epochs"].reason.startswith(f"now {numbers.experts.epochs}: ")
