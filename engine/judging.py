"""Never worse than its start: what a run chooses by its validation images, and how it says so (docs/method.md).

Those are the set it starts from, when matching lowers its rates or ends, and the set that the run ends with. Networks
are judged on `data.judging`: no choice sees a test image. What is judged is kept in the run folder as evaluations are,
and every choice is a function of that, so a run that was killed anywhere chooses the same when it goes on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from engine.checkpoints import (
    DistillState,
    best_check,
    checks,
    load_set,
    record_check,
    restore_checks,
    save_set,
    save_state,
)
from engine.context import Context, Progress
from engine.data.dataset import LongTailedData
from engine.data.partition import WHOLE_IMAGES
from engine.matching.recovery import Recovery
from engine.matching.synthetic import Synthetic
from engine.matching.warning_signs import WarningSigns
from engine.results.files import save_preview
from engine.run.data_settings import StartRule
from engine.run.errors import Diverged
from engine.run.events import SELECTION, Chosen, Evaluated
from engine.run.metrics import Accuracy, ValidationFigures
from engine.run.settings import RunSettings
from engine.stages.distill import AnyMatcher, distill, recover
from engine.stages.evaluate import JUDGED, EvaluationTarget, evaluate, rights, synthetic_target
from engine.teachers import Teacher

StartOf = Callable[[RunSettings, LongTailedData], Synthetic]
"""The starting set of these settings, of the experts and the teacher of the run."""


class Judged(NamedTuple):
    """The validation accuracy of a set; and of each validation image the share of networks that were right, (N,)."""

    event: Evaluated
    right: Tensor


@dataclass(frozen=True)
class JudgedStart:
    """The set that a run starts from, by its name among those `tried`, as each was judged."""

    name: str
    synthetic: Synthetic
    tried: Mapping[str, Judged]

    @property
    def judged(self) -> Judged:
        """The start, as it was judged."""
        return self.tried[self.name]


def standard_error(one: Judged, other: Judged, labels: Tensor) -> float:
    """Of the difference of two mean accuracies, in points: of networks, and of images of the classes `labels` (N,).

    Networks differ by Welch: both accuracies spread, each in its own way. Both sets are judged by the same images, and
    of a class with n_c images the mean difference has the variance v / n_c, where v is the mean square of the
    differences of all images: of a class with one or two images alone it could not be told.
    """
    networks = sum(judged.event.accuracy_std**2 / judged.event.repeats for judged in (one, other))
    counts = torch.bincount(labels.cpu()).double()
    variance = float((one.right - other.right).square().mean() * (1 / counts).sum()) / len(counts) ** 2
    return math.sqrt(networks + 100**2 * variance)


def _judge(
    context: Context,
    data: LongTailedData,
    name: str,
    iteration: int,
    synthetic: Synthetic,
    teacher: Teacher | None,
    progress: Progress | None = None,
) -> Judged:
    """A set, judged by the validation images, with networks of its own."""
    recipe, networks = context.settings.evaluate, context.settings.validation.networks
    key = JUDGED + "-".join(re.findall("[a-z]+", name))
    target = synthetic_target(context, data, name, key, iteration, synthetic, recipe.labels[0], teacher)
    event = evaluate(context, data.judging, target, recipe.arch[0], networks, progress)
    return Judged(event, rights(context, data.judging, target, recipe.arch[0], networks))


def _told(judged: Judged) -> str:
    return f"{judged.event.accuracy_mean:.1f} ± {judged.event.accuracy_std:.1f}"


# ---- The start ----


def choose_start(
    context: Context, data: LongTailedData, start: Synthetic, teacher: Teacher | None, start_of: StartOf
) -> JudgedStart:
    """The best of the start that the settings ask for and of their candidates; of those within noise, the first.

    The settings' own comes first: another one has to be better. Then they come in the order of `validation.candidates`.
    Where a class could spare no images, only the settings' own is judged: all starts know its stand-ins by heart, so
    what is gained in the head would decide, and what is lost in the tail would not be seen (docs/log.md).
    """
    settings, validation = context.settings, context.settings.validation
    sets: dict[str, Synthetic] = {settings.starting_images: start}
    for rule in validation.candidates if settings.tries_starts and not data.stand_ins else ():
        own = _starting_by(settings, rule)
        if own.initialize != settings.initialize:
            sets[f"{rule}, other labels" if rule in sets else rule] = start_of(own, data)
    tried = {}
    with context.stage("validation", len(sets) * validation.networks, "networks") as progress:
        for name, synthetic in sets.items():
            tried[name] = _judge(context, data, f"start {name}", 0, synthetic, teacher, progress)
    best = max(tried.values(), key=lambda judged: judged.event.accuracy_mean)
    chosen = next(name for name, judged in tried.items() if _as_good(judged, best, data.validation_labels))
    if len(tried) > 1:
        told = ", ".join(f"{name} {_told(judged)}" for name, judged in tried.items())
        why = f"validation accuracy: {told}; the first one within noise of the best is taken"
        context.emit(Chosen("start", chosen, why))
    return JudgedStart(chosen, sets[chosen], tried)


def _as_good(one: Judged, best: Judged, labels: Tensor) -> bool:
    lead = best.event.accuracy_mean - one.event.accuracy_mean
    return one is best or lead <= standard_error(one, best, labels)


def _starting_by(settings: RunSettings, rule: StartRule) -> RunSettings:
    """The settings with a start by this rule, with the teacher's labels where labels are learnt."""
    images = "real" if rule == "random" else rule
    labels = "teacher" if settings.traits.learns_labels else settings.initialize.labels
    initialize = settings.initialize.model_copy(update={"images": images, "labels": labels})
    return settings.model_copy(update={"initialize": initialize})


