"""Distillation: images, label logits and beta follow the gradient of the matching loss, iteration by iteration.

The loss and its gradient are in matching/ (docs/method.md sections 4, 6); the step that is taken with it is here.
Recovery (section 11) takes steps of its own, in the same loop.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from safetensors.torch import load, save
from torch import Tensor

from engine.checkpoints import DistillState, load_state, save_state
from engine.compilation import student_is_compiled
from engine.context import Context, generator
from engine.cores import take_turn
from engine.data.dataset import LongTailedData
from engine.data.partition import WHOLE_IMAGES, Partition
from engine.losses import StudentLoss
from engine.matching.backends import BackendBuilder
from engine.matching.distribution import DistributionMatcher, FeatureMatcher, QueueMatcher
from engine.matching.matcher import Matcher
from engine.matching.plain import IterationResult
from engine.matching.recovery import Recovery, RecoveryStep
from engine.matching.synthetic import Synthetic
from engine.nets.functional import FlatNetwork, matmul_precision
from engine.run.errors import Diverged, Stopped
from engine.run.events import Checkpointed, MatchingStep, Recovered
from engine.run.settings import MatchingSettings, RunSettings
from engine.training.from_scratch import cost_of, fresh_network
from engine.training.gradients import training_gradient
from engine.training.sgd import half_cosine
from engine.trajectories import Trajectory

AnyMatcher = Matcher | DistributionMatcher | QueueMatcher
"""What gives the gradient of an iteration."""
# Borders of what has exploded are ours. Of runs of the presets no trajectory loss, in which a student that stays where
# it began has 1, was above 6. The root mean square of a part of the set is 1 or less at most starts.
EXPLODED_LOSS, EXPLODED_SET = 1000.0, 100.0


def student_matcher(
    context: Context,
    data: LongTailedData,
    network: FlatNetwork,
    representation: list[Trajectory],
    classifiers: list[Trajectory],
    start: Synthetic,
) -> Matcher:
    """What computes the gradient of the matching loss for this run, in the form that is fastest on its device."""
    settings, method = context.settings, context.settings.traits
    return Matcher(
        settings.matching,
        method,
        network,
        representation,
        classifiers,
        StudentLoss.of(method, settings.matching, data.class_counts, start.images),
        settings.dataset.augmentation,
        context.device,
        student_is_compiled(context, cost_of(settings, data, settings.experts.network)),
        context.emit,
    )


def distribution_matcher(
    context: Context, data: LongTailedData, network: FlatNetwork
) -> DistributionMatcher | QueueMatcher:
    """What computes the gradient of distribution matching for this run, with random or with trained networks."""
    settings, method, device = context.settings, context.settings.traits, context.device
    compiled = student_is_compiled(context, cost_of(settings, data, settings.experts.network))
    # The student's loss has no part in a backbone.
    loss = StudentLoss.of(method, settings.matching, data.class_counts, data.train_images)
    form = settings.matching, device, compiled, context.emit
    matcher = FeatureMatcher(
        settings.distribution,
        network,
        BackendBuilder(network, loss, method.learns_labels, *form).backbone(),
        data,
        settings.dataset.augmentation,
    )

    def fresh_weights(number: int) -> Tensor:
        return fresh_network(settings, data, settings.experts.network, "distribution", number)[1]

    if not method.trains_networks:
        return DistributionMatcher(matcher, fresh_weights)
    precision = settings.matching.precision
    return QueueMatcher(
        matcher, fresh_weights, training_gradient(network, 1, device, compiled, precision, emit=context.emit)
    )


def distill(
    context: Context,
    start: Synthetic,
    matcher: AnyMatcher | Recovery,
    partition: Partition = WHOLE_IMAGES,
) -> Iterator[DistillState]:
    """Yields the state it starts from, the last checkpoint if there is one, then the state after each iteration.

    The matcher sees the decoded set; the step is taken in the stored one.

    Raises Stopped after a stop request, once the last finished iteration is in a checkpoint; Diverged as soon as a
    loss, gradient or part of the set is not finite or explodes, or beta is not positive, before such a state is saved.
    """
    settings = context.settings.matching
    state = load_state(context.folder, context.device, context.emit) or DistillState.at_start(start)
    saved, largest = state.iteration, EXPLODED_SET * _root_mean_squares(start).clamp(min=1)
    image_lr = context.settings.image_lr
    if context.settings.traits.matches_trajectories:
        # As far as a step moves what networks see; the published rates of mini-images (idm) are of stored ones.
        image_lr /= partition.gain
    # Who steps down or recovers writes that into a checkpoint and begins here anew, as a resumed run does.
    halved = 0.5 ** len(state.recovered)
    lowered = halved * context.settings.validation.step_down ** -len(state.stepped_down)
    yield state
    while state.iteration < settings.iterations:
        take_turn()
        began, before = time.monotonic(), state
        # Seeded by the iteration, so that a resumed run draws what an uninterrupted one would have drawn.
        draw = generator(context.settings.seed, "matching", state.iteration)
        result: IterationResult | RecoveryStep
        if isinstance(matcher, Recovery):
            with matmul_precision(settings.precision, context.device):
                result = matcher.step(state.synthetic, state.extra, state.iteration, draw, halved)
            state = replace(state, iteration=state.iteration + 1, synthetic=result.synthetic, extra=result.extra)
        else:
            decoded = state.synthetic._replace(images=partition.decoded(state.synthetic.images))
            with matmul_precision(settings.precision, context.device):
                result = _mean_gradient(context, matcher, decoded, state, draw)
            gradient = result.gradient._replace(images=partition.adjoint(result.gradient.images))
            state = replace(step(state, gradient, settings, image_lr, lowered, halved), extra=result.extra)
        if settings.average:
            state = replace(state, average=_average(before, state.synthetic, settings.average))
        _emit_step(context, state, result, largest, time.monotonic() - began)
        if state.iteration == _last_saved(context.settings, state):
            _save(context, state)
            saved = state.iteration
        yield state
        try:
            context.check_stop()
        except Stopped:
            if saved < state.iteration:
                _save(context, state)
            raise


# ---- Several trajectories in an iteration, in one process or shared by the ranks of a gang ----


def _mean_gradient(
    context: Context, matcher: AnyMatcher, synthetic: Synthetic, state: DistillState, draw: torch.Generator
) -> IterationResult:
    """The mean over the iteration's trajectories of gradients and losses; synthetic: the decoded set."""
    if context.settings.trajectories == 1 or not isinstance(matcher, Matcher):
        return matcher.gradient(synthetic, state.iteration, draw, state.extra)
    tensors = {name: tensor.cpu().contiguous() for name, tensor in synthetic._asdict().items()}
    context.gang.send(save(tensors | {"iteration": torch.tensor(state.iteration)}))
    own = _own_gradients(context, matcher, synthetic, state.iteration)
    first = own[0]
    rows = context.gang.gather(torch.stack([_flat(result) for result in own]))
    # One after another, so that the order of the sum, and with it the bytes, is that of the trajectories.
    mean = functools.reduce(torch.add, rows.unbind()) / len(rows)
    sizes = [tensor.numel() for tensor in first.gradient]
    images, labels, beta, losses = mean.split([*sizes, len(mean) - sum(sizes)])
    gradient = first.gradient.map((images, labels, beta), by=lambda like, flat: flat.view_as(like))
    drawn = f"{len(rows)} trajectories, the first one {first.drawn}"
    return IterationResult(gradient, losses[0], None if first.loss_cls is None else losses[1], drawn)


