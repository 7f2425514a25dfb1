"""The run screen: driven by keys over recorded runs, live and finished, whole and damaged."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from engine.run import events as e
from engine.run.event_log import EventLog
from engine.run.folder import RunFolder
from engine.run.locks import HELD
from ltdd_tui.app import LtddApp
from ltdd_tui.runs import worker
from ltdd_tui.screens.panel import Panel
from ltdd_tui.screens.run.layout import Workspace
from ltdd_tui.screens.run.screen import RunScreen
from ltdd_tui.screens.run.timeline import Scrubber
from ltdd_tui.screens.runs.screen import RunsScreen
from tests.ltdd_tui.driving import all_runs_read, hears, listen, sees, text, turns_of_the_loop, until
from tests.ltdd_tui.recorded import NO_PID, let_go, record

STATUSES = ["empty", "experts", "running", "stopped", "failed", "crashed", "done"]
FAKE = str(Path(__file__).parents[1] / "fake_worker.py")
WIDE, HUGE, SMALL = (120, 40), (200, 60), (80, 24)


@pytest.fixture(autouse=True)
def _nobody_s_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LTDD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    monkeypatch.setattr(worker, "COMMAND", (sys.executable, FAKE))


@pytest.fixture
def make(tmp_path: Path) -> AsyncIterator[Callable[..., RunFolder]]:
    made: list[RunFolder] = []

    def make(status: str, iterations: int = 50) -> RunFolder:
        made.append(record(tmp_path / "runs" / "demo", status, iterations))
        return made[-1]

    yield make  # type: ignore[misc]
    for folder in made:
        let_go(folder)


@asynccontextmanager
async def shown(folder: RunFolder, size: tuple[int, int] = WIDE) -> AsyncIterator[Pilot[None]]:
    """The app with the run's screen open, all events read and every panel drawn once."""
    app = LtddApp(folder.root.parent, folder=folder)
    listen(app)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and "reading" not in text(pilot))
        await drawn(pilot)
        yield pilot


async def drawn(pilot: Pilot[None]) -> None:
    """Waits until every panel in sight has been given what there is."""
    screen = run_screen(pilot)

    def is_drawn() -> bool:
        return all(
            screen._drawn_versions.get(panel.NAME, ())[:1] == (screen._view.version,)
            for panel in screen.query_one(Workspace).seen
        )

    await until(pilot, is_drawn)
    await pilot.pause(0.05)


def run_screen(pilot: Pilot[None]) -> RunScreen:
    return next(screen for screen in pilot.app.screen_stack if isinstance(screen, RunScreen))


def seen(pilot: Pilot[None]) -> list[str]:
    return [panel.NAME for panel in run_screen(pilot).query(Panel) if panel.display and panel.size.area]


def emit(folder: RunFolder, *events: e.Event) -> None:
    log = EventLog(folder.events)
    for event in events:
        log.emit(event)


@pytest.mark.asyncio
@pytest.mark.parametrize("status", STATUSES)
async def test_every_status_at_every_size(make: Callable[..., RunFolder], status: str) -> None:
    folder = make(status)
    # One that was made just now is believed to be about to start.
    os.utime(folder.config, (0, 0))
    word = {"empty": "waiting", "experts": "running"}.get(status, status)
    async with shown(folder) as pilot:
        for size, count in ((WIDE, 5), (HUGE, 8), (SMALL, 1)):
            await pilot.resize_terminal(*size)
            # A notice takes rows of its own.
            await until(pilot, lambda count=count: count - 1 <= len(seen(pilot)) <= count and bool(seen(pilot)))
            await drawn(pilot)
            assert f" {word}" in text(pilot)
        for size in ((20, 5), (1, 1), (120, 40)):
            await pilot.resize_terminal(*size)
            await pilot.pause(0.05)
        assert f" {word}" in text(pilot)


