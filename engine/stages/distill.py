"""Distillation: step images, label logits and beta along the matching gradient, iteration by iteration."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import torch

from engine.checkpoints import DistillState, load_state, save_state
from engine.context import Context, generator
from engine.device import read_device
from engine.matching.matcher import IterationResult, Matcher
from engine.matching.synthetic import Synthetic
from engine.run.errors import RunFailed
from engine.run.events import Checkpointed, MatchingStep
from engine.run.settings import MatchingSettings


def distill(context: Context, start: Synthetic, matcher: Matcher) -> Iterator[DistillState]:
    """Yields the state after each iteration, the first time the one it starts from; resumes from the last checkpoint.

    Raises RunFailed before a loss or a gradient that is not finite, or a beta that is not positive, is used.
    """
    settings = context.settings.matching
    state = load_state(context.folder, context.device) or DistillState.at_start(start)
    yield state
    while state.iteration < settings.iterations:
        began = time.monotonic()
        draw = generator(context.settings.seed, "matching", state.iteration)
        result = matcher.gradient(state.synthetic, state.iteration, draw)
        state = step(state, result.gradient, settings)
        _emit_step(context, state, result, time.monotonic() - began)
        # A checked iteration is kept too: on a GPU, doing it again would give another set than the one checked.
        marks = (settings.checkpoint_every, context.settings.evaluate.every, settings.iterations)
        if any(state.iteration % mark == 0 for mark in marks):
            save_state(context.folder, state)
            context.clock.keep()
            context.emit(read_device(context.device))
            context.emit(Checkpointed(state.iteration))
        yield state


def step(state: DistillState, gradient: Synthetic, settings: MatchingSettings) -> DistillState:
    """One SGD step with momentum for images, label logits and beta, each at its own rate."""
    decay = rate_decay(settings, state.iteration)
    rates = Synthetic(*map(torch.tensor, (decay * settings.image_lr, decay * settings.label_lr, settings.beta_lr)))
    momenta = Synthetic(*map(torch.tensor, (settings.image_momentum, settings.label_momentum, settings.beta_momentum)))
    velocity = state.velocity.map(gradient, momenta, by=lambda v, g, momentum: float(momentum) * v + g)
    synthetic = state.synthetic.map(velocity, rates, by=lambda x, v, rate: x - float(rate) * v)
    return DistillState(state.iteration + 1, synthetic, velocity)


def rate_decay(settings: MatchingSettings, iteration: int) -> float:
    """The factor of image_lr and label_lr at an iteration: 1, or falling to 0 along a line or half a cosine."""
    left = 1 - iteration / settings.iterations
    return {"none": 1.0, "linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2}[settings.rate_decay]


def _emit_step(context: Context, state: DistillState, result: IterationResult, seconds: float) -> None:
    # One transfer for all that must be looked at, since on a GPU each is a wait.
    finite = torch.stack([tensor.isfinite().all() for tensor in (state.synthetic.images, state.synthetic.label_logits)])
    losses = [result.loss_rep, result.loss_cls if result.loss_cls is not None else result.loss_rep]
    loss_rep, loss_cls, beta, all_finite = torch.stack([*losses, state.synthetic.beta, finite.all()]).tolist()
    where = f"distill, iteration {state.iteration}, {result.drawn}"
    if not (all_finite and math.isfinite(loss_rep) and math.isfinite(loss_cls)):
        raise RunFailed(
            f"a matching loss or gradient is not finite (rep {loss_rep}, cls {loss_cls})",
            where,
            "lower matching.image_lr or matching.beta; the last checkpoint is untouched",
        )
    if beta <= 0:
        raise RunFailed(f"the learnt rate beta fell to {beta:.3g}", where, "lower matching.beta_lr")
    context.emit(
        MatchingStep(state.iteration, loss_rep, loss_cls if result.loss_cls is not None else None, beta, seconds)
    )