def assist(context: Context, matcher: Callable[[Synthetic], Matcher]) -> None:
    """What the other ranks of a gang do: gradients of their own trajectories, until the run is over."""
    of_run = None
    while order := context.gang.receive():
        tensors = {name: tensor.to(context.device) for name, tensor in load(order).items()}
        synthetic = Synthetic(*(tensors[name] for name in Synthetic._fields))
        of_run = of_run or matcher(synthetic)
        with matmul_precision(context.settings.matching.precision, context.device):
            own = _own_gradients(context, of_run, synthetic, int(tensors["iteration"]))
        context.gang.gather(torch.stack([_flat(result) for result in own]))


def _own_gradients(context: Context, matcher: Matcher, synthetic: Synthetic, iteration: int) -> list[IterationResult]:
    """Of this rank's trajectories; the first one of an iteration draws what it would draw if it were the only one."""
    results = []
    for number in context.gang.share(context.settings.trajectories):
        names = () if number == 0 else ("trajectory", number)
        draw = generator(context.settings.seed, "matching", iteration, *names)
        results.append(matcher.gradient(synthetic, iteration, draw))
    return results


def _flat(result: IterationResult) -> Tensor:
    """Gradient and losses in one row."""
    losses = (result.loss_rep,) if result.loss_cls is None else (result.loss_rep, result.loss_cls)
    return torch.cat([tensor.flatten() for tensor in (*result.gradient, *losses)])


