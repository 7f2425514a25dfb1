"""A worker in the queue begins once no worker is at work on the runs before it, and can be stopped until then."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import __main__ as worker
from engine.run.errors import Stopped
from engine.run.events import EventLog
from engine.run.folder import RunFolder


def wait(root: Path, others: list[RunFolder], check_stop: Callable[[], None]) -> list[str]:
    """Waits in the queue, and returns what the event says that it waited for."""
    events = root / "events.jsonl"
    worker._wait_for(others, EventLog(events), check_stop)
    return json.loads(events.read_text())["behind"]  # type: ignore[no-any-return]


def test_it_waits_for_all_runs_that_are_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "QUEUE_SECONDS", 0.0)
    others = [RunFolder(tmp_path / name) for name in ("first", "second", "idle")]
    locks = [other.held() for other in others[:2]]
    for lock in locks:
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
    with other.held(), pytest.raises(Stopped):
        wait(tmp_path, [other], stop)
