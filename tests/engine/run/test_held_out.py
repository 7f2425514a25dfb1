"""Which images are held out: groups of files stay on one side, and every class has images on both."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.run.data_settings import DatasetSettings
from engine.run.held_out import FOLDS, HeldOut, folds_instead, group_of, held_out_faults, held_out_places, pattern_fault
from engine.run.image_folder import survey, train_and_test_files

PATTERN = r"track(\d+)_"
# Tracks of 8, 4, 4, 2 and 2 images, and one file beside them; and a class that shares track 3 with the other one.
CLASSES = [
    [f"a/track{track}_{i}.png" for track, size in enumerate((8, 4, 4, 2, 2)) for i in range(size)] + ["a/alone.png"],
    [f"b/track{track}_{i}.png" for track, size in ((3, 2), (7, 3), (8, 3), (9, 2)) for i in range(size)],
]


def sides(which: HeldOut) -> tuple[list[list[str]], list[list[str]]]:
    held = held_out_places(CLASSES, which)
    tested = [[own[i] for i in places] for own, places in zip(CLASSES, held, strict=True)]
    return [[path for path in own if path not in set(test)] for own, test in zip(CLASSES, tested, strict=True)], tested


def groups(paths: list[list[str]]) -> set[str]:
    return {group_of(PATTERN, path) for own in paths for path in own}


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.9])
def test_a_group_is_on_one_side_and_each_class_on_both(share: float) -> None:
    train, test = sides(HeldOut(share, groups=PATTERN))
    assert not groups(train) & groups(test) and all(train) and all(test)
    assert (train, test) == sides(HeldOut(share, groups=PATTERN))
    wanted = [share * len(own) for own in CLASSES]
    assert all(abs(len(own) - count) <= 4 for own, count in zip(test, wanted, strict=True))


def test_folds_test_every_image_once_and_every_class_in_each_fold() -> None:
    parts = [sides(HeldOut(0.2, 3, fold, PATTERN)) for fold in range(3)]
    assert sorted(path for _, test in parts for own in test for path in own) == sorted([*CLASSES[0], *CLASSES[1]])
    assert all(not groups(train) & groups(test) and all(test) for train, test in parts)


@pytest.mark.parametrize(
    ("classes", "folds", "what"),
    [
        ([["a/1_0.png", "a/1_1.png"], ["b/2_0.png", "b/3_0.png"]], None, "all images of this class are of one group"),
        ([[f"a/{i}_.png" for i in range(4)], ["b/8_0.png", "b/9_0.png"]], 3, "test_folds 3 is more than the 2 groups"),
    ],
)
def test_groups_that_cannot_be_held_out_are_faults(classes: list[list[str]], folds: int | None, what: str) -> None:
    which = HeldOut(0.2, folds, 0, r"(\d)_")
    faults = held_out_faults([Path("a"), Path("b")], classes, held_out_places(classes, which), which)
    assert len(faults) == 1 and what in faults[0].what and faults[0].hint


@pytest.mark.parametrize(
    ("pattern", "what"), [("(", "no regular expression"), ("a", "no group"), ("(a)(b)", "2 groups")]
)
def test_patterns_that_name_no_group_are_faults(pattern: str, what: str) -> None:
    fault = pattern_fault(pattern)
    assert fault is not None and what in fault.what and pattern_fault(PATTERN) is None


@pytest.mark.parametrize(
    ("sizes", "folds"), [([50, 22], FOLDS), ([50, 5], FOLDS), ([500, 23], None), ([50, 4], None), ([50, 1], None)]
)
def test_folds_are_held_out_where_a_share_would_test_a_class_on_a_few_images(
    sizes: list[int], folds: int | None
) -> None:
    assert folds_instead(sizes, 0.2) == folds


def test_counts_of_the_survey_are_those_of_the_files(tmp_path: Path) -> None:
    for own in CLASSES:
        for path in own:
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).touch()
    settings = DatasetSettings(name="folder", path=str(tmp_path), test_groups=PATTERN)
    folder = survey(settings)
    files = train_and_test_files(folder, settings)
    assert folder.faults == ()
    assert [[sum(label == c for _, label in own) for c in (0, 1)] for own in files] == [
        list(folder.counts),
        list(folder.test_counts),
    ]