# ---- What is done with the gradient ----


def _last_saved(settings: RunSettings, state: DistillState) -> int:
    """The last iteration, up to this state, whose state is always saved; 0 for the start.

    One that was saved because the run was asked to stop is none: no result may depend on that.
    """
    # A checked iteration is saved too: on a GPU, doing it again would give another set than the one checked.
    intervals = (settings.matching.checkpoint_every, settings.evaluate.every, settings.matching.iterations)
    return max(*(state.iteration - state.iteration % interval for interval in intervals), *state.stepped_down)


def _save(context: Context, state: DistillState) -> None:
    """Writes a checkpoint, and says so only once it is on the disk."""
    save_state(context.folder, state, keep=_last_saved(context.settings, state))
    context.clock.keep()
    context.emit(Checkpointed(state.iteration))


def recover(context: Context, start: Synthetic, diverged: DistillState, error: Diverged) -> None:
    """Goes back to the last state before one that `diverged`, with all rates halved, and writes that as a checkpoint.

    `distill`, called again, goes on from there. diverged: the last state that was finite; where that is the last one
    saved, and its loss was bad with any rates, it goes back to the start.
    """
    last = _last_saved(context.settings, diverged)
    in_vain = error.of_loss and last == diverged.iteration
    back = None if in_vain else load_state(context.folder, context.device, context.emit, last)
    recovered = (*diverged.recovered, diverged.iteration + 1)
    back = replace(back or DistillState.at_start(start), recovered=recovered)
    what = f"{error.faults[0].where}: {error.faults[0].what}"
    context.emit(Recovered(recovered[-1], back.iteration, what, 0.5 ** len(recovered)))
    save_state(context.folder, back)
    context.emit(Checkpointed(back.iteration))


def step(
    state: DistillState,
    gradient: Synthetic,
    settings: MatchingSettings,
    image_lr: float,
    lowered: float = 1.0,
    beta_lowered: float = 1.0,
) -> DistillState:
    """One SGD step with momentum for images, label logits and beta, each at its own rate; beta's rate never decays.

    lowered, beta_lowered: factors of the rates, after stepping down or recovering.
    """
    decay = lowered * rate_decay(settings, state.iteration)
    rates = decay * image_lr, decay * settings.label_lr, beta_lowered * settings.beta_lr
    momenta = settings.image_momentum, settings.label_momentum, settings.beta_momentum
    velocity = state.velocity.map(gradient, momenta, by=lambda v, g, momentum: momentum * v + g)
    synthetic = state.synthetic.map(velocity, rates, by=lambda x, v, rate: x - rate * v)
    return replace(state, iteration=state.iteration + 1, synthetic=synthetic, velocity=velocity)


