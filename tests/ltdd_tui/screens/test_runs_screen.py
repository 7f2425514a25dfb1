"""The list of runs, driven by keys: found, opened, marked, and put in order, while others go on working."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot
from textual.widgets import Input

from engine.run.errors import STOPPED
from engine.run.event_log import EventLog
from engine.run.events import RunFinished
from engine.run.folder import RunFolder
from engine.run.metrics import readable_metrics
from ltdd_tui import app as app_module
from ltdd_tui.app import LtddApp
from ltdd_tui.runs import index
from ltdd_tui.runs.index import RunEntry, RunIndex
from ltdd_tui.screens import actions
from ltdd_tui.screens.compare.screen import CompareScreen
from ltdd_tui.screens.dialogs import Confirm
from ltdd_tui.screens.result_dialogs import EditNotes, Evaluate, Export
from ltdd_tui.screens.run.screen import RunScreen
from ltdd_tui.screens.runs import screen as runs_screen
from ltdd_tui.screens.runs.screen import RunsScreen
from ltdd_tui.screens.runs.table import RunList
from tests.ltdd_tui.driving import all_runs_read, hears, listen, sees, text, told, type_ahead, typed, until
from tests.ltdd_tui.recorded import let_go

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("no_form")]
Add = Callable[..., RunFolder]
WIDE, SMALL = (120, 40), (80, 24)


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs_screen, "LOOK_SECONDS", 0.1)


@asynccontextmanager
async def shown(size: tuple[int, int] = WIDE) -> AsyncIterator[Pilot[None]]:
    """The app with the list of ~/runs, all of it read."""
    app = LtddApp(Path("runs"), "cpu")
    listen(app)
    async with app.run_test(size=size) as pilot:
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen) and all_runs_read(pilot))
        yield pilot


def screen(pilot: Pilot[None]) -> RunsScreen:
    return next(screen for screen in pilot.app.screen_stack if isinstance(screen, RunsScreen))


def listed(pilot: Pilot[None]) -> list[str]:
    return [one.run.name for one in screen(pilot).query_one(RunList).entries]


def current(pilot: Pilot[None]) -> str:
    run = screen(pilot).query_one(RunList).current
    return run.run.name if run else ""


@pytest.mark.parametrize("size", [SMALL, WIDE, (200, 60), (40, 12)])
async def test_every_status_stands_in_the_list(add: Add, size: tuple[int, int]) -> None:
    for status in ("running", "done", "failed", "stopped", "crashed", "empty"):
        add(f"a-{status}", status)
    bad = add("a-torn", "stopped")
    bad.events.write_bytes(b"\xff\x00\n" * 50)
    async with shown(size) as pilot:
        await sees(pilot, "running", "done", "failed", "stopped", "crashed", "waiting", "damaged")
        assert listed(pilot)[0] == "a-running"
        if size[0] >= 80:
            await sees(pilot, "7 runs, 1 running, 1 failed, 1 crashed, 1 damaged", "52.9 ± 0.4", "so far")


async def test_without_runs_it_says_what_to_do(tmp_path: Path) -> None:
    async with shown() as pilot:
        await sees(pilot, "No runs yet", "F3", "ltdd-tui run quickstart")
        for key in ("enter", "j", "space", "c", "r", "s", "v", "x", "n", "d", "y", "o", "S", "I", "G"):
            await pilot.press(key)
        assert isinstance(pilot.app.screen, RunsScreen)


async def test_what_is_typed_finds(add: Add) -> None:
    for name, status in (("first", "done"), ("second", "stopped"), ("third", "failed")):
        add(name, status)
    async with shown() as pilot:
        await pilot.press("slash")
        await typed(pilot, "sec")
        await until(pilot, lambda: listed(pilot) == ["second"])
        await sees(pilot, "1 of 3")
        await pilot.press("enter")
        assert current(pilot) == "second" and not isinstance(pilot.app.focused, Input)
        await pilot.press("escape")
        await until(pilot, lambda: listed(pilot) == ["first", "second", "third"])
        assert current(pilot) == "second", "the cursor stays with its run"
        await pilot.press("slash")
        await typed(pilot, "stat:done")
        await sees(pilot, "no field 'stat'")
        await pilot.press("escape", "slash")
        await typed(pilot, "nothing")
        await sees(pilot, "Nothing matches")
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, RunsScreen), "escape goes back step by step"


async def test_keys_of_lists_move_and_enter_opens(add: Add) -> None:
    for place in range(60):
        add(f"run-{place:02d}", "empty")
    async with shown(SMALL) as pilot:
        first = current(pilot)
        await pilot.press("j", "j", "k", "down", "up")
        assert current(pilot) == listed(pilot)[1]
        await pilot.press("G")
        await sees(pilot, listed(pilot)[-1])
        assert current(pilot) == listed(pilot)[-1]
        await pilot.press("pageup", "ctrl+f", "g")
        await sees(pilot, first)
        assert current(pilot) == first
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))


async def test_a_list_that_changes_under_the_cursor_keeps_it_where_it_is(add: Add, tmp_path: Path) -> None:
    for place in range(40):
        add(f"run-{place:02d}", "empty")
    async with shown(SMALL) as pilot:
        for _ in range(30):
            await pilot.press("j")
        name = current(pilot)
        await sees(pilot, name)
        row = next(place for place, line in enumerate(text(pilot).splitlines()) if name in line)
        for extra in range(3):
            add(f"new-{extra}", "running")
        await until(pilot, lambda: len(listed(pilot)) == 43)
        await until(pilot, lambda: name in text(pilot).splitlines()[row])
        assert current(pilot) == name


async def test_until_all_is_read_the_first_row_is_meant(add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("first", "second", "third"):
        add(name)
    add("at-work", "running")
    look = RunIndex.look
    monkeypatch.setattr(RunIndex, "look", lambda scanner: look(scanner, 0.0))  # one run at a time
    async with shown() as pilot:
        assert current(pilot) == listed(pilot)[0] == "at-work", "it is known as running only once it is read"


async def test_who_scrolls_away_from_the_cursor_is_left_there(add: Add) -> None:
    for place in range(60):
        add(f"run-{place:02d}", "empty")
    async with shown(SMALL) as pilot:
        runs = screen(pilot).query_one(RunList)
        runs.scroll_to(y=30, animate=False, force=True)
        await until(pilot, lambda: runs.scroll_offset.y == 30)
        screen(pilot)._show()
        await pilot.pause(0.1)
        assert runs.scroll_offset.y == 30
        await pilot.press("j")
        await until(pilot, lambda: runs.scroll_offset.y <= 1)


async def test_names_made_by_hand_break_nothing(add: Add) -> None:
    for name in ("[bold]x[", "two\nlines", "esc\x1b[31mred", "\u6f22\u5b57" * 20, "no\udcffutf"):
        add(name)
    async with shown() as pilot:
        lines = text(pilot).splitlines()
        assert len(lines) == WIDE[1] and {cell_len(line) for line in lines} == {WIDE[0]}
        await sees(pilot, "[bold]x[", "two lines", r"esc\x1b[31mred", "noutf", "\u2026")
        await pilot.press(*"jjjjyod")
        await sees(pilot, "cannot be undone")
        await pilot.press("escape", "g", "space", "space", "space", "space", "space", "c")
        await until(pilot, lambda: isinstance(pilot.app.screen, CompareScreen))
        await sees(pilot, "52.9\u00b10.4", "noutf")


async def test_a_run_that_ends_shows_it_by_itself(add: Add) -> None:
    running, crashing = add("ending", "running"), add("crashing", "running")
    async with shown() as pilot:
        await sees(pilot, "2 running")
        EventLog(running.events).emit(RunFinished(61.2, 0.4))
        let_go(running)
        let_go(crashing)
        await sees(pilot, "1 crashed")
        await until(pilot, lambda: "running" not in text(pilot))


async def test_marked_runs_are_compared(add: Add) -> None:
    for name in ("one", "two", "three"):
        add(name)
    async with shown() as pilot:
        await pilot.press("c")
        assert "two to six" in told(pilot)[-1]
        await pilot.press("space")
        await sees(pilot, "1 marked")
        await pilot.press("c")
        await until(pilot, lambda: isinstance(pilot.app.screen, CompareScreen))
        assert [folder.name for folder in pilot.app.screen._folders] == ["one", "two"], "with the one under the cursor"
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunsScreen))
        await pilot.press("space", "space", "escape")
        await until(pilot, lambda: "marked" not in text(pilot))


async def test_titles_sort_when_clicked_and_by_key(add: Add) -> None:
    add("b", "done")
    add("a", "stopped")
    async with shown() as pilot:
        assert listed(pilot) == ["b", "a"]
        line = text(pilot).splitlines()[1]
        await pilot.click("#titles", offset=(line.index("name"), 0))
        assert listed(pilot) == ["a", "b"]
        await pilot.press("I")
        assert listed(pilot) == ["b", "a"] and "name \u25bc" in text(pilot)
        await pilot.press("S")
        await hears(pilot, "sorted by data set")


async def test_the_run_under_the_cursor_is_told_about_beside_the_list(add: Add) -> None:
    add("good", "done")
    add("bad", "failed")
    add("gone", "crashed")
    async with shown() as pilot:
        await sees(pilot, "published", "53.4", "-0.5", "52.9\u00b10.4", "head", "tail", "4 of 20 epochs, convnet")
        await pilot.press("j")
        await sees(pilot, "a matching loss or gradient is not", "lower matching.image_lr")
        await pilot.press("j")
        await sees(pilot, "last output of the worker", "illegal memory access")


async def test_a_result_from_elsewhere_is_shown_as_far_as_it_can_be_and_what_is_wrong_is_said(add: Add) -> None:
    folder = add("foreign")
    metrics = json.loads(folder.metrics.read_text())
    metrics["best"]["per_class"][2] = {"x": "[/b]"}
    metrics["architectures"] = {"[/b]": metrics["final"], "vgg11": "none"}
    folder.metrics.write_text(json.dumps(metrics))
    async with shown() as pilot:
        await sees(pilot, "metrics.json: best.per_class.2", "architectures.vgg11", "on [/b]", "52.9\u00b10.4")


async def test_a_running_run_is_never_deleted(add: Add) -> None:
    folder = add("busy", "running")
    async with shown() as pilot:
        await pilot.press("d")
        await hears(pilot, "at work")
        assert not isinstance(pilot.app.screen, Confirm) and folder.config.exists()


async def test_delete_asks_with_size_and_path_and_enter_is_a_no(add: Add, tmp_path: Path) -> None:
    folder = add("old", "done")
    add("other", "done")
    async with shown() as pilot:
        await pilot.press("d")
        await sees(pilot, "Delete old?", " MB in", "cannot be undone")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunsScreen))
        assert folder.config.exists()
        await pilot.press("d")
        await sees(pilot, "Delete old?")
        await pilot.press("y")
        await until(pilot, lambda: listed(pilot) == ["other"])
        assert [path.name for path in (tmp_path / "runs").iterdir()] == ["other"]


async def marked(pilot: Pilot[None], *names: str) -> None:
    """Marks these runs, and leaves the cursor on the last one of the list."""
    rows = screen(pilot).query_one(RunList)
    for name in names:
        rows.point_at(name)
        await pilot.press("space")
    await pilot.press("G")


async def test_with_marks_delete_takes_the_marked_runs_and_leaves_the_one_under_the_cursor(add: Add) -> None:
    for name in ("one", "two", "three"):
        add(name, "done")
    async with shown() as pilot:
        await marked(pilot, "one", "two")
        assert current(pilot) == "three"
        await pilot.press("d")
        await sees(pilot, "Delete 2 runs: one, two?", "cannot be undone")
        await pilot.press("y")
        await until(pilot, lambda: listed(pilot) == ["three"])


async def test_that_the_filter_hides_marked_runs_is_told_before_anything_is_done_to_them(add: Add) -> None:
    for name in ("one", "two"):
        add(name, "done")
    async with shown() as pilot:
        await marked(pilot, "one", "two")
        await pilot.press("slash", "t", "w", "enter", "d")
        await sees(pilot, "Delete 2 runs: one, two?", "1 of the runs is hidden by the filter")


async def test_with_marks_a_run_at_work_keeps_all_of_them_from_being_deleted(add: Add) -> None:
    for name, status in (("one", "done"), ("busy", "running"), ("other", "done")):
        add(name, status)
    async with shown() as pilot:
        await marked(pilot, "one", "busy")
        await pilot.press("d")
        await hears(pilot, "busy: a worker is at work")
        assert sorted(listed(pilot)) == ["busy", "one", "other"]


async def test_with_marks_evaluate_takes_them_one_after_the_other(add: Add) -> None:
    for name in ("one", "two", "three"):
        add(name, "done")
    async with shown() as pilot:
        await marked(pilot, "two", "one")
        await pilot.press("v")
        await sees(pilot, "Evaluate 2 runs", "2 runs: two, one, one after the other")
        await pilot.press("enter", "tab", "tab", "tab", "tab", "tab", "enter")
        for name in ("two", "one"):
            await hears(pilot, f"{name}: evaluation done")
        assert not any(note.startswith("three") for note in told(pilot))


async def stopped_worker() -> int:
    return STOPPED


async def working_worker() -> int:
    await asyncio.sleep(60)
    return 0


@pytest.mark.parametrize(("task", "ends"), [("_evaluate", stopped_worker), ("_export", working_worker)])
async def test_runs_that_a_stopped_task_or_a_closed_program_leaves_out_are_named(
    task: str, ends: Callable, add: Add, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [add(name, "done") for name in ("one", "[two]", "three")]
    begun: list[str] = []
    process = SimpleNamespace(wait=ends)
    monkeypatch.setattr(actions, "launch", lambda folder, arguments: begun.append(folder.name) or process)
    plan = SimpleNamespace(
        arguments=lambda folder: [], archs=["mlp"], labels=["stored"], form="images", target_of=lambda folder: ""
    )
    async with shown() as pilot:
        pilot.app.run_worker(getattr(screen(pilot), task)(folders, plan), group=task)
        done = {"_evaluate": "evaluated", "_export": "exported"}[task]
        if ends is stopped_worker:
            await hears(pilot, f"2 runs: [two], three: not {done}, since the one before was stopped")
        else:
            await until(pilot, lambda: begun == ["one"])
    assert begun == ["one"]
    if ends is working_worker:
        assert f"not {done}, since this program was left: 2 runs: [two], three" in capsys.readouterr().err


async def test_a_done_run_is_not_asked_about_when_others_are_at_work(add: Add) -> None:
    add("busy", "running")
    add("one", "done")
    async with shown() as pilot:
        await marked(pilot, "one")
        await pilot.press("r")
        await hears(pilot, "one: the run is done")
        assert pilot.app.screen is screen(pilot)


async def test_with_marks_resume_can_put_them_into_a_queue(add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = add("busy", "running")
    folders = [add(name, "empty") for name in ("one", "two")]
    async with shown() as pilot:
        await marked(pilot, "one", "two")
        await pilot.press("r")
        await sees(pilot, "At work: busy", "To start: 2 runs: one, two")
        await pilot.press("u")
        await until(pilot, lambda: all(folder.is_running() for folder in folders))
        await until(pilot, lambda: [index.overview(folder).state for folder in folders] == ["queued", "queued"])
        await sees(pilot, "queued behind busy", "behind busy and 1 more")
        let_go(busy)
        await until(pilot, lambda: [index.overview(folder).state for folder in folders] == ["done", "done"])
    lines = [[json.loads(line) for line in folder.events.read_text().splitlines()] for folder in folders]
    assert lines[1][1]["type"] == "run_started" and lines[0][-1]["t"] <= lines[1][1]["t"], "one after the other"


async def test_with_marks_export_writes_each_into_a_folder_of_its_own(
    add: Add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two", "three"):
        add(name, "done")
    asked: list[list[str]] = []
    monkeypatch.setattr(actions, "launch", lambda folder, arguments: asked.append(arguments))
    async with shown() as pilot:
        await marked(pilot, "one", "two")
        await pilot.press("x")
        await sees(pilot, "Export 2 runs", "2 runs: one, two", "Each into a folder of its own")
        screen = pilot.app.screen
        assert isinstance(screen, Export)
        screen.give()
        await until(pilot, lambda: len(asked) == 2)
    assert [arguments[-1] for arguments in asked] == [str(tmp_path / f"{name}-images") for name in ("one", "two")]


@pytest.mark.parametrize("key", ["d", "n", "x", "v", "s"])
async def test_a_key_that_repeats_asks_once(add: Add, key: str) -> None:
    add("one", "running" if key == "s" else "done")
    async with shown() as pilot:
        app, screens = pilot.app, len(pilot.app.screen_stack)
        type_ahead(pilot, *key * 5)
        await until(pilot, lambda: not app.key_queue.waiting and len(app.screen_stack) > screens)  # type: ignore[attr-defined]
        await until(
            pilot,
            lambda: sum(w.group != "look" and w.name.startswith("action_") and w.is_running for w in app.workers) == 1,
        )
        assert len(app.screen_stack) == screens + 1


async def test_a_worker_that_comes_while_one_is_asked_saves_its_run(add: Add) -> None:
    folder = add("old", "stopped")
    async with shown() as pilot:
        await pilot.press("d")
        await sees(pilot, "Delete old?")
        with folder.held():
            await pilot.press("y")
            await hears(pilot, "at work")
        assert folder.config.exists()


async def test_rename_refuses_taken_names_and_follows_the_run(add: Add, tmp_path: Path) -> None:
    add("one", "stopped")
    add("two", "stopped")
    async with shown() as pilot:
        await pilot.press("n")
        await sees(pilot, "New name of the run")
        await typed(pilot, "two")
        await sees(pilot, "there is a run named 'two' already")
        await pilot.press("enter")
        await sees(pilot, "New name of the run")
        await typed(pilot, "-b")
        await pilot.press("enter")
        await until(pilot, lambda: "two-b" in listed(pilot) and "one" not in listed(pilot))
        await until(pilot, lambda: current(pilot) == "two-b")
        assert (tmp_path / "runs" / "two-b" / "config.yaml").exists()


@pytest.mark.parametrize(("key", "question"), [("n", "New name of the run"), ("d", "Delete one?"), ("x", "Export one")])
async def test_a_dialog_is_answered_before_the_palette_leads_elsewhere(add: Add, key: str, question: str) -> None:
    folder = add("one", "stopped")
    async with shown() as pilot:
        app = pilot.app
        assert isinstance(app, LtddApp)
        ways = [app.action_launch, app.action_runs, lambda: app.open_run(folder)]
        for way, arrived in zip(ways, (app_module.LaunchScreen, RunsScreen, RunScreen), strict=True):
            app.action_runs()
            await until(pilot, lambda: isinstance(app.screen, RunsScreen) and all_runs_read(pilot))
            await pilot.press(key)
            await sees(pilot, question)
            way()
            await until(pilot, lambda arrived=arrived: isinstance(app.screen, arrived))
            await until(pilot, lambda: not any(w.group == "default" and w.is_running for w in app.workers))
        assert folder.config.exists()


async def test_stop_asks_and_leaves_a_request(add: Add) -> None:
    folder = add("busy", "running")
    add("idle", "stopped")
    async with shown() as pilot:
        await pilot.press("s")
        await sees(pilot, "Stop busy?")
        await pilot.press("y")
        await until(pilot, folder.stop_request.exists)
        await pilot.press("j", "s")
        await hears(pilot, "no worker is at work")


async def test_resume_starts_a_worker_and_tells_how_it_ended(add: Add) -> None:
    folder = add("paused", "stopped")
    async with shown() as pilot:
        await pilot.press("r")
        await hears(pilot, "the run done")
        assert readable_metrics(folder)["final"]["accuracy_mean"] == 86.9
        await sees(pilot, "86.9 ± 0.7")
        await pilot.press("r")
        await hears(pilot, "the run is done")


async def test_how_a_worker_ended_is_told_though_the_list_is_closed(add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_WORKER", "{pause: 0.05}")
    add("paused", "stopped")
    async with shown() as pilot:
        await pilot.press("r")
        await hears(pilot, "goes on from what is finished")
        await pilot.press("f3")
        await until(pilot, lambda: not pilot.app.screen.query(RunList))
        await hears(pilot, "paused: the run done", "86.9 ± 0.7 %")


async def test_a_worker_that_fails_says_why(add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_WORKER", "{mute: true}")
    add("paused", "stopped")
    async with shown() as pilot:
        await pilot.press("r")
        await hears(pilot, "failed", "Segmentation fault")


async def test_evaluate_asks_for_networks_and_tells_their_figures(add: Add) -> None:
    add("good", "done")
    add("unfinished", "stopped")
    async with shown() as pilot:
        await pilot.press("v")
        await sees(pilot, "Evaluate good", "convnet   52.9 ± 0.4", "not yet")
        assert isinstance(pilot.app.screen, Evaluate)
        await pilot.press("space", "tab")
        await pilot.click("#yes")
        await hears(pilot, "evaluation done")
        await pilot.press("j", "v")
        await hears(pilot, "no result yet")


async def test_export_writes_only_what_there_is(add: Add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add("good", "done")
    add("unfinished", "stopped")
    async with shown() as pilot:
        await pilot.press("x")
        await until(pilot, lambda: isinstance(pilot.app.screen, Export))
        await sees(pilot, "image folder", "TensorBoard", "~/good-images")
        await pilot.press("escape", "j", "x")
        await sees(pilot, "the run has no result yet", "~/unfinished-tensorboard")


async def test_path_is_copied_and_told_where_no_desktop_is(add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "here")
    folder = add("one")
    async with shown() as pilot:
        await pilot.press("y")
        assert pilot.app.clipboard == str(folder.root)
        await pilot.press("o")
        assert str(folder.root) in told(pilot)[-1] and "no desktop" in told(pilot)[-1]


@pytest.mark.usefixtures("no_garbage_collection")
async def test_five_hundred_runs_hold_nothing_up(add: Add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = index.examined(add("template", "done"))
    for place in range(500):
        root = tmp_path / "runs" / f"run-{place:03d}"
        root.mkdir()
        (root / "config.yaml").write_text("")

    def quick(folder: RunFolder) -> RunEntry:
        return index.replace(template, run=index.replace(template.run, name=folder.name, path=str(folder.root)))

    monkeypatch.setattr(index, "examined", quick)
    async with shown() as pilot:
        await until(pilot, lambda: len(listed(pilot)) == 501)
        runs = screen(pilot).query_one(RunList)
        began = time.thread_time()
        for _ in range(10):
            screen(pilot)._show()
        assert (time.thread_time() - began) / 10 < 0.1, "it draws only what is in sight"
        await pilot.press("G")
        assert runs.current is runs.entries[-1]
        await asyncio.sleep(0)


async def test_tags_and_a_note_are_typed_shown_found_and_copied_with_the_table(add: Add) -> None:
    for name in ("one", "two"):
        add(name)
    async with shown() as pilot:
        await pilot.press("t")
        await until(pilot, lambda: isinstance(pilot.app.screen, EditNotes))
        await typed(pilot, "a:b")
        await pilot.press("enter")
        await sees(pilot, "cannot be a tag")
        await pilot.press("ctrl+u")
        await typed(pilot, "paper")
        await pilot.press("tab")
        await typed(pilot, "table 2")
        await pilot.press("enter")
        await sees(pilot, "#paper  table 2")
        await pilot.press("slash")
        await typed(pilot, "tag:paper")
        await pilot.press("enter")
        await until(pilot, lambda: listed(pilot) == ["one"])
        await pilot.press("Y")
        lines = pilot.app.clipboard.splitlines()
        assert len(lines) == 3 and lines[2].startswith("| one | done |") and lines[2].endswith("| paper | table 2 |")
        await pilot.press("C")
        assert pilot.app.clipboard.splitlines()[1].startswith("one,done,")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        await sees(pilot, "one #paper")
