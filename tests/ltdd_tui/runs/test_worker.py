"""What is known of a run's worker before the run says it, and that it is forgotten once another one has the run."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.run.folder import RunFolder
from ltdd_tui.runs.worker import WorkerHandle, WorkerProcess

OURS, OTHER = 100, 200


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    (tmp_path / "run").mkdir()
    return RunFolder(tmp_path / "run")


def said(pid: int | None, alive: bool, status: str = "running") -> Any:
    """A run whose last worker to begin had that number."""
    started = None if pid is None else SimpleNamespace(pid=pid)
    return SimpleNamespace(alive=alive, state=SimpleNamespace(status=status, started=started))


def sent(worker_handle: WorkerHandle, code: int | None) -> None:
    """A worker of this program, at work (None) or ended with a code."""
    process, output = SimpleNamespace(pid=OURS, poll=lambda: code), tempfile.TemporaryFile()  # noqa: SIM115
    output.write(b"error: it broke")
    output.flush()
    worker_handle.launched(WorkerProcess(process, output))  # type: ignore[arg-type]


def test_a_worker_that_never_began_is_told_with_its_code(folder: RunFolder) -> None:
    worker_handle = WorkerHandle(folder, "cpu")
    sent(worker_handle, 1)
    assert worker_handle.exit_code(said(None, alive=False, status="waiting")) == 1
    assert worker_handle.exit_code(said(OTHER, alive=False, status="stopped")) == 1, "an earlier one had begun"


def test_how_one_ended_that_had_begun_says_nothing_of_the_next(folder: RunFolder) -> None:
    worker_handle = WorkerHandle(folder, "cpu")
    sent(worker_handle, 130)
    assert worker_handle.exit_code(said(OURS, alive=False, status="stopped")) is None
    assert worker_handle.exit_code(said(OTHER, alive=False, status="done")) is None, "resumed from elsewhere, and done"


def test_stopping_is_the_worker_that_was_asked_and_no_later_one(folder: RunFolder) -> None:
    worker_handle = WorkerHandle(folder, "cpu")
    assert worker_handle.stopping_seconds(said(OURS, alive=True)) is None
    folder.stop_request.touch()
    assert worker_handle.stopping_seconds(said(OURS, alive=True)) is not None, "whoever asked"
    folder.stop_request.unlink()
    assert worker_handle.stopping_seconds(said(OURS, alive=True)) is not None, (
        "it has seen the request, and comes to its safe point"
    )
    assert worker_handle.stopping_seconds(said(OURS, alive=False, status="stopped")) is None
    assert worker_handle.stopping_seconds(said(OTHER, alive=True)) is None, "resumed from elsewhere"