def _average(before: DistillState, now: Synthetic, keeps: float) -> Synthetic:
    """The average over the iterations: `keeps` of what it was, which at first is the starting set."""
    # The draws of one iteration move the set to and fro; what many of them agree on stays.
    return now.map(before.average or before.synthetic, by=lambda new, old: torch.lerp(new, old, keeps))


def rate_decay(settings: MatchingSettings, iteration: int) -> float:
    """The factor of image_lr and label_lr at an iteration: 1, or falling to 0 along a line or half a cosine."""
    done = iteration / settings.iterations
    return {"none": 1.0, "linear": 1 - done, "cosine": half_cosine(done)}[settings.rate_decay]


def _root_mean_squares(synthetic: Synthetic) -> Tensor:
    """Of images, label logits and beta, (3,); not finite where one of their numbers is not."""
    return torch.stack([torch.linalg.vector_norm(part) / math.sqrt(part.numel()) for part in synthetic])


def _emit_step(
    context: Context, state: DistillState, result: IterationResult | RecoveryStep, largest: Tensor, seconds: float
) -> None:
    """Emits MatchingStep; raises Diverged if the step cannot be used.

    largest: root mean squares (3,) above which images, label logits and beta have exploded.
    """
    losses = [result.loss_rep, result.loss_cls if result.loss_cls is not None else result.loss_rep]
    sizes, extra_is_finite = _root_mean_squares(state.synthetic), [x.isfinite().all() for x in state.extra.values()]
    # One transfer for all values that are looked at: on a GPU each transfer waits for the device.
    looked_at = torch.stack([*losses, state.synthetic.beta, *sizes, *(sizes / largest), *extra_is_finite]).tolist()
    (loss_rep, loss_cls, beta), sizes_now, shares = looked_at[:3], looked_at[3:6], looked_at[6:9]
    traits, names = context.settings.traits, ("images", "label logits", "beta")
    of_loss = of_step = ""
    if not (math.isfinite(loss_rep) and math.isfinite(loss_cls)):
        of_loss = f"a matching loss or gradient is not finite (rep {loss_rep}, cls {loss_cls})"
    elif traits.matches_trajectories and max(loss_rep, loss_cls) > EXPLODED_LOSS:
        of_loss = f"a matching loss has exploded (rep {loss_rep:.3g}, cls {loss_cls:.3g})"
    elif not all(map(math.isfinite, sizes_now)) or not all(looked_at[9:]):
        of = [name for name, size in zip(names, sizes_now, strict=True) if not math.isfinite(size)]
        of_step = ", ".join(of) or "networks that the method keeps"
        of_step = f"a gradient or the step along it is not finite (of {of_step})"
    elif max(shares) > 1:
        exploded = shares.index(max(shares))
        of_step = f"the set has exploded (root mean square of {names[exploded]}: {sizes_now[exploded]:.3g})"
    elif beta <= 0:
        of_step = f"the learnt rate beta fell to {beta:.3g}"
    if of_loss or of_step:
        lower = "distribution.image_lr" if traits.matches_distributions else "matching.image_lr or matching.beta"
        lower = "recovery.learning_rate" if isinstance(result, RecoveryStep) else lower
        others_are_well = all(share <= 1 for share in shares[:2])
        if others_are_well and not (beta > 0 and shares[2] <= 1):
            lower = "matching.beta_lr"
        hint = f"lower {lower}; the last checkpoint is untouched"
        if of_loss and state.iteration == 1 and lower == "matching.image_lr or matching.beta":
            hint = "no step was taken yet: lower matching.beta, the rate of students, or look at the start"
        # The losses are those of the set before the step.
        where = f"distill, iteration {state.iteration}, {result.drawn}"
        raise Diverged(of_loss or of_step, where, hint, of_loss=bool(of_loss))
    context.emit(
        MatchingStep(state.iteration, loss_rep, loss_cls if result.loss_cls is not None else None, beta, seconds)
    )
