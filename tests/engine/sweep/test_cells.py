"""A cell is what its run folder says, unless what lies there is not the cell: then nothing of it counts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.run.folder import RunFolder, write_atomically, write_json
from engine.run.settings import settings_hash
from engine.sweep import cells
from engine.sweep.cells import SweepFolder, at_rest, statuses
from engine.sweep_worker import _is_to_be_done
from ltdd_tui.runs.sweeps import SweepReader
from tests.ltdd_tui.recorded import record_sweep

SWEEP = "preset: quickstart\ngrid: {method: [ltdd, random], seed: [0, 1]}\n"


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFolder:
    return record_sweep(tmp_path / "mine", {"ltdd-seed0": 50.0, "ltdd-seed1": "stopped", "random-seed0": 30.0}, SWEEP)


def both(folder: SweepFolder) -> dict[str, tuple[str, str]]:
    """The state of each cell as a worker and as the table see it."""
    reader = SweepReader(RunFolder(folder.root))
    while not reader.look():
        pass
    seen = statuses(folder, folder.sweep().cells)
    return {own.cell.name: (own.state, shown.state) for own, shown in zip(seen, reader.table.cells, strict=True)}


@pytest.mark.parametrize("name", ["ltdd-seed0", "ltdd-seed1"])
def test_a_folder_of_other_settings_is_not_the_cell_and_no_worker_touches_it(sweep: SweepFolder, name: str) -> None:
    cell = next(own for own in sweep.sweep().cells if own.name == name)
    run = sweep.run(cell)
    # An older file lacks newer settings, which have their defaults then.
    text = run.config.read_text()
    shorter = "\n".join(line for line in text.splitlines() if not line.startswith("compile:"))
    write_atomically(run.config, shorter)
    assert shorter != text and not at_rest(cell, run).foreign
    write_atomically(run.config, text.replace("iterations: ", "iterations: 1"))
    status = at_rest(cell, run)
    assert status.foreign and status.faults[0].what == "its settings are not those of the sweep"
    assert not _is_to_be_done(status, 2e9, failed=True) and both(sweep)[name] == ("failed", "failed")


def test_settings_are_read_once_and_not_at_all_where_the_manifest_has_their_hash(
    sweep: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, *rest = sweep.sweep().cells
    run = sweep.run(began)
    write_json(run.manifest, {"settings_hash": settings_hash(began.settings)})
    os.utime(run.config, (1, 1))
    read, real = list[str](), cells.load_preset
    monkeypatch.setattr(cells, "load_preset", lambda path, **more: read.append(path) or real(path, **more))
    for _ in range(2):
        statuses(sweep, [began, *rest])
    assert read == [str(sweep.run(cell).config) for cell in rest if sweep.run(cell).exists()]


def test_a_cell_is_finished_only_with_figures_and_images(sweep: SweepFolder) -> None:
    first, _, third, _ = (sweep.run(cell) for cell in sweep.sweep().cells)
    first.metrics.write_text("")
    third.distilled.unlink()
    assert [both(sweep)[name] for name in ("ltdd-seed0", "random-seed0")] == [("stopped", "stopped")] * 2


def test_what_is_no_run_in_the_place_of_a_cell(sweep: SweepFolder) -> None:
    one, other = (sweep.run(cell) for cell in sweep.sweep().cells[1::2])
    other.root.write_text("")
    one.config.unlink()
    assert both(sweep)["random-seed1"] == ("failed", "failed")
    assert both(sweep)["ltdd-seed1"] == ("waiting", "waiting"), "a full disk had no room for its settings"
