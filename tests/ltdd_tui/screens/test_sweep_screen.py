"""The screen of a sweep, driven by keys: it fills in, its cells open, and one goes back step by step."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from engine.run.folder import RunFolder, write_atomically, write_json
from ltdd_tui.app import LtddApp
from ltdd_tui.launch import sweeps
from ltdd_tui.runs import worker
from ltdd_tui.screens.compare.screen import CompareScreen
from ltdd_tui.screens.run.screen import RunScreen
from ltdd_tui.screens.runs.screen import RunsScreen
from ltdd_tui.screens.sweep import screen as sweep_screen
from ltdd_tui.screens.sweep.screen import SweepScreen
from ltdd_tui.screens.sweep.table import CellList, SweepGrid
from tests.ltdd_tui.driving import draws_anew, frees, hears, listen, sees, text, until
from tests.ltdd_tui.recorded import SUPERVISOR, let_go, record_sweep
from tests.ltdd_tui.runs.test_sweeps import CELLS

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("no_form")]
WIDE, SMALL = (120, 40), (80, 24)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    record_sweep(tmp_path / "runs" / "mine", CELLS)
    folder = RunFolder(tmp_path / "runs" / "mine")
    yield folder
    let_go(RunFolder(folder.root / "datm-if10-seed1"))


@asynccontextmanager
async def shown(folder: RunFolder, size: tuple[int, int] = WIDE) -> AsyncIterator[Pilot[None]]:
    app = LtddApp(Path("runs"), "cpu", folder)
    listen(app)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: isinstance(app.screen, SweepScreen))
        await sees(pilot, "40.0* n1×")
        yield pilot


async def test_it_is_drawn_anew_in_the_theme_that_is_chosen_and_freed_when_it_is_closed(folder: RunFolder) -> None:
    app = LtddApp(Path("runs"), "cpu")
    async with app.run_test(size=WIDE) as pilot:
        await draws_anew(pilot, lambda: app.open_run(folder), "40.0* n1×")
        await frees(pilot, "escape")


@pytest.mark.parametrize("size", [SMALL, WIDE, (40, 12)])
async def test_each_place_says_its_mean_or_its_state_and_why_a_cell_failed(
    folder: RunFolder, size: tuple[int, int]
) -> None:
    async with shown(folder, size) as pilot:
        await sees(pilot, "52.0±2.8*", "51.0 n1►")
        if size[0] >= 80:
            await sees(pilot, "4 of 8 cells done, 1 running, 1 failed, 1 stopped", "about 3 min left")
            await sees(pilot, "■ stopped", "× ltdd-if100-seed1: a matching loss is not finite")
            await sees(pilot, "ltdd, IF 10", "seed 0   ● done   50.0 %   1:00", "q Quit", "f1 Help")


async def test_a_cell_that_ends_fills_its_place(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_screen, "LOOK_SECONDS", 0.05)
    async with shown(folder) as pilot:
        cell = RunFolder(folder.root / "datm-if10-seed1")
        final = {"accuracy_mean": 61.0, "accuracy_std": 0.1, "repeats": 2, "per_class": [61.0], "groups": {}}
        write_json(cell.metrics, {"final": final, "stage_seconds": {"distill": 60.0}})
        write_atomically(cell.distilled, b"")
        with open(cell.events, "a") as events:
            events.write('{"v":1,"seq":9,"t":1e9,"type":"run_finished","accuracy_mean":61.0,"accuracy_std":0.1}\n')
        let_go(cell)
        await sees(pilot, "5 of 8 cells done", "56.0±7.1*")
        assert "52.0±2.8*" not in text(pilot), "another one is the best of the column now"


async def test_enter_goes_to_the_cells_and_opens_one_and_escape_goes_back(folder: RunFolder) -> None:
    async with shown(folder, SMALL) as pilot:
        screen = pilot.app.screen
        await pilot.press("j", "enter")
        assert isinstance(screen.focused, CellList)
        await sees(pilot, "datm, IF 10", "seed 1   ► running")
        await pilot.press("j", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        assert pilot.app.screen.folder.name == "datm-if10-seed1"
        await pilot.press("q", "escape")
        assert pilot.app.screen is screen and isinstance(screen.focused, SweepGrid)
        await pilot.press("l", "enter", "j", "enter")
        await hears(pilot, "datm-if100-seed1: no worker has begun with this cell")


async def test_the_cells_of_a_place_are_compared_and_the_table_is_copied(folder: RunFolder) -> None:
    async with shown(folder) as pilot:
        await pilot.press("Y")
        await hears(pilot, "4 lines of markdown")
        await pilot.press("c")
        await until(pilot, lambda: isinstance(pilot.app.screen, CompareScreen))


async def test_a_report_is_written_into_the_present_folder(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "REPORT_COMMAND", (sys.executable, "-c", "import sys; print('error: ' + sys.argv[1])"))
    async with shown(folder) as pilot:
        await pilot.press("p")
        await hears(pilot, "mine: report done", "mine-report/report.html")
        monkeypatch.setattr(worker, "REPORT_COMMAND", (sys.executable, "-c", "import sys; sys.exit('error: no extra')"))
        await pilot.press("p")
        await hears(pilot, "report of mine failed: error: no extra")


async def test_the_list_of_runs_opens_a_sweep(folder: RunFolder) -> None:
    app = LtddApp(Path("runs"), "cpu")
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        await sees(pilot, "► running 4/8", "1 run, 1 running", "seed  0, 1")
        assert "Export" not in text(pilot).split("\n")[-1]
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, SweepScreen))


async def test_a_sweep_is_resumed_and_stopped_and_only_some_cells_are_run(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_screen, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(worker, "SWEEP_COMMAND", (sys.executable, "-c", SUPERVISOR))
    monkeypatch.setattr(sweeps, "jobs_here", lambda *_: 1)
    monkeypatch.setattr(sweeps, "threads_of", lambda jobs: 2)
    let_go(RunFolder(folder.root / "datm-if10-seed1"))
    arguments = folder.root / "arguments"
    async with shown(folder) as pilot:
        await pilot.press("r")
        await until(pilot, folder.is_running)
        await sees(pilot, "1 starting", "s Stop")
        assert {*arguments.read_text().split()} == {"--device", "cpu", "--jobs", "1", "--threads", "2", "--failed"}
        assert "r Resume" not in text(pilot)
        await pilot.press("s", "y")
        await until(pilot, lambda: not folder.is_running())
        await sees(pilot, "r Resume")
        await pilot.press("j", "l", "a")
        await until(pilot, folder.is_running)
        assert "--only method=datm --only dataset.imbalance_factor=100" in arguments.read_text()
        await pilot.press("s", "y")
        await until(pilot, lambda: not folder.is_running())


async def test_a_sweep_that_cannot_be_read_says_why(folder: RunFolder) -> None:
    (folder.root / "sweep.yaml").write_text("grdi: {method: [ltdd]}")
    app = LtddApp(Path("runs"), "cpu", folder)
    async with app.run_test(size=SMALL) as pilot:
        await sees(pilot, "grdi")
        await pilot.press("j", "enter", "c", "r", "s", "Y")
        assert isinstance(app.screen, SweepScreen)