@pytest.mark.asyncio
async def test_a_finished_run_at_a_glance(make: Callable[..., RunFolder]) -> None:
    async with shown(make("done"), HUGE) as pilot:
        screen = text(pilot)
        for words in (
            "cifar10 · IF 100 · IPC 10 · ltdd",
            "✓ done",
            "2.1/139 GiB",
            "✓ classifier experts",
            "last 52.9 ± 0.4",
            "│ classifier experts",
            "many 56.9",
            "head/tail 2.",
            "─ 1 warning ─",
            "published  53.4",
            "Worker's console",
        ):
            assert words in screen, words
        assert "Stop" not in screen.splitlines()[-1] and "Resume" not in screen.splitlines()[-1]


@pytest.mark.asyncio
async def test_what_is_appended_is_seen_and_told(make: Callable[..., RunFolder]) -> None:
    folder = make("running")
    async with shown(folder) as pilot:
        emit(folder, e.MatchingStep(33, 0.5, 0.1, 0.01, 0.04), e.Warned("the disk is nearly full", "make room"))
        await until(pilot, lambda: "DISTILL 33/50" in text(pilot))
        await hears(pilot, "the disk is nearly full")
        final = e.Evaluated("final", 50, "convnet", 3, 61.2, 0.1, [61.2] * 10, {"many": 61.2}, [1.0] * 10)
        emit(folder, final, e.RunFinished(61.2, 0.1))
        await until(pilot, lambda: "✓ done" in text(pilot) and "last 61.2 ± 0.1" in text(pilot))
        await hears(pilot, "61.2 ± 0.1 %")


