"""The language in which one looks for runs."""

from __future__ import annotations

import pytest

from ltdd_tui.runs.filter import parse
from ltdd_tui.runs.index import Overview

RUNS = [
    Overview("quickstart", "done", None, "digits", 50.0, 2, "ltdd", 86.9, 0.7, 3.0, "/r/quickstart", seed=0),
    Overview("cell-a", "running", "distill 10/200", "cifar10", 100.0, 10, "ltdd", None, None, 9.0, "/r/a", seed=1),
    Overview("cell-b", "stopped", None, "cifar100", 100.0, 20, "datm", 44.3, 0.2, 1.0, "/r/b", seed=1),
    Overview("moles", "failed", None, "folder", "natural", 10, "dam", 50.0, 0.2, 1.0, "/r/m", seed=3),
    Overview("torn", "damaged", None, None, None, None, None, None, None, 0.0, "/r/torn"),
]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "quickstart cell-a cell-b moles torn"),
        ("   ", "quickstart cell-a cell-b moles torn"),
        ("CELL", "cell-a cell-b"),
        ("cifar", "cell-a cell-b"),
        ("cifar10 ipc", "cell-a cell-b"),
        ("cell running", "cell-a"),
        ("state:run", "cell-a"),
        ("state:done,failed", "quickstart moles"),
        ("state:", "quickstart cell-a cell-b moles torn"),
        ("method:ltdd dataset:cifar10", "cell-a"),
        ("dataset:cifar100", "cell-b"),
        ("if:100", "cell-a cell-b"),
        ("if>50", "cell-a cell-b"),
        ("if>=50", "quickstart cell-a cell-b"),
        ("if:natural", "moles"),
        ("ipc:10,2", "quickstart cell-a moles"),
        ("acc>44.3", "quickstart moles"),
        ("acc<=50", "cell-b moles"),
        ("acc>", "quickstart cell-a cell-b moles torn"),
        ("seed=1 -method:datm", "cell-a"),
        ("-cell -torn", "quickstart moles"),
        ("stage:distill", "cell-a"),
        ("nothing", ""),
    ],
)
def test_a_text_finds(text: str, names: str) -> None:
    wanted = parse(text)
    assert wanted.faults == ()
    assert [run.name for run in RUNS if wanted.matches(run)] == names.split()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("stat:done", "no field 'stat'"),
        ("acc>many", "acc is a number"),
        ("method>3", "method is text"),
        ("-ipc:x", "ipc is a number"),
    ],
)
def test_a_term_that_cannot_be_read_is_told_and_left_out(text: str, fault: str) -> None:
    wanted = parse(f"{text} cell")
    assert len(wanted.faults) == 1 and fault in wanted.faults[0]
    assert [run.name for run in RUNS if wanted.matches(run)] == ["cell-a", "cell-b"]
