"""The app in a real terminal, by keys alone: with a worker that replays a run, and (long) with the real engine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from engine.run import events as e
from engine.run.folder import RunFolder
from ltdd_tui.runs.feed import Feed
from tests.integration.terminal import needs_tmux
from tests.integration.walkthrough import ON_RECORDING, REAL, ROOT, Walk, add_datm_run, surroundings, terminal_of

pytestmark = needs_tmux


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 40), (200, 60)])
def test_launch_watch_compare_and_quit_by_keys_alone(tmp_path: Path, columns: int, rows: int) -> None:
    add_datm_run(ON_RECORDING, tmp_path)
    with terminal_of(ON_RECORDING, tmp_path, columns, rows, seconds=3) as terminal:
        Walk(terminal).all()
    assert RunFolder(tmp_path / "runs" / "quickstart").metrics.exists()


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_launch_watch_compare_and_quit_with_the_real_engine(tmp_path: Path) -> None:
    add_datm_run(REAL, tmp_path)
    with terminal_of(REAL, tmp_path, 120, 40) as terminal:
        Walk(terminal, patience=1200).all()
    assert RunFolder(tmp_path / "runs" / "quickstart").metrics.exists()


def test_closing_the_terminal_keeps_the_worker_running_and_watch_reattaches(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs" / "quickstart")
    with terminal_of(ON_RECORDING, tmp_path, 120, 40, seconds=12) as terminal:
        walk = Walk(terminal)
        walk.launch()
    assert folder.is_running()
    with terminal_of([*ON_RECORDING, "watch", "quickstart"], tmp_path, 120, 40) as terminal:
        terminal.wait_for("quickstart", "running", "Accuracy by class")
        terminal.press("q")
        text = terminal.wait_for("exit code 0")
        assert "quickstart: it runs on; `ltdd-tui watch" in text
    # --plain prints lines on a terminal too.
    with terminal_of([*ON_RECORDING, "watch", "quickstart", "--plain"], tmp_path, 200, 60) as terminal:
        text = terminal.wait_for("exit code 0")
        assert "quickstart starts: ltdd on cifar10" in text and "result: " in text


def test_two_screens_show_a_detached_run_and_its_killed_worker(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs" / "quickstart")
    arguments = ["run", "quickstart", "--detach", "--runs-dir", str(tmp_path / "runs")]
    subprocess.run([*ON_RECORDING, *arguments], env=os.environ | surroundings(tmp_path, 600), check=True, cwd=ROOT)
    watch = [*ON_RECORDING, "watch", "quickstart"]
    with terminal_of(watch, tmp_path, 120, 40) as one, terminal_of(watch, tmp_path, 80, 24) as other:
        for terminal in (one, other):
            terminal.wait_for("quickstart", "running", "EXPERTS")
        started = next(item.event for item in Feed(folder.events).read_all() if isinstance(item, e.Stamped))
        assert isinstance(started, e.RunStarted)
        os.kill(started.pid, signal.SIGKILL)
        for terminal in (one, other):
            # With its last output and the key that resumes it.
            terminal.wait_for("crashed", "a recorded run is played", "esume", seconds=10)


def test_no_color_leaves_only_shades_of_gray(tmp_path: Path) -> None:
    with terminal_of(["env", "NO_COLOR=1", *ON_RECORDING], tmp_path, 100, 30) as terminal:
        terminal.wait_for("quickstart")
        shades = {tuple(found) for found in re.findall(r"[34]8;2;(\d+);(\d+);(\d+)", terminal.colored())}
    assert shades and all(red == green == blue for red, green, blue in shades)