@pytest.mark.asyncio
async def test_a_crash_shows_within_seconds_and_r_goes_on(
    make: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make("running")
    folder.checkpoint.mkdir()
    (folder.checkpoint / "at.json").write_text("30")
    monkeypatch.setenv("FAKE_WORKER", "{iterations: 40, pause: 0.02}")
    async with shown(folder) as pilot:
        assert "Resume" not in text(pilot)
        let_go(folder)
        await until(pilot, lambda: "the worker process died" in text(pilot))
        await until(pilot, lambda: "student steps compiled in 41 s" in text(pilot) and "Resume" in text(pilot))
        await pilot.press("y")
        assert pilot.app.clipboard.startswith("ltdd-tui resume ")
        await pilot.press("r")
        await until(pilot, lambda: "the worker process died" not in text(pilot))
        await until(pilot, lambda: "✓ done" in text(pilot))


@pytest.mark.asyncio
async def test_a_worker_that_dies_at_once_is_told(
    make: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_WORKER", "{mute: true}")
    async with shown(make("stopped")) as pilot:
        await pilot.press("r")
        await until(pilot, lambda: "the worker ended at once (exit code 3)" in text(pilot))
        await until(pilot, lambda: "Segmentation fault of sorts" in text(pilot) and "Resume" in text(pilot))


@pytest.mark.asyncio
async def test_while_a_worker_starts_every_screen_knows_and_no_second_one_is_sent(
    make: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "COMMAND", (sys.executable, "-c", "import time; time.sleep(60)"))
    folder = make("stopped")
    async with shown(folder) as pilot:
        app = pilot.app
        assert isinstance(app, LtddApp) and "■ stopped" in text(pilot)
        listen(app)
        await pilot.press("r", "r")
        await sees(pilot, "○ starting", "the worker is starting")
        assert "■ stopped" not in text(pilot) and "Resume" not in text(pilot)
        app.action_runs()
        await until(pilot, lambda: all_runs_read(pilot))
        await pilot.press("r")
        await hears(pilot, "a worker is at work on it already")
        await sees(pilot, "○ starting")
        assert len(folder.older_consoles()) == 1
        await pilot.press("enter")
        await sees(pilot, "○ starting")
        process = app.worker_handles.of(folder)._worker
        assert process is not None
        process.process.kill()
        await sees(pilot, "the worker ended at once (signal 9)", "■ stopped")


@pytest.mark.asyncio
async def test_a_worker_that_another_one_kept_from_the_run_is_no_news(
    make: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where `r` is pressed in two programs at once: the slower one is refused."""
    refused = f"import sys; print('error: demo: {HELD}', file=sys.stderr); sys.exit(2)"
    monkeypatch.setattr(worker, "COMMAND", (sys.executable, "-c", refused))
    folder = make("stopped")
    async with shown(folder) as pilot:
        assert isinstance(pilot.app, LtddApp)
        screen, worker_handle = run_screen(pilot), pilot.app.worker_handles.of(folder)
        await pilot.press("r")
        await until(
            pilot, lambda: HELD in folder.console.read_text() and not worker_handle.is_starting(screen.live.view)
        )
        told = screen._notice()
        assert told is not None and told.title == "stopped during distill"


@pytest.mark.asyncio
async def test_stop_asks_first(make: Callable[..., RunFolder]) -> None:
    folder = make("running")
    async with shown(folder) as pilot:
        await pilot.press("s")
        await until(pilot, lambda: "Stop demo?" in text(pilot))
        await pilot.press("n")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        assert not folder.stop_request.exists()
        await pilot.press("s")
        await until(pilot, lambda: "Stop demo?" in text(pilot))
        await pilot.press("y")
        await until(pilot, lambda: folder.stop_request.exists() and "stopping" in text(pilot))


@pytest.mark.asyncio
async def test_panels_toggle_by_number_and_are_remembered(make: Callable[..., RunFolder]) -> None:
    folder = make("done")
    async with shown(folder) as pilot:
        assert seen(pilot) == ["accuracy", "losses", "norms", "images", "log"]
        await pilot.press("2")
        await until(pilot, lambda: "losses" not in seen(pilot))
        await pilot.press("8")
        await until(pilot, lambda: "details" in seen(pilot))
        left = seen(pilot)
        await pilot.pause(0.1)
    async with shown(folder) as pilot:
        assert seen(pilot) == left
        await pilot.press("0")
        await until(pilot, lambda: seen(pilot) == ["accuracy", "losses", "norms", "images", "log"])


@pytest.mark.asyncio
async def test_maximize_and_the_way_out(make: Callable[..., RunFolder]) -> None:
    async with shown(make("done")) as pilot:
        listen(pilot.app)
        await pilot.press("3", "3", "m")
        await until(pilot, lambda: seen(pilot) == ["norms"])
        await pilot.press("5")
        await until(pilot, lambda: seen(pilot) == ["log"])
        await pilot.press("escape")
        await until(pilot, lambda: len(seen(pilot)) == 5)
        await pilot.press("escape")
        await hears(pilot, "q ends the program, F2 lists all runs")
        await pilot.press("q")
        await until(pilot, lambda: pilot.app._exit)


@pytest.mark.asyncio
async def test_a_panel_is_maximized_also_where_all_are_hidden(make: Callable[..., RunFolder]) -> None:
    async with shown(make("done")) as pilot:
        while names := seen(pilot):
            await pilot.press(run_screen(pilot).query_one(Workspace).panels[names[0]].NUMBER)
            await until(pilot, lambda hidden=names[0]: hidden not in seen(pilot))
        await pilot.press("m")
        await until(pilot, lambda: len(seen(pilot)) == 1)
        await pilot.press("0")
        await until(pilot, lambda: len(seen(pilot)) == 5)


@pytest.mark.asyncio
async def test_who_came_from_the_list_goes_back_there(make: Callable[..., RunFolder]) -> None:
    async with shown(make("done")) as pilot:
        for key in ("q", "escape"):
            await pilot.press("f2")
            await until(pilot, lambda: all_runs_read(pilot))
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
            await pilot.press(key)
            await until(pilot, lambda: isinstance(pilot.app.screen, RunsScreen))


@pytest.mark.asyncio
async def test_tabs_where_there_is_little_room(make: Callable[..., RunFolder]) -> None:
    async with shown(make("done"), SMALL) as pilot:
        names = ["accuracy", "losses", "norms", "images", "log", "experts", "console", "details"]
        for number, name in enumerate(names, start=1):
            await pilot.press(str(number))
            await until(pilot, lambda name=name: seen(pilot) == [name])
            assert run_screen(pilot).focused is not None and run_screen(pilot).focused.id == name
            assert f"{number} {name}" in text(pilot)
        # A click on a name does what its key does.
        strip = text(pilot).splitlines()[3]
        await pilot.click("PanelStrip", offset=(strip.index("5 log") + 1, 0))
        await until(pilot, lambda: seen(pilot) == ["log"])


@pytest.mark.asyncio
async def test_replay_shows_how_things_stood(make: Callable[..., RunFolder]) -> None:
    async with shown(make("done")) as pilot:
        slider = run_screen(pilot).query_one(Scrubber)
        slider.focus()
        await pilot.press("home")
        await until(pilot, lambda: "as of iteration 0 of 50" in text(pilot) and "no matching step yet" in text(pilot))
        await pilot.press("shift+right", "shift+right")
        await until(pilot, lambda: "as of iteration 10 of 50" in text(pilot) and "best 4" in text(pilot))
        assert "✓ done" not in text(pilot) and "evaluated final" not in text(pilot)
        await pilot.press("right")
        assert slider.at == 11
        await pilot.press("end")
        await until(pilot, lambda: "✓ done" in text(pilot) and "last 52.9" in text(pilot))
        await pilot.click(Scrubber, offset=(60, 0))
        assert slider.at is not None and 15 < slider.at < 35
        await pilot.press("home", "space")
        await until(pilot, lambda: (slider.at or 0) > 3)
        await pilot.press("space")
        at = slider.at
        await pilot.pause(0.6)
        assert slider.at == at


@pytest.mark.asyncio
async def test_nothing_is_drawn_where_nothing_has_changed(
    make: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, drawings = make("running"), list[str]()
    async with shown(folder) as pilot:
        for panel in run_screen(pilot).query(Panel):
            monkeypatch.setattr(panel, "show", lambda view, name=panel.NAME: drawings.append(name))
        await pilot.pause(1.2)
        assert drawings == []
        emit(folder, e.MatchingStep(33, 0.5, 0.1, 0.01, 0.04))
        await until(pilot, lambda: len(drawings) >= 5)
        await pilot.pause(0.6)
        # Once each, and none of those that are hidden.
        assert sorted(drawings) == ["accuracy", "images", "log", "losses", "norms"]


@pytest.mark.asyncio
async def test_a_folder_that_is_deleted_is_told_and_what_was_read_stays(make: Callable[..., RunFolder]) -> None:
    folder = make("done")
    async with shown(folder) as pilot:
        shutil.rmtree(folder.root)
        await until(pilot, lambda: "the run's folder is gone" in text(pilot))
        assert "airplane" in text(pilot) and "last 52.9" in text(pilot)
        for key in ("4", "4", "6", "c", "m", "m"):
            await pilot.press(key)
        assert "the run's folder is gone" in text(pilot)


@pytest.mark.asyncio
async def test_damaged_events_are_told_and_the_rest_is_shown(make: Callable[..., RunFolder]) -> None:
    folder = make("running")
    odd: list[object] = [None] * 9 + [55.0]
    emit(
        folder,
        e.Evaluated("check", 33, "convnet", 1, None, None, [50.0] * 9, {"many": None}, [1.0] * 3),  # type: ignore[arg-type]
        e.MatchingStep(33, None, None, 0.01, 0.04),
    )
    with open(folder.events, "a") as events:
        events.write('{"v":1,"seq":1,"t":1.0,"type":"from_the_future"}\n')
        events.write(
            '{"v":1,"seq":2,"t":1.0,"type":"matching_step","iteration":"x","loss_rep":[],"beta":{},"seconds":0}\n'
        )
        events.write("\x1b[2J\x00 no json \n[1, 2]\nnull\n")
        events.write('{"v":1,"seq":3,"t":1.0,"type":"warned","message":"[/b] \\u001b[2J [red]","hint":""}\n')
        events.write('{"v":1,"seq":4,"t":1.0,"type":"run_fin')
    folder.console.write_bytes(b"\x1b[2J\x1b[31mred\xff\n" * 3)
    async with shown(folder, HUGE) as pilot:
        assert "check @ 33 names 9 classes of 10" in text(pilot) and "red\ufffd" in text(pilot)
        run_screen(pilot).query_one("#log").focus()
        await pilot.press("m")
        await until(pilot, lambda: seen(pilot) == ["log"])
        screen = text(pilot)
        assert "unknown kind" in screen and "holds values of the wrong kind" in screen
        assert r"[/b] \x1b[2J [red]" in screen and "\x1b" not in screen
        await pilot.press("m")
        emit(
            folder,
            e.Evaluated("check", 34, "convnet", 1, 55.0, 0.0, odd, {"few": 55.0}, odd),  # type: ignore[arg-type]
        )
        await until(pilot, lambda: "last 55.0" in text(pilot))
        assert "names 9 classes" in text(pilot)


@pytest.mark.asyncio
async def test_a_run_without_readable_settings_is_shown_all_the_same(make: Callable[..., RunFolder]) -> None:
    folder = make("running")
    folder.config.write_text("method: [\n")
    async with shown(folder) as pilot:
        assert "config.yaml cannot be read" in text(pilot) and "airplane" in text(pilot)


@pytest.mark.asyncio
async def test_events_that_may_not_be_read_are_told(
    make: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make("running")
    async with shown(folder) as pilot:

        def refuse(budget_seconds: float = 0.0) -> bool:
            raise PermissionError(13, "Permission denied", str(folder.events))

        monkeypatch.setattr(run_screen(pilot).live, "read", refuse)
        await until(pilot, lambda: "the run cannot be read" in text(pilot) and "Permission denied" in text(pilot))
        monkeypatch.undo()
        await until(pilot, lambda: "the run cannot be read" not in text(pilot))


@pytest.mark.asyncio
async def test_a_thousand_classes_scroll(make: Callable[..., RunFolder]) -> None:
    folder = make("empty")
    names, counts = [f"class {n}" for n in range(1000)], [1280 - n for n in range(1000)]
    groups = ["many"] * 300 + ["medium"] * 400 + ["few"] * 300
    data = e.DataReady(names, counts, groups, "by images", 50_000, 12.0)
    found = [n / 20 for n in range(1000)]
    check = e.Evaluated("check", 0, "resnet18", 1, 25.0, 0.0, found, {"many": 7.5}, [1.0] * 1000)
    emit(folder, data, check)
    async with shown(folder) as pilot:
        assert "class 0 " in text(pilot) and "class 999" not in text(pilot) and "50%" in text(pilot)
        await pilot.press("G")
        await until(pilot, lambda: "class 999" in text(pilot))
        await pilot.press("g")
        await until(pilot, lambda: "class 0 " in text(pilot))


@pytest.mark.asyncio
@pytest.mark.usefixtures("no_garbage_collection")
async def test_the_loop_stays_awake_while_a_long_run_is_read(make: Callable[..., RunFolder]) -> None:
    """In comparison with a short run: Textual styles any screen in one turn, which takes up to 0.13 s."""
    folder = make("crashed")

    async def longest_turn() -> float:
        app = LtddApp(folder.root.parent, folder=folder)
        async with turns_of_the_loop() as turns, app.run_test(size=WIDE) as pilot:
            await until(pilot, lambda: isinstance(app.screen, RunScreen) and "reading" not in text(pilot))
            longest = max(turns)
            assert run_screen(pilot).live.view.state.iteration == last
        return longest

    last = 32
    await longest_turn()  # what is loaded once is no part of either
    short = await longest_turn()
    with open(folder.events, "a") as events:
        for last in range(33, 30_000):
            events.write(e.encode(e.MatchingStep(last, 0.9, 0.5, 0.01, 0.04), last, 1.8e9 + last) + "\n")
    long = await longest_turn()
    assert long < short + 0.1


def test_leaving_the_app_leaves_the_worker(make: Callable[..., RunFolder]) -> None:
    """The fake worker outlives the screen that started it, and is stopped by hand here."""
    folder = make("stopped", 10)
    os.environ["FAKE_WORKER"] = "{iterations: 100000, pause: 0.01}"

    async def start_and_quit() -> None:
        async with shown(folder) as pilot:
            await pilot.press("r")
            await until(pilot, lambda: "● running" in text(pilot))
            await pilot.press("ctrl+q")

    try:
        asyncio.run(start_and_quit())
        assert folder.is_running()
    finally:
        del os.environ["FAKE_WORKER"]
        started = [e.decode(line) for line in folder.events.read_text().splitlines()]
        pids = [i.event.pid for i in started if isinstance(i, e.Stamped) and isinstance(i.event, e.RunStarted)]
        if pids[-1] != NO_PID:
            os.kill(pids[-1], signal.SIGKILL)