def plain_selections(
    context: Context, data: LongTailedData, teacher: Teacher | None, start_of: StartOf
) -> list[EvaluationTarget]:
    """What a person could have without matching: whole real images by each rule, with the teacher's labels.

    Not of random images, which every report has. They are at the step size of random images.
    """
    settings, whole = context.settings, replace(data, partition=WHOLE_IMAGES)
    if not (data.chooses and settings.tries_starts):
        return []
    targets = []
    for rule in (rule for rule in settings.validation.candidates if rule != "random"):
        initialize = settings.initialize.model_copy(update={"images": "real", "labels": "teacher", "partition": 1})
        own = settings.model_copy(update={"method": rule, "initialize": initialize})
        synthetic, regime = start_of(own, whole), settings.evaluate.labels[0]
        as_selected = replace(context, settings=own)
        name = f"{SELECTION}{rule}"
        target = synthetic_target(as_selected, whole, name, f"selection-{rule}", 0, synthetic, regime, teacher)
        targets.append(replace(target, iteration=None, teacher_labels=regime == "stored"))
    return targets


# ---- Matching on the way ----

Step = Literal["go on", "step down", "recover", "stop"]


def distill_and_check(
    context: Context,
    data: LongTailedData,
    start: Synthetic,
    matcher: AnyMatcher | Recovery,
    teacher: Teacher | None = None,
) -> DistillState:
    """Distills; on the way saves previews, and checks the set with a few fresh networks. Returns the last state.

    That is of the last iteration, or where validation images say that no more is gained. Raises as `distill`.
    """
    restore_checks(context.folder, context.emit)
    signs = WarningSigns(context.settings, data, start, context.emit)
    watched, state = replace(context, emit=signs.emit), DistillState.at_start(start)
    with context.stage("distill", context.settings.matching.iterations, "iterations"):
        step: Step = "step down"
        # Stepping down and recovering are written into the checkpoint; distillation goes on from it as after a kill.
        while step in ("step down", "recover"):
            step = "go on"
            try:
                for state in distill(watched, start, matcher, data.partition):
                    step = _check(context, data, state, teacher, signs)
                    if step != "go on":
                        break
            except Diverged as error:
                step = _after_divergence(context, data, start, state, error)
            if step == "step down":
                best = best_check(context.folder, state.iteration)
                back_to = start if best is None else load_set(context.folder, best, context.device)
                save_state(context.folder, state.back_at(back_to))
    return state


def _check(
    context: Context, data: LongTailedData, state: DistillState, teacher: Teacher | None, signs: WarningSigns
) -> Step:
    """Saves a preview and checks the set with a few fresh networks, where that is due; and how matching goes on."""
    matching, recipe = context.settings.matching, context.settings.evaluate
    last = state.iteration == matching.iterations
    if last or state.iteration % matching.preview_every == 0:
        save_preview(context, data, state.result, state.iteration)
    due = last or (state.iteration >= recipe.check_from and state.iteration % recipe.every == 0)
    # A state that has just stepped down holds the best set, and was checked before it did.
    if not due or state.iteration in state.stepped_down:
        return "go on"
    signs.look(state.result, state.iteration)
    # The set is kept before its accuracy is noted: the best check must never name a set that is missing.
    save_set(context.folder, state.iteration, state.result)
    regime = recipe.labels[0]
    target = synthetic_target(context, data, "check", "check", state.iteration, state.result, regime, teacher)
    with context.clock.timed("evaluate"):
        check = evaluate(context, data.judging if data.chooses else data, target, recipe.arch[0], recipe.check_repeats)
    record_check(context.folder, state.iteration, check.accuracy_mean)
    return next_step(context, state) if data.chooses and not last else "go on"


