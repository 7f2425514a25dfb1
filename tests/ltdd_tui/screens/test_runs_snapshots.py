"""How the list of runs, the comparison, the help and the dialogs look."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from engine.run.folder import RunFolder
from ltdd_tui.app import LtddApp
from ltdd_tui.screens.runs import table
from tests.ltdd_tui.driving import all_runs_read, sees, until
from tests.ltdd_tui.recorded import FINISHED_AT, SWEEP, let_go, record_sweep
from tests.ltdd_tui.runs.test_comparison import varied

pytestmark = pytest.mark.usefixtures("no_form")
Add = Callable[..., RunFolder]
Before = Callable[[Pilot[None]], Awaitable[None]]
SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])


@pytest.fixture(autouse=True)
def _fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "time", SimpleNamespace(time=lambda: FINISHED_AT))
    monkeypatch.setattr(Input, "_toggle_cursor", lambda self: None)


@pytest.fixture
def every_status(add: Add) -> None:
    add("cifar10-lt-if100-ipc10-2", "running")
    for status in ("done", "failed", "stopped", "crashed", "empty"):
        add(f"cell-{status}", status)
    torn = add("torn", "stopped").events
    torn.write_bytes(b"\xff\x00\n" * 50)
    os.utime(torn, (FINISHED_AT - 1e6,) * 2)


def pressing(keys: list[str], *words: str) -> Before:
    async def before(pilot: Pilot[None]) -> None:
        await pilot.press("f2")
        await until(pilot, lambda: all_runs_read(pilot))
        for key in keys:
            await pilot.press(key)
        await sees(pilot, *words)
        await pilot.pause(0.3)

    return before


@SIZES
def test_no_runs(snap_compare: Callable[..., bool], size: tuple[int, int]) -> None:
    assert snap_compare(LtddApp(Path("runs")), terminal_size=size, run_before=pressing([], "No runs yet"))


@SIZES
@pytest.mark.usefixtures("every_status")
def test_all_kinds_of_runs(snap_compare: Callable[..., bool], size: tuple[int, int]) -> None:
    told = "published" if size[0] > 100 else "cell-done"
    before = pressing(["j", "space"], "damaged", "1 marked", told)
    assert snap_compare(LtddApp(Path("runs")), terminal_size=size, run_before=before)


@pytest.mark.usefixtures("every_status")
def test_runs_found_by_what_is_typed(snap_compare: Callable[..., bool]) -> None:
    before = pressing(["slash", *"acc", "greater_than_sign", *"50"], "1 of 7")
    assert snap_compare(LtddApp(Path("runs")), terminal_size=(80, 24), run_before=before)


@pytest.mark.usefixtures("every_status")
@pytest.mark.parametrize(
    ("key", "words"),
    [("v", "vgg11"), ("x", "TensorBoard"), ("n", "New name"), ("d", "cannot be undone"), ("f1", "Filter")],
    ids=["evaluate", "export", "rename", "delete", "help"],
)
def test_dialogs(snap_compare: Callable[..., bool], key: str, words: str) -> None:
    before = pressing(["j", key], words)
    assert snap_compare(LtddApp(Path("runs")), terminal_size=(80, 24), run_before=before)


@SIZES
@pytest.mark.parametrize("panel", ["1", "4"])
def test_a_comparison(snap_compare: Callable[..., bool], add: Add, size: tuple[int, int], panel: str) -> None:
    add("cell")
    varied(add("cell-datm"), "method=datm", shift=-6.0)
    varied(add("cell-seed"), "seed=1", shift=0.5)
    add("cell-at-work", "running")
    wide = ["truck", "by seed", "Matching loss rep", "paper", "datm"]
    words = wide if size[0] > 100 else ["truck"] if panel == "4" else ["by seed"]
    before = pressing(["space", "space", "space", "space", "c", panel], *words)
    assert snap_compare(LtddApp(Path("runs")), terminal_size=size, run_before=before)


@SIZES
def test_a_sweep(snap_compare: Callable[..., bool], tmp_path: Path, size: tuple[int, int]) -> None:
    text = SWEEP.replace("[ltdd, datm]", "[ltdd, datm, random]").replace("[10, 100]", "[10, 50, 100]\n  ipc: [1, 2]")
    accuracies: dict[str, float | str] = {
        f"{method}-if{factor}-ipc{ipc}-seed{seed}": base - factor / 10 + 4 * ipc + seed * 1.5
        for method, base in (("ltdd", 60.0), ("datm", 57.0))
        for factor in (10, 50, 100)
        for ipc in (1, 2)
        for seed in (0, 1)
    }
    states: dict[str, float | str] = {
        "datm-if100-ipc1-seed1": "failed",
        "datm-if100-ipc2-seed1": "running",
        "datm-if100-ipc2-seed0": "stopped",
        "random-if10-ipc1-seed0": "running",
        # Of each row one is done: else the time left is an estimate for this machine.
        "random-if10-ipc1-seed1": 41.0,
    }
    folder = record_sweep(tmp_path / "runs" / "mine", accuracies | states, text)
    before = pressing(["enter", "j", "l"], "failed", "seed 0", "datm, IF 10")
    assert snap_compare(LtddApp(Path("runs")), terminal_size=size, run_before=before)
    for name in ("datm-if100-ipc2-seed1", "random-if10-ipc1-seed0"):
        let_go(RunFolder(folder.root / name))
