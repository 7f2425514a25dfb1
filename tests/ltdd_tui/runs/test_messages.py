"""Notices and notifications: what is the matter with a run is said once, with what to do, and only where it is true."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.run.errors import InputError
from engine.run.event_log import EventLog
from engine.run.events import Event, RunBroke, RunStopped, StageDone, StageStarted, Warned
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
        ("failed", "the run failed", "`r` resumes from iteration 30"),
        ("crashed", "the worker process died", "`r` resumes from iteration 30"),
        ("stopped", "stopped during distill", "`r` resumes from iteration 30"),
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
    view.folder.open_console().close()
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
        with folder.open_console() as console:
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


@pytest.mark.parametrize(
    ("exit_code", "title"),
    [
        (None, "the worker process died"),
        (-9, "the worker process died (signal 9)"),
        (3, "the worker process died (exit code 3)"),
    ],
)
def test_a_dead_worker_is_told_with_its_signal_where_that_is_known(
    tmp_path: Path, exit_code: int | None, title: str
) -> None:
    view = view_of(tmp_path, "crashed")
    told = notice(view, starting=False, died_with=exit_code)
    assert told is not None and told.title == title
    running = replace(view, state=replace(view.state, status="running"))
    (ending,) = new_notifications(running, view, exit_code)
    assert ending.message == f"{title}; `r` resumes from iteration 30, the last checkpoint"


@pytest.mark.parametrize(
    ("status", "after", "lost"),
    [
        ("running", "the present iteration, which is kept", "2 iterations since the last checkpoint"),
        ("experts", "the present epoch; experts that are not finished begin anew", "what the present step has done"),
    ],
)
def test_stopping_says_what_it_waits_for_and_what_it_costs_not_to(
    tmp_path: Path, status: str, after: str, lost: str
) -> None:
    told = notice(view_of(tmp_path, status), starting=False, stopping_seconds=48.0)
    assert told is not None and told.title == "stopping, asked 48 s ago"
    assert after in told.lines[0] and told.hint == f"`s` again stops it now, which loses {lost}"


@pytest.mark.parametrize(
    ("end", "how"),
    [
        (None, "the worker process died"),
        (RunStopped("evaluate"), "it was stopped"),
        (RunBroke("no space left"), "it failed"),
    ],
)
def test_an_evaluation_of_a_finished_run_that_ends_early_is_told(tmp_path: Path, end: Event | None, how: str) -> None:
    folder = record(tmp_path / "demo", "done", iterations=20)
    live = LiveRun(folder)
    live.read()
    before = live.view
    assert notice(before, starting=False) is None
    log = EventLog(folder.events)
    log.emit(StageStarted("evaluate", 10, "networks"))
    if end:
        log.emit(end)
    live.read()
    told = notice(live.view, starting=False)
    assert told is not None and told.title == f"evaluate is not finished: {how}" and "`v` evaluates again" in told.hint
    assert live.view.state.status == "done"
    (news,) = new_notifications(before, live.view)
    assert told.title in news.message
    log.emit(StageStarted("evaluate", 10, "networks"))
    log.emit(StageDone("evaluate", 1.0))
    live.read()
    assert notice(live.view, starting=False) is None
