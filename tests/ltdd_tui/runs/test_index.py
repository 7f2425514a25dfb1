"""The list of runs: complete, cheap to keep up to date, and never brought down by one bad folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.run.events import MatchingStep, RunStarted, StageStarted, encode
from engine.run.folder import RunFolder
from ltdd_tui.runs import index
from ltdd_tui.runs.index import RunEntry, RunIndex, overview
from tests.ltdd_tui.recorded import let_go, record

START = RunStarted("long", "ltdd", "cifar10", 100.0, 10, 4, "convnet", "cpu", ["distill"], 4000, "abc", 1)


def entries_of(runs: RunIndex) -> dict[str, RunEntry]:
    while not runs.look(10.0):
        pass
    return {listed.run.name: listed for listed in runs.listed}


def test_every_status_is_told(tmp_path: Path) -> None:
    folders = {
        status: record(tmp_path / status, status, 20) for status in ("empty", "running", "failed", "crashed", "done")
    }
    entries = entries_of(RunIndex(tmp_path))
    let_go(folders["running"])
    states = {name: listed.run.state for name, listed in entries.items()}
    assert states == {s: s for s in states} | {"empty": "waiting"}
    assert {listed.run.dataset for listed in entries.values()} == {"cifar10"}, "also of one that nobody has started"
    assert entries["done"].run.accuracy_mean == pytest.approx(52.93)
    assert entries["running"].run.stage == "distill 12/20" and entries["running"].run.status == "running 86 %"
    assert entries["running"].run.check_mean is not None


def test_a_long_run_tells_its_stage_though_the_start_of_it_is_far_back(tmp_path: Path) -> None:
    folder = record(tmp_path / "long", "empty")
    events = [START, StageStarted("distill", 4000, "iterations")]
    events += [MatchingStep(at, 0.9, 0.5, 0.01, 0.04) for at in range(1, 3001)]
    folder.events.write_text("".join(encode(event, seq, seq / 10) + "\n" for seq, event in enumerate(events)))
    with folder.held():
        run = overview(folder)
    assert (run.state, run.stage, run.status) == ("running", "distill 3000/4000", "running 75 %")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the runs whose files were read, in order."""
    names: list[str] = []

    def counted(folder: RunFolder) -> object:
        names.append(folder.name)
        return overview(folder)

    monkeypatch.setattr(index, "overview", counted)
    return names


def test_only_what_changed_is_read_again(tmp_path: Path, reads: list[str]) -> None:
    first, second = (record(tmp_path / name, "stopped", 20) for name in ("first", "second"))
    runs = RunIndex(tmp_path)
    entries_of(runs)
    entries_of(runs)
    assert sorted(reads) == ["first", "second"]
    reads.clear()
    with first.held():
        entries_of(runs)
        assert reads == ["first"], "a worker came"
    entries_of(runs)
    assert reads == ["first", "first"], "and went"
    with open(second.events, "a") as events:
        events.write(encode(START, 999, 1.0) + "\n")
    assert entries_of(runs)["second"].run.state == "crashed"


def test_a_short_look_shows_all_names_at_once_and_reads_the_newest_first(tmp_path: Path, reads: list[str]) -> None:
    for age, name in enumerate(("newest", "older", "oldest")):
        folder = record(tmp_path / name, "stopped", 20)
        os.utime(folder.events, (1e9 - age, 1e9 - age))
    runs = RunIndex(tmp_path)
    assert not runs.look(0.0)
    assert reads == ["newest"]
    assert [(listed.run.name, listed.read) for listed in runs.listed] == [
        ("newest", True),
        ("older", False),
        ("oldest", False),
    ]
    while not runs.look(0.0):
        pass
    assert reads == ["newest", "older", "oldest"] and all(listed.read for listed in runs.listed)


def test_deleted_and_new_runs_are_noticed(tmp_path: Path) -> None:
    runs = RunIndex(tmp_path / "none yet")
    assert entries_of(runs) == {}
    record(tmp_path / "none yet" / "one", "empty")
    assert list(entries_of(runs)) == ["one"]
    (tmp_path / "none yet" / "one" / "config.yaml").unlink()
    assert entries_of(runs) == {}


def spoil_config(folder: RunFolder) -> None:
    folder.config.write_text("method: [ltdd\n")
    folder.events.unlink()


def spoil_events(folder: RunFolder) -> None:
    folder.events.write_bytes(os.urandom(5000))


def spoil_by_folder(folder: RunFolder) -> None:
    folder.events.unlink()
    folder.events.mkdir()


def spoil_values(folder: RunFolder) -> None:
    folder.events.write_text('{"v":1,"seq":0,"t":1.0,"type":"run_started","name":3}\n' * 3)


def lose_config(folder: RunFolder) -> None:
    folder.config.unlink()


@pytest.mark.parametrize("spoil", [spoil_config, spoil_events, spoil_by_folder, spoil_values, lose_config])
def test_a_damaged_run_is_listed_as_such_beside_the_others(tmp_path: Path, spoil) -> None:
    spoil(record(tmp_path / "bad", "stopped", 20))
    record(tmp_path / "good", "done", 20)
    (tmp_path / "a file").write_text("")
    (tmp_path / "no run").mkdir()
    entries = entries_of(RunIndex(tmp_path))
    assert {name: listed.run.state for name, listed in entries.items()} == {"bad": "damaged", "good": "done"}
    assert entries["bad"].damage
