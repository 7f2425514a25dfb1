"""Checkpoints of distillation: two are kept, a damaged one is told and left out; lost checks come back from events."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.checkpoints import (
    DistillState,
    best_check,
    checks,
    load_set,
    load_state,
    record_check,
    restore_checks,
    save_set,
    save_state,
)
from engine.matching.synthetic import Synthetic
from engine.run.errors import RunFailed
from engine.run.event_log import EventLog
from engine.run.events import Evaluated, Event, RunStarted, Warned
from engine.run.folder import RunFolder
from tests.engine.tiny_run import CPU

START = DistillState.at_start(Synthetic(torch.rand(2, 1, 4, 4), torch.rand(2, 2), torch.tensor(0.1)))


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("place", [0, 30, 70, 120, -70, -1])
def test_a_flipped_bit_in_the_newest_costs_the_iterations_since_the_one_before(tmp_path: Path, place: int) -> None:
    folder, told = RunFolder(tmp_path), list[Event]()
    for iteration in (10, 20, 30):
        save_state(folder, replace(START, iteration=iteration))
    files = sorted(folder.checkpoint.glob("distill-*"))
    assert len(files) == 2, "two are kept"
    flip(files[1], place)
    state = load_state(folder, CPU, told.append)
    assert state is not None and state.iteration == 20 and torch.equal(state.synthetic.images, START.synthetic.images)
    assert len(told) == 1 and str(files[1]) in told[0].message and "the checkpoint before it" in told[0].message
    save_state(folder, replace(state, iteration=25))
    assert [int(file.stem[-6:]) for file in sorted(folder.checkpoint.glob("distill-*"))] == [20, 25], "both are sound"
    flip(files[0], place)
    flip(folder.checkpoint / "distill-000025.safetensors", place)
    assert load_state(folder, CPU, told.append) is None and len(told) == 3


def test_a_damaged_set_of_a_check_is_refused_by_name(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    save_set(folder, 10, START.synthetic)
    assert torch.equal(load_set(folder, 10, CPU).images, START.synthetic.images)
    flip(folder.checkpoint / "sets" / "000010.safetensors", -9)
    with pytest.raises(RunFailed, match=r"sets/000010.safetensors: the checkpoint is .*damaged: .* its checksum"):
        load_set(folder, 10, CPU)


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
