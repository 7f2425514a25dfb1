"""Workers take turns at the cores: in company no two that need all of them work at once, and nobody waits for ever."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch

from engine import cores
from engine.cores import give_cores_back, shared_cores, take_turn
from engine.matching.matcher import Matcher
from engine.run.methods import METHODS
from engine.run.network_cost import TEST_IMAGES_AT_ONCE
from engine.run.settings import MatchingSettings
from engine.training.accuracy import in_test_batches
from engine.training.sgd import Sgd, Step, TrainingState
from engine.trajectories import Trajectory
from tests.engine.matching.toy import CLASSES, toy

CPU = torch.device("cpu")
PROCESSES = multiprocessing.get_context("fork")  # locks are of a process; a fork needs no second import of torch
Span = tuple[float, float]
T = TypeVar("T")


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cores, turns of 20 ms, and a lock file that no other worker has."""
    monkeypatch.setattr(cores, "lock_file", lambda: tmp_path / "lock")
    monkeypatch.setattr(cores, "usable_cores", lambda: [0, 1])
    monkeypatch.setattr(cores, "TURN_SECONDS", 0.02)
    monkeypatch.setattr(cores, "_POLL_SECONDS", 0.001)
    threads(monkeypatch, 2)


def threads(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """As many threads as a worker asks cores for."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: count)


def work(steps: int) -> list[Span]:
    """When each of some steps of 2 ms began and ended."""
    spans = []
    with shared_cores(CPU):
        for _ in range(steps):
            take_turn()
            began = time.monotonic()
            time.sleep(0.002)
            spans.append((began, time.monotonic()))
    return spans


def in_processes(count: int, job: Callable[[], T]) -> list[T]:
    """What the job returns in each of so many processes that begin at the same time."""
    start, answers = PROCESSES.Barrier(count), PROCESSES.Queue()

    def one() -> None:
        start.wait()
        answers.put(job())

    workers = [PROCESSES.Process(target=one, daemon=True) for _ in range(count)]
    for worker in workers:
        worker.start()
    got = [answers.get() for _ in workers]
    for worker in workers:
        worker.join()
    return got


def overlaps(spans: list[list[Span]]) -> int:
    """How often a step of one worker began within a step of another."""
    marked = [(span, number) for number, of_one in enumerate(spans) for span in of_one]
    return sum(a[0] <= b[0] < a[1] for a, i in marked for b, j in marked if i != j)


def test_workers_that_need_all_cores_never_work_at_once_and_all_get_turns() -> None:
    """Three workers with two threads each."""
    spans = in_processes(3, lambda: work(40))
    assert overlaps(spans) == 0
    # Had one worked to its end before another began, this would be a queue and no turns.
    assert max(of_one[0][0] for of_one in spans) < min(of_one[-1][1] for of_one in spans)


def test_workers_whose_threads_all_have_a_core_work_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers with one thread each on two cores."""
    threads(monkeypatch, 1)
    assert overlaps(in_processes(2, lambda: work(40))) > 10


def test_a_worker_alone_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after the end of a turn either, and not where it has more threads than there are cores."""
    threads(monkeypatch, 64)
    monkeypatch.setattr(cores, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waited"))
    with shared_cores(CPU):
        for _ in range(3):
            take_turn()


def seconds_of_a_turn() -> float:
    """How long another worker waits for its turn."""
    began = time.monotonic()
    with shared_cores(CPU):
        take_turn()
    return time.monotonic() - began


def test_a_worker_goes_on_though_another_never_gives_its_cores_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that is suspended: the other waits for PATIENCE_SECONDS."""
    monkeypatch.setattr(cores, "PATIENCE_SECONDS", 0.2)
    with shared_cores(CPU):
        take_turn()
        (waited,) = in_processes(1, seconds_of_a_turn)
        assert 0.2 <= waited < 2.0
        give_cores_back()
        (waited,) = in_processes(1, seconds_of_a_turn)
        assert waited < 0.2


@pytest.mark.parametrize(("device", "waits"), [("cpu", True), ("cuda", False)])
def test_a_step_of_training_takes_a_turn_on_the_cpu(device: str, waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """After it the cores are this worker's, until the block ends."""
    monkeypatch.setattr(cores, "PATIENCE_SECONDS", 0.3)
    step = Step(
        TrainingState.started([torch.zeros(1)], [0.1]), lambda theta, x, y: (theta.sum(1), theta), Sgd(0.0, 0.0)
    )
    with shared_cores(torch.device(device)):
        step(torch.zeros(1), torch.zeros(1))
        (waited,) = in_processes(1, seconds_of_a_turn)
    assert (waited >= 0.3) == waits
    (waited,) = in_processes(1, seconds_of_a_turn)
    assert waited < 0.3


@pytest.mark.parametrize(
    ("gradient", "images_at_once", "turns"),
    [
        ("exact", 99, 4 + 4 + 3 + 3),  # steps of phase rep, forward and back, and of phase cls
        ("exact", 2, (1 + 2) * (4 + 4 + 3 + 3)),  # and each micro-batch of a step
        ("published", 3, 4 + 4 + 3 + 3),
        ("published", 99, 4 + 1 + 3 + 3),  # all steps back in one call
        ("unrolled", 99, 4 + 3 + 3),  # all steps back in one pass of autograd
    ],
)
def test_an_outer_iteration_takes_a_turn_at_each_step_of_its_students(
    gradient: Any, images_at_once: int, turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outer iteration of the paper's preset takes minutes on a CPU."""
    small, none = toy(), torch.zeros(CLASSES)
    weights = torch.stack([small.start, small.target]).repeat(3, 1)
    experts, classifiers = (Trajectory(own, none, none) for own in (weights, weights[:, small.network.classifier]))
    settings = MatchingSettings(
        syn_steps=4, syn_steps_cls=3, batch_syn=3, max_start_epoch=1, expert_epochs=1, gradient=gradient
    ).model_copy(update={"images_at_once": images_at_once})
    matcher = Matcher(settings, METHODS["ltdd"], small.network, [experts], [classifiers], small.loss, (), CPU, False)
    monkeypatch.setattr(cores, "_turns", taken := Taken())
    matcher.gradient(small.synthetic, 0, torch.Generator().manual_seed(0))
    assert taken.turns == turns


def test_a_test_takes_a_turn_at_each_batch_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_turns", taken := Taken())
    monkeypatch.setitem(TEST_IMAGES_AT_ONCE, "cpu", 3)
    assert in_test_batches(lambda theta, images: images + theta, torch.ones(1), torch.zeros(7)).tolist() == [1] * 7
    assert taken.turns == 3


class Taken:
    """Counts turns instead of waiting for them."""

    turns = 0

    def take(self) -> None:
        self.turns += 1


def test_without_locks_a_worker_works_as_if_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the temporary folder cannot be written."""
    monkeypatch.setattr(cores, "lock_file", lambda: tmp_path / "missing" / "lock")
    assert len(work(2)) == 2
