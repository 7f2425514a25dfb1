"""The scores of a finished run: the evaluations that LRS and ARS are made from, in order (`engine.run.scores`).

DD-Ranking chooses a step size, and the epoch at which a network is tested, on the test set. Here step sizes are chosen
on held-out training images, which random images leave out (the set itself was made from all training images), and every
network is tested once, after its last epoch. What is trained is kept in the run folder, under keys of its own, so that
an interrupted scoring goes on where it stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.context import Context, Progress, generator
from engine.data.dataset import LongTailedData
from engine.matching.synthetic import Synthetic
from engine.run.events import Evaluated, Event
from engine.run.folder import write_json
from engine.run.metrics import MetricsJson
from engine.run.scores import STEP_SIZES, Part, scores_of
from engine.run.settings import LabelRegime, NetworkName, RunSettings
from engine.stages.bounds import evaluate_bounds
from engine.stages.evaluate import EvaluationTarget, evaluate, random_target, synthetic_target
from engine.teachers import Teacher

HELD_OUT_SHARE = 0.2
"""Of each class's training images, to choose step sizes on; at least one of a class that has two or more."""


def score_set(
    context: Context,
    data: LongTailedData,
    final: Synthetic,
    teacher: Teacher | None,
    metrics: MetricsJson,
    repeats: int,
) -> None:
    """Evaluates the final set, random images and all images for LRS and ARS; writes result/scores.json.

    In the first label regime of the settings, as the set's own recipe. metrics: of the finished run. repeats: fresh
    networks for each accuracy; those that the run has trained itself are read back.
    """
    arch: NetworkName = metrics["arch"]
    held_out = _held_out(data, context.settings.seed)

    def emit(event: Event) -> None:
        # Evaluations of a run are told as events and drawn; these are other ones, which belong to no curve.
        if not isinstance(event, Evaluated):
            context.emit(event)

    quiet = replace(context, emit=emit)
    trials = _trials(quiet, data, final, teacher, metrics["final"]["iteration"])
    total = sum(repeats + trial.searched * len(STEP_SIZES) for trial in trials.values())
    parts = {"full_hard": _on_all_images(quiet, data, repeats)}
    with context.stage("scores", total, "networks") as progress:
        parts |= {name: _part(trial, data, ~held_out, arch, repeats, progress) for name, trial in trials.items()}
        scores = scores_of(parts, context.settings.evaluate.labels[0], arch, repeats, int(held_out.sum()))
        write_json(context.folder.scores, scores.model_dump(by_alias=True), sealed=True)


@dataclass(frozen=True)
class Trial:
    """One accuracy: what networks are trained on, from all data or a part of it, and the settings of their training.

    searched: whether their step size is searched, else it is that of the training set. A target's key names what makes
    its networks other ones than those of the run, and so their files.
    """

    context: Context
    target: Callable[[LongTailedData], EvaluationTarget]
    searched: bool = False


def _trials(
    context: Context, data: LongTailedData, final: Synthetic, teacher: Teacher | None, iteration: int
) -> dict[str, Trial]:
    """All PARTS on small sets, in their order; a step size is searched where neither set nor recipe brings one."""
    own = context.settings.evaluate.labels[0]
    plain = replace(context, settings=_without_augmentation(context.settings))

    def of_set(regime: LabelRegime, key: str = "set") -> Callable[[LongTailedData], EvaluationTarget]:
        target = synthetic_target(context, data, "final", key, iteration, final, regime, teacher)
        return lambda data: target

    def of_random(regime: LabelRegime, key: str = "random") -> Callable[[LongTailedData], EvaluationTarget]:
        return lambda data: replace(random_target(context, data, regime, teacher), key=key)

    return {
        "set_hard": Trial(context, of_set("hard"), searched=True),
        "random_hard": Trial(context, of_random("hard"), searched=True),
        "set": Trial(context, of_set(own), searched=own == "hard"),
        "random": Trial(context, of_random(own), searched=own != "online"),
        "set_plain": Trial(plain, of_set(own, "set-plain"), searched=own == "hard"),
        "random_plain": Trial(plain, of_random(own, "random-plain"), searched=own != "online"),
    }


