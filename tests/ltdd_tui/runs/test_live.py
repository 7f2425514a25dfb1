"""A run that a screen follows: its view changes when something did, and only then."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engine.run import events as e
from engine.run.folder import RunFolder
from ltdd_tui.runs.live import LiveRun
from tests.ltdd_tui.recorded import record


def test_the_view_stays_the_same_until_something_happens(tmp_path: Path) -> None:
    folder = record(tmp_path / "demo", "done", iterations=20)
    live = LiveRun(folder)
    while not live.read():
        pass
    view = live.view
    assert live.read() and live.view is view
    folder.console.write_text("the worker speaks\n")
    live.read()
    assert live.view.console == ("the worker speaks",) and live.view.version == view.version + 1
    folder.manifest.write_text('{"device_name": "H200"}')
    live.read()
    assert live.view.manifest == {"device_name": "H200"} and live.view.state is view.state
    e.EventLog(folder.events).emit(e.Warned("something"))
    live.read()
    assert live.view.log[-1].text == "warning: something" and live.view.version == view.version + 3


def test_what_was_read_outlives_the_folder(tmp_path: Path) -> None:
    folder = record(tmp_path / "demo", "crashed", iterations=20)
    live = LiveRun(folder)
    while not live.read():
        pass
    before = live.view
    shutil.rmtree(folder.root)
    live.read()
    assert live.view.gone and not before.gone
    assert (live.view.settings, live.view.console, live.view.state) == (before.settings, before.console, before.state)


def test_a_worker_that_begins_between_two_looks_is_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = record(tmp_path / "demo", "running", iterations=20)
    live = LiveRun(folder)
    looks = iter([False])
    # Nobody held the run when it was asked first; by the time its events are read, a worker does.
    monkeypatch.setattr(RunFolder, "is_running", lambda self: next(looks, True))
    statuses = set()
    while not live.read():
        statuses.add(live.view.state.status)
    assert "crashed" not in statuses | {live.view.state.status} and live.view.state.status == "running"


def test_a_worker_that_is_absent_before_and_after_the_events_has_crashed(tmp_path: Path) -> None:
    live = LiveRun(record(tmp_path / "demo", "crashed", iterations=20))
    while not live.read():
        pass
    assert live.view.state.status == "crashed"


def test_a_damaged_manifest_and_settings_count_as_none(tmp_path: Path) -> None:
    folder = record(tmp_path / "demo", "running", iterations=20)
    folder.manifest.write_text("[]")
    folder.config.write_text("ipc: many\n")
    live = LiveRun(folder)
    live.read()
    assert live.view.settings is None and live.view.manifest == {}


def test_a_run_begun_anew_in_the_same_folder_has_a_log_of_its_own(tmp_path: Path) -> None:
    folder = record(tmp_path / "demo", "done", iterations=20)
    live = LiveRun(folder)
    while not live.read():
        pass
    count = len(live.view.log)
    folder.events.unlink()
    record(folder.root, "done", iterations=20)
    while not live.read() or live.view.state.status != "done":
        pass
    said = [entry for entry in live.view.log if entry.seconds is not None]
    assert len(said) == count
