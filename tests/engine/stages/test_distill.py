"""Distillation loses no finished iteration to a stop, and goes on to the same bytes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.checkpoints import DistillState, load_state
from engine.context import Context
from engine.matching.plain import IterationResult
from engine.matching.recovery import Recovery
from engine.matching.synthetic import Synthetic
from engine.run.errors import Diverged, RunFailed, Stopped
from engine.run.events import Checkpointed, Event, MatchingStep
from engine.run.synthesis import RecoverySettings
from engine.stages.distill import distill
from tests.engine.matching.toy import toy_teacher
from tests.engine.tiny_run import CPU, tiny_context, tiny_settings

ITERATIONS = 7
START = Synthetic(torch.ones(4, 1, 2, 2), torch.zeros(4, 2), torch.tensor(0.5))


class RandomGradient:
    """A matcher whose gradient is noise, drawn as the real one draws its batches."""

    def gradient(
        self, synthetic: Synthetic, iteration: int, draw: torch.Generator, extra: dict[str, torch.Tensor]
    ) -> IterationResult:
        noise = synthetic.map(by=lambda part: 1e-3 * torch.randn(part.shape, generator=draw))
        return IterationResult(noise, torch.tensor(0.9), None, "")


def run_context(root: Path, events: list[Event]) -> Context:
    own = {"iterations": ITERATIONS, "max_start_epoch": 1, "checkpoint_every": 5, "average": 0.75}
    settings = tiny_settings(matching=own)
    return tiny_context(root, settings, events)


def finish(context: Context, recovers: bool) -> DistillState:
    start, matcher = START, RandomGradient()
    if recovers:
        teacher, data = toy_teacher()
        start = Synthetic(data.train_images[[0, 1, 7, 8, 11, 12]], torch.zeros(6, 3).double(), torch.tensor(0.5))
        matcher = Recovery(RecoverySettings(batch_size=4), ITERATIONS, teacher, data)  # type: ignore[assignment]
    *_, last = distill(context, start, matcher)  # type: ignore[arg-type]
    return last


@pytest.mark.parametrize("recovers", [False, True])
def test_a_whole_step_has_the_precision_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recovers: bool
) -> None:
    owner, name = (Recovery, "step") if recovers else (RandomGradient, "gradient")
    steps, within, step = list[list[str]](), list[str](), getattr(owner, name)

    @contextlib.contextmanager
    def recorded(precision: str, device: torch.device) -> Iterator[None]:
        within.append(precision)
        yield
        within.pop()

    def seen(*inputs: object) -> object:
        steps.append(list(within))
        return step(*inputs)

    monkeypatch.setattr("engine.stages.distill.matmul_precision", recorded)
    monkeypatch.setattr(owner, name, seen)
    finish(run_context(tmp_path, []), recovers)
    assert steps == [["float32"]] * ITERATIONS


@pytest.mark.parametrize(("stops_at", "recovers"), [(1, False), (3, False), (5, False), (6, True), (7, False)])
def test_a_stop_keeps_the_last_finished_iteration(tmp_path: Path, stops_at: int, recovers: bool) -> None:
    whole = finish(run_context(tmp_path / "whole", []), recovers)
    events: list[Event] = []
    context = run_context(tmp_path / "run", events)

    def stop() -> None:
        if sum(isinstance(event, MatchingStep) for event in events) == stops_at:
            raise Stopped("stopped on request")

    with pytest.raises(Stopped):
        finish(replace(context, check_stop=stop), recovers)
    kept = load_state(context.folder, CPU, events.append)
    assert kept is not None and kept.iteration == stops_at
    checkpoints = [event.iteration for event in events if isinstance(event, Checkpointed)]
    assert checkpoints[-1] == stops_at and len(set(checkpoints)) == len(checkpoints), "each is written once"
    resumed = finish(context, recovers)
    assert [event.iteration for event in events if isinstance(event, MatchingStep)] == list(range(1, ITERATIONS + 1))
    parts = [(resumed.synthetic, whole.synthetic), (resumed.velocity, whole.velocity), (resumed.result, whole.result)]
    for ours, theirs in parts:
        assert all(map(torch.equal, ours, theirs))
    assert resumed.extra.keys() == whole.extra.keys() and bool(resumed.extra) == recovers
    assert all(torch.equal(resumed.extra[name], own) for name, own in whole.extra.items())


def test_a_recovery_that_diverges_names_the_rate_to_lower(tmp_path: Path) -> None:
    teacher, data = toy_teacher()
    start = Synthetic(
        torch.full((6, 2, 12, 12), torch.nan, dtype=torch.float64), torch.zeros(6, 3).double(), torch.tensor(0.5)
    )
    recovery = Recovery(RecoverySettings(), ITERATIONS, teacher, data)
    with pytest.raises(RunFailed) as failed:
        list(distill(run_context(tmp_path, []), start, recovery))
    assert "lower recovery.learning_rate" in failed.value.faults[0].hint


def test_the_average_of_the_set_begins_with_its_start_and_weighs_each_iteration(tmp_path: Path) -> None:
    states = list(distill(run_context(tmp_path, []), START, RandomGradient()))  # type: ignore[arg-type]
    expected = START.images
    for state in states[1:]:
        expected = 0.75 * expected + 0.25 * state.synthetic.images
        torch.testing.assert_close(state.result.images, expected)
    assert states[0].result is states[0].synthetic
    assert not torch.equal(states[-1].result.images, states[-1].synthetic.images)


@pytest.mark.parametrize(
    ("gradient", "loss", "rates", "told", "hint"),
    [
        ((math.nan, 0, 0), 0.9, {}, "the step along it is not finite (of images)", "matching.image_lr"),
        ((0, 0, math.inf), 0.9, {}, "the step along it is not finite (of beta)", "matching.beta_lr"),
        (
            (0, 0, 1),
            math.inf,
            {},
            "a matching loss or gradient is not finite (rep inf",
            "matching.beta, the rate of students",
        ),
        (
            (0, 0, 1),
            2000.0,
            {},
            "a matching loss has exploded (rep 2e+03, cls 2e+03)",
            "matching.beta, the rate of students",
        ),
        ((-1, 0, 0), 0.9, {"image_lr": 500.0}, "(root mean square of images: 501)", "matching.image_lr"),
        ((0, -1, 0), 0.9, {"label_lr": 200.0}, "(root mean square of label logits: 200)", "matching.image_lr"),
        ((0, 0, -1), 0.9, {"beta_lr": 1e45}, "the step along it is not finite (of beta)", "matching.beta_lr"),
        ((0, 0, -1), 0.9, {"beta_lr": 1e30}, "(root mean square of beta: 1e+30)", "matching.beta_lr"),
        ((0, 0, 1), 0.9, {"beta_lr": 1.0}, "the learnt rate beta fell to -0.5", "matching.beta_lr"),
    ],
)
def test_a_step_that_is_not_finite_or_explodes_is_never_taken(
    tmp_path: Path,
    gradient: tuple[float, float, float],
    loss: float,
    rates: dict[str, float],
    told: str,
    hint: str,
) -> None:
    class Bad:
        def gradient(self, synthetic: Synthetic, *_: object) -> IterationResult:
            bad = synthetic.map(gradient, by=lambda part, of_part: torch.full_like(part, of_part))
            return IterationResult(bad, torch.tensor(loss), None, "")

    matching = {"iterations": 2, "max_start_epoch": 1, "checkpoint_every": 1} | rates
    context = tiny_context(tmp_path, tiny_settings(matching=matching))
    with pytest.raises(Diverged) as diverged:
        list(distill(context, START, Bad()))  # type: ignore[arg-type]
    fault = diverged.value.faults[0]
    assert told in fault.what and f"lower {hint}" in fault.hint
    assert load_state(context.folder, CPU) is None
