"""Checks of a run that checks.json has lost come back from its events, so that no other set becomes the best."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.checkpoints import best_check, checks, record_check, restore_checks
from engine.run.errors import RunFailed
from engine.run.event_log import EventLog
from engine.run.events import Evaluated, Event, RunStarted, Warned
from engine.run.folder import RunFolder

ACCURACIES = {0: 20.0, 2: 61.25, 4: 33.3}


def started(resumed: bool) -> RunStarted:
    return RunStarted("r", "ltdd", "digits", 50.0, 1, 0, "convnet", "cpu", [], 4, "hash", 1, resumed=resumed)


def check(iteration: int, accuracy: float, subject: str = "check") -> Evaluated:
    return Evaluated(subject, iteration, "convnet", 1, accuracy, 0.0, [accuracy], {}, [1.0])


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path)
    with EventLog(folder.events) as log:
        # A run that was begun anew has other checks than before, and a final accuracy is none.
        for event in (started(False), check(4, 99.0), started(False), check(2, 98.0, "final"), check(0, 20.0)):
            log.emit(event)
        for event in (check(2, 61.25), started(True), check(4, 33.3)):
            log.emit(event)
    for iteration, accuracy in ACCURACIES.items():
        record_check(folder, iteration, accuracy)
        (folder.checkpoint / "sets").mkdir(exist_ok=True)
        (folder.checkpoint / "sets" / f"{iteration:06d}.safetensors").touch()
    return folder


@pytest.mark.parametrize(
    "content", [None, "", "{}", "[]", "7", '{"0": 20.0}', '{"x": 1}', '{"2": "61"}', '{"4": 1e9}', "[" * 99_999]
)
def test_lost_checks_are_restored_from_the_events_and_told_once(folder: RunFolder, content: str | None) -> None:
    path, told = folder.checkpoint / "checks.json", list[Event]()
    path.unlink() if content is None else path.write_text(content)
    for _ in range(2):
        restore_checks(folder, told.append)
        assert checks(folder) == ACCURACIES and best_check(folder) == 2
    (warning,) = told
    assert isinstance(warning, Warned) and "the events told them" in warning.message


def test_whole_checks_stay_as_they_are_also_where_the_events_are_lost(folder: RunFolder) -> None:
    told = list[Event]()
    folder.events.unlink()
    restore_checks(folder, told.append)
    assert checks(folder) == ACCURACIES and not told


def test_a_kept_set_whose_check_nobody_knows_is_refused_unless_it_is_the_latest(folder: RunFolder) -> None:
    folder.events.unlink()
    (folder.checkpoint / "checks.json").write_text('{"0": 20.0, "2": 61.25}')
    restore_checks(folder, lambda event: None)  # a worker was killed before it noted the last one
    (folder.checkpoint / "checks.json").write_text('{"0": 20.0}')
    with pytest.raises(RunFailed, match="it lacks the checks of iterations 2"):
        restore_checks(folder, lambda event: None)