def _part(
    trial: Trial,
    data: LongTailedData,
    kept: Tensor,
    arch: NetworkName,
    repeats: int,
    progress: Progress,
) -> Part:
    """The accuracy of a trial on the test set, at its step size; `kept` (N,) are train images that are not held out."""
    target = trial.target(data)
    rate = target.training_set(0).learning_rate
    if trial.searched:
        rate = _searched(trial, data, kept, arch, progress)
        target = _at_rate(target, rate)
    result = evaluate(trial.context, data, target, arch, repeats, progress)
    return _part_of(result, rate, trial.searched)


def _part_of(result: Evaluated, learning_rate: float, searched: bool) -> Part:
    return Part(
        accuracy_mean=result.accuracy_mean,
        accuracy_std=result.accuracy_std,
        repeats=result.repeats,
        learning_rate=learning_rate,
        searched=searched,
    )


def _searched(trial: Trial, data: LongTailedData, kept: Tensor, arch: NetworkName, progress: Progress) -> float:
    """The step size of highest balanced accuracy on the train images that are not `kept`; of equals the smallest."""
    inner = replace(
        data,
        train_images=data.train_images[kept],
        train_labels=data.train_labels[kept],
        test_images=data.train_images[~kept],
        test_labels=data.train_labels[~kept],
    )
    target = trial.target(inner)

    def accuracy(rate: float) -> float:
        searched = _at_rate(replace(target, key=f"{target.key}-held-out"), rate)
        return evaluate(trial.context, inner, searched, arch, 1, progress).accuracy_mean

    return max(STEP_SIZES, key=accuracy)


def _at_rate(target: EvaluationTarget, rate: float) -> EvaluationTarget:
    """The target with another step size; with its own one it stays as it is, and so do networks that it has."""
    if target.training_set(0).learning_rate == rate:
        return target
    own = target.training_set
    key = f"{target.key}-rate-{rate:g}"
    return replace(target, key=key, training_set=lambda number: replace(own(number), learning_rate=rate))


def _held_out(data: LongTailedData, seed: int) -> Tensor:
    """Which train images step sizes are chosen on, (N,) bool on the device of the labels."""
    held_out, draw = torch.zeros(len(data.train_labels), dtype=torch.bool), generator(seed, "scores", "held out")
    for c in range(data.num_classes):
        members = torch.nonzero(data.train_labels.cpu() == c).flatten()
        count = max(round(HELD_OUT_SHARE * len(members)), 1) if len(members) > 1 else 0
        held_out[members[torch.randperm(len(members), generator=draw)[:count]]] = True
    return held_out.to(data.train_labels.device)


def _on_all_images(context: Context, data: LongTailedData, repeats: int) -> Part:
    """The accuracy of networks trained on all images by plain cross-entropy: the run's own bound, or one for the score.

    The latter has the epochs of a bound, but no fewer steps than a small set gets with hard labels. CutMix would make
    labels soft, so a bound that has it is none for the score.
    """
    settings, hard, bounds = context.settings, context.settings.hard, context.settings.bounds
    epochs = bounds.epochs
    mixed = settings.teacher.cutmix > 0
    if mixed or "plain" not in bounds.losses:
        steps = hard.epochs * math.ceil(settings.ipc * data.num_classes / hard.batch_size)
        epochs = max(epochs, math.ceil(steps / math.ceil(len(data.train_labels) / settings.teacher.batch_size)))
    plain = bounds.model_copy(update={"losses": ("plain",), "epochs": epochs, "networks": repeats})
    blocks = {"bounds": plain, "teacher": settings.teacher.model_copy(update={"cutmix": 0.0})}
    own = replace(context, settings=settings.model_copy(update=blocks))
    (result,) = evaluate_bounds(own, data, "unmixed-bound" if mixed else "bound")
    return _part_of(result, settings.teacher.learning_rate, searched=False)


def _without_augmentation(settings: RunSettings) -> RunSettings:
    """Neither DSA nor CutMix in any recipe."""
    unmixed = {
        name: block.model_copy(update={"cutmix": 0.0})
        for name, block in (("evaluate", settings.evaluate), ("online", settings.online))
    }
    dataset = settings.dataset.model_copy(update={"augmentation": ()})
    return settings.model_copy(update={"dataset": dataset, **unmixed})
