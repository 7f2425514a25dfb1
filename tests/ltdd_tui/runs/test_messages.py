"""Notices and notifications: what is the matter with a run is said once, with what to do, and only where it is true."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.run.errors import InputError
from engine.run.events import EventLog, Warned
from ltdd_tui.runs.console import open_console
from ltdd_tui.runs.live import LiveRun
from ltdd_tui.runs.messages import LOADING, can_resume, can_stop, new_notifications, notice, terminal_title
from ltdd_tui.runs.replay import as_of
from ltdd_tui.runs.state import RunView
from ltdd_tui.runs.worker import WorkerProcess
from tests.ltdd_tui.recorded import let_go, record


def view_of(tmp_path: Path, status: str) -> RunView:
    folder = record(tmp_path / "demo", status, iterations=50)
    live = LiveRun(folder)
    while not live.read():
        pass
    let_go(folder)
    return live.view


@pytest.mark.parametrize(
    ("status", "title", "hint"),
    [
        ("failed", "the run failed", "`r` goes on from iteration 30"),
        ("crashed", "the worker exited without an error message", "`r` goes on from iteration 30"),
        ("stopped", "stopped during distill", "`r` goes on from iteration 30"),
        ("empty", "no worker is at work on this run", "`r` starts one"),
    ],
)
def test_what_is_the_matter_and_what_to_do(tmp_path: Path, status: str, title: str, hint: str) -> None:
    view = view_of(tmp_path, status)
    told = notice(view, starting=False)
    assert told is not None and told.title == title and hint in told.hint
    assert can_resume(view) and not can_stop(view)
    assert as_of(view, 10) is view or notice(as_of(view, 10), starting=False) is None
    asked = notice(view, starting=True)
    assert asked is not None and asked.title == "the worker is starting"


def test_a_crash_shows_the_last_lines_of_the_console(tmp_path: Path) -> None:
    told = notice(view_of(tmp_path, "crashed"), starting=False)
    assert told is not None and "CUDA error: an illegal memory access was encountered" in told.lines


def test_what_an_earlier_worker_printed_is_not_shown_as_the_crash(tmp_path: Path) -> None:
    view = view_of(tmp_path, "crashed")
    open_console(view.folder).close()
    again = LiveRun(view.folder)
    again.read()
    silent, asked = notice(again.view, starting=False), notice(again.view, starting=True)
    assert silent is not None and silent.lines == ("it printed nothing",)
    assert asked is not None and asked.lines == (LOADING,)


def test_a_worker_that_was_refused_is_not_shown_as_the_crash(tmp_path: Path) -> None:
    folder = view_of(tmp_path, "crashed").folder
    with folder.held(), pytest.raises(InputError) as refusal, folder.held():
        pass
    live = LiveRun(folder)
    for _ in range(2):
        with open_console(folder) as console:
            console.write(f"{refusal.value}\n".encode())
        live.read()
        crashed = notice(live.view, starting=False)
        assert crashed is not None and "CUDA error: an illegal memory access was encountered" in crashed.lines
    with open(folder.console, "rb") as console:
        process = WorkerProcess(None, console)  # type: ignore[arg-type]
        assert process.last_output() == str(refusal.value), "who sent it is told"


def test_a_failure_shows_where_and_the_hint_of_the_worker(tmp_path: Path) -> None:
    told = notice(view_of(tmp_path, "failed"), starting=False)
    assert told is not None and told.lines[0].startswith("distill, iteration 32")
    assert told.hint.startswith("lower matching.image_lr")


@pytest.mark.parametrize("status", ["running", "done"])
def test_all_is_well(tmp_path: Path, status: str) -> None:
    view = view_of(tmp_path, status)
    assert notice(view, starting=False) is None
    assert can_stop(view) == (status == "running") and not can_resume(view)


def test_a_folder_that_is_gone_comes_before_all_else(tmp_path: Path) -> None:
    gone = replace(view_of(tmp_path, "failed"), gone=True)
    told = notice(gone, starting=True)
    assert told is not None and told.title == "the run's folder is gone"
    assert not can_resume(gone)


def test_notifications_are_of_what_is_new(tmp_path: Path) -> None:
    folder = record(tmp_path / "demo", "running", iterations=50)
    live = LiveRun(folder)
    while not live.read():
        pass
    before = live.view
    assert new_notifications(before, before) == []
    log = EventLog(folder.events)
    for number in range(5):
        log.emit(Warned(f"warning {number}", "do something"))
    live.read()
    notifications = new_notifications(before, live.view)
    assert [one.message for one in notifications] == [
        *(f"warning {number}\nhint: do something" for number in range(3)),
        "and 2 more warnings, which the log shows",
    ]
    let_go(folder)
    crashed = replace(live.view, state=replace(live.view.state, status="crashed"))
    (ending,) = new_notifications(live.view, crashed)
    assert ending.rings and ending.severity == "error"


def test_the_title_of_the_window_says_how_far(tmp_path: Path) -> None:
    view = view_of(tmp_path, "running")
    assert terminal_title(view, view.state.last_seconds or 0.0) == "87 % distill · demo"
