"""The command line in this process, and in one of its own, with a worker that only pretends to work."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from ltdd_tui.cli.main import main
from ltdd_tui.runs import manage, worker

ROOT = Path(__file__).parents[2]
FAKE = str(Path(__file__).with_name("fake_worker.py"))
PROGRAM = f"""
import sys
from ltdd_tui.runs import worker
worker.COMMAND = (sys.executable, {FAKE!r})
from ltdd_tui.cli.main import main
main()
"""


class Done(NamedTuple):
    """What a command left: its exit code, its data and everything else."""

    code: int
    out: str
    err: str


@pytest.fixture
def runs_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of runs, known to the command line; and no data or experts of whoever runs the tests."""
    monkeypatch.setenv("LTDD_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(worker, "COMMAND", (sys.executable, FAKE))
    return tmp_path / "runs"


@pytest.fixture
def command(runs_dir: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Runs `ltdd-tui` with arguments in this process."""

    def call(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["ltdd-tui", *arguments])
        capfd.readouterr()
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        out, err = capfd.readouterr()
        assert isinstance(code, int)
        return Done(code, out, err)

    return call


@pytest.fixture
def spawn(runs_dir: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts `ltdd-tui` with arguments in a process of its own, as a shell would."""

    def begin(*arguments: str, stderr: int = subprocess.PIPE, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            cwd=ROOT,
            env=os.environ | environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )

    return begin


@pytest.fixture
def make_run(runs_dir: Path) -> Callable[..., Path]:
    """Makes a run folder that no worker has taken up yet."""
    return lambda name="first": manage.create(name, runs_dir, "method: ltdd\n").root
