"""Runs to show, made once and copied; and nobody's own files."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from textual.screen import Screen

from engine.run.folder import RunFolder
from ltdd_tui import app
from ltdd_tui.runs import worker
from ltdd_tui.runs.worker import WorkerHandles
from tests.ltdd_tui.recorded import FINISHED_AT, hold, let_go, record

FAKE = str(Path(__file__).parents[1] / "fake_worker.py")
ITERATIONS = 20


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LTDD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    monkeypatch.setattr(worker, "COMMAND", (sys.executable, FAKE))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunFolder]:
    """One run of each status that does not need a worker."""
    root = tmp_path_factory.mktemp("originals")
    return {
        status: record(root / status, status, ITERATIONS)
        for status in ("empty", "stopped", "failed", "crashed", "done", "judged")
    }


@pytest.fixture
def add(tmp_path: Path, originals: dict[str, RunFolder]) -> Iterator[Callable[..., RunFolder]]:
    """Adds a run of a status to ~/runs; the later it is added, the older it is."""
    held = []

    def add(name: str, status: str = "done") -> RunFolder:
        folder = RunFolder(tmp_path / "runs" / name)
        # A running one looks like one that crashed, but for its lock.
        shutil.copytree(originals["crashed" if status == "running" else status].root, folder.root)
        before = len(list((tmp_path / "runs").iterdir()))
        changed = FINISHED_AT - 60 * 7 ** min(before, 6) - before
        for path in (folder.events, folder.config):
            if path.exists():
                os.utime(path, (changed, changed))
        if status == "running":
            hold(folder)
            held.append(folder)
        return folder

    yield add
    for folder in held:
        let_go(folder)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No room left for any file that is written so as to survive a crash."""

    def no_room(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)


@pytest.fixture
def no_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty screen in place of the form for new runs, which reads every preset."""

    class Empty(Screen[None]):
        def __init__(self, runs_dir: Path, worker_handles: WorkerHandles) -> None:
            super().__init__()

    monkeypatch.setattr(app, "LaunchScreen", Empty)
