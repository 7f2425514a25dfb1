"""The short form of `python -m benchmarks.robustness`: a few cases of each part, by the same code."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.robustness import inputs
from benchmarks.robustness.damage import Damaged
from benchmarks.robustness.runs import GOOD, Interrupted, Outcome, settings
from tests.integration.forking import forks

METHOD = "dm"


def failures(outcomes: list[Outcome]) -> list[Outcome]:
    assert outcomes
    return [own for own in outcomes if own.outcome not in GOOD]


@pytest.mark.parametrize(("part", "count"), [("events", 25), ("presets", 25), ("images", 25)])
def test_mutated_files_are_read_or_refused_by_name(part: str, count: int, tmp_path: Path) -> None:
    assert failures([inputs.case(part, tmp_path, 0, number) for number in range(count)]) == []


def test_runs_that_are_killed_or_cannot_write_end_in_the_same_bytes(tmp_path: Path) -> None:
    runs = Interrupted(forks(), tmp_path, 0, [METHOD])
    assert failures([runs.kill(0), *map(runs.fault, (0, 1, 2))]) == []


def test_a_damaged_file_leads_to_no_wrong_figure(tmp_path: Path) -> None:
    damaged = Damaged(forks(), tmp_path, 0, settings(METHOD))
    assert failures([*map(damaged.case, range(4)), *map(damaged.flip, range(3))]) == []
