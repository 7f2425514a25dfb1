"""A run that a screen follows: its view changes when something did, and only then."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path

import pytest

from engine.run import events as e
from engine.run.event_log import EventLog
from engine.run.folder import RunFolder
from engine.run.manifest import Manifest
from ltdd_tui.runs import index, live
from ltdd_tui.runs.index import RunIndex
from ltdd_tui.runs.live import LiveRun, replayed
from tests.ltdd_tui.recorded import hold, let_go, record


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
    assert live.view.manifest.device_name == "H200" and live.view.state is view.state
    EventLog(folder.events).emit(e.Warned("something"))
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


def status_in_a_list(folder: RunFolder) -> Iterator[str]:
    index = RunIndex(folder.root.parent)
    while True:
        index.look()
        yield from (entry.run.state for entry in index.listed if entry.read)


def status_on_a_screen(folder: RunFolder) -> Iterator[str]:
    live = LiveRun(folder)
    while True:
        live.read()
        yield live.view.state.status


def status_of_a_command(folder: RunFolder) -> Iterator[str]:
    while True:
        yield replayed(folder).status


@pytest.mark.parametrize("statuses", [status_in_a_list, status_on_a_screen, status_of_a_command])
@pytest.mark.parametrize("look", [1, 2, 3])
@pytest.mark.parametrize("ended", [False, True])
def test_a_worker_that_begins_right_after_a_look_is_no_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statuses: Callable[..., Iterator[str]], look: int, ended: bool
) -> None:
    folder = record(tmp_path / "runs" / "demo", "running", iterations=20)
    said = folder.events.read_text()
    stopped = '{"v":1,"seq":999,"t":1795507804.0,"type":"run_stopped","stage":"distill"}\n'
    folder.events.unlink()
    let_go(folder)
    is_running, looks = RunFolder.is_running, count(1)

    def begins_after_a_look(self: RunFolder) -> bool:
        seen = is_running(self)
        if next(looks) == look:
            folder.events.write_text(said + stopped * ended)
            if not ended:
                hold(folder)
        return seen

    monkeypatch.setattr(RunFolder, "is_running", begins_after_a_look)
    seen = set(islice(statuses(folder), 5))
    let_go(folder)
    assert "crashed" not in seen and ("stopped" if ended else "running") in seen


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
    assert live.view.settings is None and live.view.manifest == Manifest()


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


def test_a_file_that_grows_though_no_worker_is_seen_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a file system shows no locks, a run at work on another machine looks like that."""
    folder = record(tmp_path / "one", "crashed", iterations=20)
    sizes = count()
    for module in (index, live):
        monkeypatch.setattr(module, "events_size", lambda _: next(sizes))
    assert index.overview(folder).state == replayed(folder).status == "crashed"
    assert next(sizes) < 20
