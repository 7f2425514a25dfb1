"""A sweep's table: what stands at each place, which is best, what is left to do; and its line in the list of runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.run.errors import InputError
from engine.run.event_log import EventLog
from engine.run.events import Queued
from engine.run.folder import RunFolder
from ltdd_tui.runs import manage
from ltdd_tui.runs.index import RunIndex
from ltdd_tui.runs.results import RunSummaryReader
from ltdd_tui.runs.sweeps import SweepReader, SweepTable, table_as
from tests.ltdd_tui.recorded import let_go, record_sweep

CELLS: dict[str, float | str] = {
    "ltdd-if10-seed0": 50.0,
    "ltdd-if10-seed1": 54.0,
    "ltdd-if100-seed0": 40.0,
    "ltdd-if100-seed1": "failed",
    "datm-if10-seed0": 51.0,
    "datm-if10-seed1": "running",
    "datm-if100-seed0": "stopped",
}


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[RunFolder]:
    record_sweep(tmp_path / "runs" / "mine", CELLS)
    folder = RunFolder(tmp_path / "runs" / "mine")
    yield folder
    let_go(RunFolder(folder.root / "datm-if10-seed1"))


def table_of(reader: SweepReader) -> SweepTable:
    while not reader.look():
        pass
    return reader.table


def test_rows_are_methods_and_a_place_is_the_mean_over_the_seeds_that_are_done(sweep: RunFolder) -> None:
    table = table_of(SweepReader(sweep))
    assert table.rows == ("ltdd", "datm") and table.columns == (("IF 10",), ("IF 100",))
    figures = {place: (group.mean, group.std, len(group.accuracies)) for place, group in table.groups.items()}
    assert figures == {
        ("ltdd", ("IF 10",)): (52.0, pytest.approx(8**0.5), 2),
        ("ltdd", ("IF 100",)): (40.0, None, 1),
        ("datm", ("IF 10",)): (51.0, None, 1),
        ("datm", ("IF 100",)): (None, None, 0),
    }
    assert table.best == {("IF 10",): "ltdd", ("IF 100",): "ltdd"}
    assert table.counts == {"done": 4, "failed": 1, "running": 1, "stopped": 1, "waiting": 1}
    assert table.failures[0].entry and table.failures[0].entry.run.failure == "a matching loss is not finite"


def test_the_time_left_is_what_done_cells_took_for_each_that_waits_or_is_stopped(sweep: RunFolder) -> None:
    table = table_of(SweepReader(sweep))
    # Three quarters of the cell at work, the one that is stopped and the one that waits; not the one that failed.
    assert table.seconds_left == pytest.approx(60 * (0.75 + 2), rel=0.1)
    both = record_sweep(sweep.root.with_name("two-at-once"), CELLS | {"datm-if100-seed0": "running"})
    assert table_of(SweepReader(RunFolder(both.root))).seconds_left == pytest.approx(60 * (2 * 0.75 + 1) / 2, rel=0.1)
    for name in ("datm-if10-seed1", "datm-if100-seed0"):
        let_go(RunFolder(both.root / name))


def test_the_table_is_made_anew_only_when_a_cell_has_changed(sweep: RunFolder) -> None:
    reader = SweepReader(sweep)
    before = table_of(reader)
    assert table_of(reader) is before
    let_go(RunFolder(sweep.root / "datm-if10-seed1"))
    after = table_of(reader)
    assert after.counts["crashed"] == 1 and not after.counts["running"], "its worker process died"
    assert after.seconds_left == 60 * 3, "the one that crashed is tried again"


def test_a_table_is_copied_as_text(sweep: RunFolder) -> None:
    table = table_of(SweepReader(sweep))
    assert table_as("markdown", table).splitlines()[2:] == [
        "| ltdd | 52.0 ± 2.8 | 40.0 (n=1) |",
        "| datm | 51.0 (n=1) |  |",
    ]
    lines = table_as("csv", table).splitlines()
    assert lines[0] == "row,column,mean,std,n,cells" and lines[-1] == "datm,IF 100,,,0,2"


def test_a_grid_without_methods_has_its_first_key_as_rows(tmp_path: Path) -> None:
    text = "preset: quickstart\ngrid:\n  matching.iterations: [10, 20]\n  seed: [0, 1]\n"
    folder = record_sweep(tmp_path / "s", {}, text)
    table = table_of(SweepReader(RunFolder(folder.root)))
    assert table.rows == ("iterations 10", "iterations 20") and table.columns == (("accuracy %",),)
    assert table.seconds_left is None and table.share == 0.0


def test_a_sweep_is_one_line_in_the_list_of_runs(sweep: RunFolder) -> None:
    runs = RunIndex(sweep.root.parent)

    def line() -> str:
        while not runs.look(10.0):
            pass
        (entry,) = runs.listed
        assert entry.run.cell == "sweep of 8 cells"
        return entry.run.status

    assert line() == "running 4/8"
    let_go(RunFolder(sweep.root / "datm-if10-seed1"))
    assert line() == "failed 4/8"
    reader = RunSummaryReader(sweep)
    assert reader.read() and reader.summary.grid[0] == ("method", "ltdd, datm")


def test_a_damaged_sweep_is_listed_as_such(sweep: RunFolder) -> None:
    (sweep.root / "sweep.yaml").write_text("grdi: {method: [ltdd]}")
    runs = RunIndex(sweep.root.parent)
    runs.look(10.0)
    assert runs.listed[0].run.state == "damaged" and runs.listed[0].damage
    reader = RunSummaryReader(sweep)
    assert reader.read() and reader.summary.faults


def test_a_sweep_is_renamed_and_deleted_as_a_whole_but_not_while_a_cell_is_at_work(sweep: RunFolder) -> None:
    for refused in (lambda: manage.rename(sweep, "other"), lambda: manage.delete(sweep)):
        with pytest.raises(InputError, match="a worker is at work"):
            refused()
    let_go(RunFolder(sweep.root / "datm-if10-seed1"))
    renamed = manage.rename(sweep, "other")
    assert table_of(SweepReader(renamed)).counts["done"] == 4 and not sweep.root.exists()
    manage.delete(renamed)
    assert list(renamed.root.parent.iterdir()) == []


def test_nothing_waits_for_what_waits_for_it(sweep: RunFolder) -> None:
    let_go(RunFolder(sweep.root / "datm-if10-seed1"))
    run = manage.create("run", sweep.root.parent, "method: ltdd")
    other = RunFolder(record_sweep(sweep.root.with_name("other"), {}).root)
    (other.root / "queue").write_text("run\n")
    manage.check_queue(sweep, [run, other])
    with run.held(), other.held():
        EventLog(run.events).emit(Queued(["one", sweep.name]))
        for behind in ([sweep], [run], [other]):
            with pytest.raises(InputError, match=f"wait for itself|{behind[0].name} waits for {sweep.name} itself"):
                manage.check_queue(sweep, behind)
        manage.check_queue(RunFolder(sweep.root.parent / "one more"), [other, run, sweep])


def test_a_sweep_in_the_queue_says_behind_what(sweep: RunFolder) -> None:
    let_go(RunFolder(sweep.root / "datm-if10-seed1"))
    (sweep.root / "queue").write_text("one\nother\n")
    runs = RunIndex(sweep.root.parent)
    runs.look(10.0)
    assert runs.listed[0].run.status == "failed 4/8", "the file of a process that was killed"
    with sweep.held():
        runs.look(10.0)
        assert runs.listed[0].run.status == "queued behind one and 1 more"
        assert table_of(SweepReader(sweep)).queued_behind == ("one", "other")
