"""Durations, sizes, names and paths as text."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from ltdd_tui import formatting
from ltdd_tui.formatting import ago, duration, first_few, mean_and_std, short_path, shortened, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0, "0.0 s"),
        (1.34, "1.3 s"),
        (42.4, "42 s"),
        (59.9, "60 s"),
        (187.0, "3:07"),
        (7509.0, "2:05:09"),
        (3599.9, "1:00:00"),
        (172_800.0, "2 days"),
        (3_814_227.0, "44 days"),
    ],
)
def test_a_measured_duration_is_exact_to_the_second(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5.0, "now"),
        (1.0, "now"),
        (42.0, "42 s"),
        (61.0, "1 min"),
        (7000.0, "2 h"),
        (170_000.0, "47 h"),
        (9e5, "10 days"),
    ],
)
def test_an_age_has_one_unit_and_no_decimals(seconds: float, text: str) -> None:
    assert duration(seconds, "age") == text
    assert ago(seconds) == (text if text == "now" else f"{text} ago")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0, "0 s"),
        (89.4, "89 s"),
        (90.0, "2 min"),
        (5399.0, "90 min"),
        (5400.0, "1.5 h"),
        (36_000.0, "10 h"),
        (172_800.0, "2 days"),
    ],
)
def test_an_estimated_duration_has_one_unit_and_about_two_digits(seconds: float | None, text: str) -> None:
    assert duration(seconds, "estimate") == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (812, "812 bytes"),
        (1000, "1.0 kB"),
        (999_600, "1.0 MB"),
        (340_000_000, "340 MB"),
        (5e12, "5.0 TB"),
    ],
)
def test_a_size_has_a_decimal_unit_and_about_three_digits(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize("width", range(12))
def test_a_shortened_name_keeps_both_ends_and_its_width(width: int) -> None:
    assert len(shortened("cifar10-lt-if100", width)) == width
    assert cell_len(shortened("\u6f22\u5b57" * 5, width)) <= width
    if width >= 5:
        assert shortened("cifar10-lt-if100", width)[0] == "c" and shortened("cifar10-lt-if100", width).endswith("00")
    assert shortened("short", 5) == "short"


def test_a_path_in_the_home_folder_begins_with_a_tilde(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert short_path(tmp_path / "runs") == "~/runs" and short_path(Path("/elsewhere")) == "/elsewhere"


def test_clocks_that_differ_show_no_negative_time() -> None:
    assert (duration(-3600), duration(-3600, "age"), duration(-3, "estimate")) == ("0.0 s", "now", "0 s")


@pytest.mark.parametrize(("encoding", "sign"), [("utf-8", "±"), ("iso-8859-1", "±"), ("ascii", "+-"), (None, "+-")])
def test_the_sign_before_a_spread_is_one_that_the_output_can_write(
    encoding: str | None, sign: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = io.TextIOWrapper(io.BytesIO(), encoding=encoding) if encoding else None
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", output)
        assert formatting._sign("±", "+-") == sign
    monkeypatch.setattr(formatting, "PLUS_MINUS", sign)
    assert mean_and_std(86.94, 0.71, 5) == f"86.9 {sign} 0.7"


def test_of_many_texts_the_first_ones_are_named_and_the_others_counted() -> None:
    names = [f"run {number}" for number in range(1_005)]
    assert first_few(names[:5], 5) == names[:5] and first_few([], 5) == []
    assert first_few(names, 5, " runs") == [*names[:5], "and 1,000 more runs"]
