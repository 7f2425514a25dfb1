"""A worker in the queue begins once no worker is at work on the runs before it, and can be stopped until then."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import __main__, commands, queue
from engine.run import errors
from engine.run.errors import Stopped
from engine.run.event_log import EventLog
from engine.run.folder import RunFolder, write_atomically
from engine.run.presets import dump, load_preset


def wait(root: Path, others: list[RunFolder], check_stop: Callable[[], None]) -> list[str]:
    """Waits in the queue, and returns what the event says that it waited for."""
    events = root / "events.jsonl"
    queue.wait_for(others, EventLog(events), check_stop)
    return json.loads(events.read_text())["behind"]  # type: ignore[no-any-return]


def test_it_waits_for_all_runs_that_are_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "QUEUE_SECONDS", 0.0)
    others = [RunFolder(tmp_path / name) for name in ("first", "second", "idle")]
    locks = [other.held() for other in others[:2]]
    for other, lock in zip(others[:2], locks, strict=True):
        other.root.mkdir()
        lock.__enter__()
    checks = 0

    def let_one_go() -> None:
        nonlocal checks
        checks += 1
        if checks in (3, 6):
            locks.pop().__exit__(None, None, None)

    assert wait(tmp_path, others, let_one_go) == ["first", "second", "idle"] and checks == 6


def test_it_can_be_stopped_while_it_waits(tmp_path: Path) -> None:
    def stop() -> None:
        raise Stopped("stopped on request")

    other = RunFolder(tmp_path / "other")
    other.root.mkdir()
    with other.held(), pytest.raises(Stopped):
        wait(tmp_path, [other], stop)


@pytest.mark.parametrize(
    ("printed", "old", "held_before", "waits"),
    [
        ("", False, False, True),
        ("error: no such device", False, False, False),
        ("", True, False, False),
        ("", False, True, False),
    ],
    ids=["starting", "refused", "long ago", "over"],
)
def test_a_worker_that_still_loads_its_libraries_is_waited_for(
    printed: str, old: bool, held_before: bool, waits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class WaitedError(Exception):
        """Ends the waiting."""

    def stop() -> None:
        raise WaitedError

    other = RunFolder(tmp_path / "other")
    other.root.mkdir()
    other.console.write_text(printed)
    if held_before:
        with other.held():
            pass
    if old:
        os.utime(other.console, (1e9, 1e9))
    with pytest.raises(WaitedError) if waits else contextlib.nullcontext():
        wait(tmp_path, [other], stop)


@pytest.mark.parametrize(
    ("numbers", "seconds", "ends"),
    [
        ((signal.SIGTERM, signal.SIGTERM), 0.1, 0),
        ((signal.SIGTERM, signal.SIGTERM), 0.3, 1),
        ((signal.SIGINT, signal.SIGINT), 0.1, 1),
        ((signal.SIGINT, signal.SIGTERM), 0.1, 0),
    ],
)
def test_the_same_signals_are_one_request_for_the_worker_as_for_the_command(
    numbers: tuple[int, ...], seconds: float, ends: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`timeout` sends SIGTERM twice: the worker stops at a safe point all the same."""
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    times = itertools.count(100.0, seconds)
    monkeypatch.setattr(errors.time, "monotonic", lambda: now)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    (tmp_path / "config.yaml").touch()
    try:
        check_stop = queue.stop_check(RunFolder(tmp_path), queue.stop_signals(), "run")
        for number in numbers:
            now = next(times)
            signal.raise_signal(number)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert len(ended) == ends
    with pytest.raises(Stopped):
        check_stop()


@pytest.mark.parametrize(
    ("command", "named"), [("run", "`ltdd-tui resume {}`"), ("evaluate", "the same evaluate command")]
)
def test_a_stopped_command_says_what_goes_on(command: str, named: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "one")
    write_atomically(folder.config, "")
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        check_stop = queue.stop_check(folder, queue.stop_signals(), command)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    folder.stop_request.touch()
    with pytest.raises(Stopped, match=f"hint: {named.format(folder.root)} goes on from here"):
        check_stop()


def test_what_the_worker_starts_is_not_given_this_pythons_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/usr/lib/python3.11")
    monkeypatch.setattr(sys, "argv", ["engine", "--help"])
    with pytest.raises(SystemExit):
        runpy.run_path(__main__.__file__, run_name="__main__")
    assert "PYTHONPATH" not in os.environ


def kinds_of(folder: RunFolder) -> list[str]:
    return [json.loads(line)["type"] for line in folder.events.read_text().splitlines()]


@pytest.mark.parametrize("stopped", [False, True])
def test_the_work_begins_after_the_run_before_with_the_lock_held(
    stopped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[object] = []

    def go_on(arguments: argparse.Namespace, folder: RunFolder, requests: object) -> None:
        done.append((arguments.after, folder.is_running()))

    def no_signals() -> errors.StopSignals:
        return errors.StopSignals()

    monkeypatch.setattr(commands, "go_on_after_queue", go_on)
    monkeypatch.setattr(__main__, "stop_signals", no_signals)
    monkeypatch.setattr(queue, "QUEUE_SECONDS", 0.0)
    folder, other = RunFolder(tmp_path / "one"), RunFolder(tmp_path / "other")
    write_atomically(folder.config, dump(load_preset("quickstart")))
    other.root.mkdir()
    with other.held() if stopped else contextlib.nullcontext():
        if stopped:
            folder.stop_request.touch()
        code = __main__.main(["run", str(folder.root), "--after", str(other.root)])
    assert code == (130 if stopped else 0)
    assert done == ([] if stopped else [(None, True)])
    assert kinds_of(folder) == (["queued", "run_stopped"] if stopped else ["queued"])


def test_a_worker_in_the_queue_has_not_loaded_torch() -> None:
    code = "import sys, engine.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
