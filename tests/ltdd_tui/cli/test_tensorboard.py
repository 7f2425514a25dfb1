"""`export --tensorboard` needs no finished run, prints where it wrote, and shows the errors of the worker."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.run.event_log import EventLog
from engine.run.events import MatchingStep
from engine.run.folder import RunFolder
from ltdd_tui.runs import worker


@pytest.fixture
def real_worker(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "COMMAND", (sys.executable, "-P", "-m", "engine"))


@pytest.mark.usefixtures("real_worker")
def test_a_running_run_is_exported_and_worker_errors_are_printed(
    command: Callable, make_run: Callable, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard", reason="needs TensorBoard, of the extra `tensorboard`")
    run, target = RunFolder(make_run("first")), tmp_path / "tb"
    EventLog(run.events).emit(MatchingStep(1, 0.5, 0.5, 0.03, 1.0))
    with run.held():
        done = command("export", "first", "--tensorboard", str(target))
    assert (done.code, done.out) == (0, f"{target}\n"), done.err
    assert len(list(target.iterdir())) == 1
    refused = command("export", "first", "--tensorboard", str(run.root))
    assert refused.code == 2 and refused.out == "" and "error: " in refused.err and "new or an empty" in refused.err


def test_exporting_images_too_needs_a_result_before_anything_is_written(
    command: Callable, make_run: Callable, tmp_path: Path
) -> None:
    make_run("first")
    done = command("export", "first", "--tensorboard", str(tmp_path / "tb"), "--pt", str(tmp_path / "pt"))
    assert done.code == 2 and "has no result yet" in done.err
    assert not (tmp_path / "tb").exists() and not (tmp_path / "pt").exists()