def next_step(context: Context, state: DistillState) -> Step:
    """What the checks up to this state, which is checked, say of how matching goes on.

    Without a gain in `validation.patience` checks, it goes back to the best set with lower rates; then it stops.
    """
    accuracies, best = checks(context.folder), best_check(context.folder, state.iteration)
    assert best is not None
    since = max([best, *state.stepped_down])
    vain = sum(since < at <= state.iteration for at in accuracies)
    if vain < context.settings.validation.patience:
        return "go on"
    told = f"the best validation accuracy is {accuracies[best]:.1f}, of iteration {best}"
    return _without_gain(context, state, f"{vain} checks without a gain: {told}")


def _without_gain(context: Context, state: DistillState, why: str) -> Step:
    """Steps down where that is left to try, or stops; emits Chosen, with the reason."""
    validation, best = context.settings.validation, best_check(context.folder, state.iteration) or 0
    if len(state.stepped_down) < validation.step_downs and _has_rates(context.settings):
        lowered = f"back to iteration {best}, rates divided by {validation.step_down:g}"
        context.emit(Chosen("rates", lowered, why, state.iteration))
        return "step down"
    context.emit(Chosen("stop", f"iteration {state.iteration}", why, state.iteration))
    return "stop"


def _after_divergence(
    context: Context, data: LongTailedData, start: Synthetic, state: DistillState, error: Diverged
) -> Step:
    """Recovers as often as the settings let it; then steps down or stops, or raises where nothing is chosen."""
    what, where, hint = error.faults[0].what, error.faults[0].where, error.faults[0].hint
    # The loss of the start is the same with any rates.
    in_vain = error.of_loss and state.iteration == 0
    if not in_vain and len(state.recovered) < context.settings.matching.max_recoveries:
        recover(context, start, state, error)
        # The state that it has gone back to is on the disk: a safe point.
        context.check_stop()
        return "recover"
    if state.recovered:
        what += f", also with all rates divided by {2 ** len(state.recovered)}"
    if not context.settings.validation.share:
        raise Diverged(what, where, hint)
    if data.chooses:
        return _without_gain(context, state, what)
    # No class could spare images to choose by. Never worse than its start: the run ends with what it has.
    context.emit(Chosen("stop", f"iteration {state.iteration}", what, state.iteration))
    return "stop"


def _has_rates(settings: RunSettings) -> bool:
    """Whether a step goes by image_lr and label_lr; recovery has a schedule of its own."""
    return settings.traits.synthesis != "recovery"


# ---- The set of the end ----


def choose_set(
    context: Context, data: LongTailedData, end: DistillState, start: JudgedStart, teacher: Teacher | None
) -> tuple[DistillState, ValidationFigures]:
    """The best set by validation, if it beats the start by more than the standard error of the difference; else that.

    The best checked set is judged once more, by networks of its own: those of its check chose it, and flatter it. Also
    what metrics.json says of the choices.
    """
    best, chosen, judged = best_check(context.folder, end.iteration), DistillState.at_start(start.synthetic), None
    if best:  # the best check may be that of the start
        synthetic = load_set(context.folder, best, context.device)
        with context.clock.timed("evaluate"):
            judged = _judge(context, data, "chosen", best, synthetic, teacher)
        gain = judged.event.accuracy_mean - start.judged.event.accuracy_mean
        noise = standard_error(judged, start.judged, data.validation_labels)
        told = f"iteration {best} has {_told(judged)} on the validation images, the start {_told(start.judged)}"
        if gain > noise:
            chosen = replace(end, iteration=best, synthetic=synthetic, average=None)
            why = f"{told}: {gain:.1f} points more, beyond the standard error of {noise:.1f}"
            context.emit(Chosen("set", f"iteration {best}", why, best))
        else:
            why = f"{told}: no gain beyond the standard error of {noise:.1f}, so matching gained nothing"
            context.emit(Chosen("set", "start", why))
    else:
        context.emit(Chosen("set", "start", "no check on the way was better than that of the start"))
    figures = ValidationFigures.model_construct(
        counts=data.validation_counts,
        stand_ins=[data.class_names[c] for c in data.stand_ins],
        start=start.name,
        starts={name: _accuracy(own) for name, own in start.tried.items()},
        best=_accuracy(judged) if judged else None,
        best_iteration=best,
        chosen=chosen.iteration,
        stepped_down=list(end.stepped_down),
        stopped_at=end.iteration if end.iteration < context.settings.matching.iterations else None,
    )
    return chosen, figures


def _accuracy(judged: Judged) -> Accuracy:
    return Accuracy.model_construct(accuracy_mean=judged.event.accuracy_mean, accuracy_std=judged.event.accuracy_std)
