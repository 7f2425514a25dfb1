"""Lists of images: one reader, a strict form of each line, labels checked before anything is sized by them."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.run.data_settings import DatasetSettings
from engine.run.errors import InputError
from engine.run.image_lists import class_faults, list_faults, read_lists, text_lines

GOOD = "a/1.JPEG 0\nb/my photo.JPEG 1\n"


def told(root: Path, train: str | bytes) -> list[str]:
    """What is wrong with a train list, beside a good test list: `line: what`."""
    (root / "train.txt").write_bytes(train.encode() if isinstance(train, str) else train)
    (root / "test.txt").write_text(GOOD)
    try:
        read_lists(DatasetSettings(name="imagenet-lt", path=str(root)))
    except InputError as error:
        return [f"{fault.where.removeprefix(f'{root}/')}: {fault.what}".removeprefix(": ") for fault in error.faults]
    return []


@pytest.mark.parametrize(
    "line", ["a/1.JPEG 0 7", "a/1.JPEG", "0", "a/1.JPEG -1", "a/1.JPEG 1.0", "a/1.JPEG,0", "a/1.JPEG \u0663", "1 2 3"]
)
def test_a_line_that_is_no_path_and_label_is_told(tmp_path: Path, line: str) -> None:
    assert told(tmp_path, GOOD + line) == ["train.txt:3: this line is no path and label"]


def test_paths_may_hold_blanks_and_a_tab_may_come_before_the_label(tmp_path: Path) -> None:
    assert told(tmp_path, "\n  a/b c.d/e f.png\t0  \r\nplain 1\n") == []
    train, _ = read_lists(DatasetSettings(name="imagenet-lt", path=str(tmp_path)))
    assert train == [(tmp_path / "a/b c.d/e f.png", 0), (tmp_path / "plain", 1)]


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_labels_may_begin_with_zeros_and_lines_end_as_on_any_system(tmp_path: Path, end: str) -> None:
    assert told(tmp_path, end.join(["a/1.png 00000", f"b/2.png {'1':0>5000}", "c/3.png 9 7"])) == [
        "train.txt:3: this line is no path and label"
    ]


def test_a_number_that_is_no_label_is_refused_before_anything_is_sized_by_it(tmp_path: Path) -> None:
    assert told(tmp_path, GOOD + "b/2.JPEG 99999999999999999999") == [
        "train.txt:3: the label 99999999999999999999 is too large: at most 10,000 classes"
    ]


def test_many_bad_lines_are_one_short_report(tmp_path: Path) -> None:
    faults = told(tmp_path, "a/1.JPEG 0 7\n" * 20_000)
    assert len(faults) == 21 and faults[20] == "19,980 more like these"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (GOOD.encode("utf-16"), "train.txt: the list is UTF-16 text"),
        (GOOD.encode("utf-16-le"), "train.txt: the list is UTF-16 text"),
        (GOOD.encode() + "caf\u00e9.png 1".encode("latin-1"), "train.txt:3: the list is not UTF-8 text"),
        (b"", "train.txt: the list is empty"),
    ],
)
def test_a_list_in_another_encoding_or_without_lines_is_told(tmp_path: Path, content: bytes, what: str) -> None:
    assert told(tmp_path, content) == [what]


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_bytes("\ufeffn1\torgan\n".encode())
    assert text_lines(tmp_path / "words.txt") == [(1, "n1\torgan")]


def test_labels_have_no_gap_and_test_labels_are_known(tmp_path: Path) -> None:
    faults = class_faults(["a", "1", "c"], {"train": [0, 2, 2], "test": [0, 1, 2, 7]}, "here")
    assert [fault.what for fault in faults] == ["class 1 has no train images", "test label 7 is unknown to train"]


def test_a_dry_run_checks_the_lines_then_the_labels_then_the_files(tmp_path: Path) -> None:
    dataset = DatasetSettings(name="imagenet-lt", path=str(tmp_path))
    assert told(tmp_path, "a/1.JPEG 0 7") and "no path and label" in list_faults(dataset, True)[0][0].what
    assert told(tmp_path, "a/1.JPEG 1") == [] and "no train images" in list_faults(dataset, True)[0][0].what
    assert told(tmp_path, GOOD) == [] and list_faults(dataset, True)[0][0].what == "the image is missing"
