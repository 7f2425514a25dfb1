"""The scores of a finished run: the evaluations that LRS and ARS are made from, in order (`engine.run.scores`).

DD-Ranking chooses a step size, and the epoch at which a network is tested, on the test set. Here step sizes are chosen
on held-out training images, and every network is tested once, after its last epoch. What is trained is kept in the run
folder, under keys of its own, so that an interrupted scoring goes on where it stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.context import Context, generator
from engine.data.dataset import LongTailedData
from engine.matching.synthetic import Synthetic
from engine.run.folder import write_json
from engine.run.metrics import MetricsJson
from engine.run.recipes import HardSettings
from engine.run.scores import STEP_SIZES, Part, scores_of
from engine.run.settings import LabelRegime, NetworkName, RunSettings
from engine.stages.evaluate import EvaluationTarget, evaluate, random_target, synthetic_target
from engine.teachers import Teacher
from engine.training.from_scratch import TrainingSet

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
    trials = _trials(context, data, final, teacher, metrics["final"]["iteration"])
    total = sum(repeats + trial.searched * len(STEP_SIZES) for trial in trials.values())
    with context.stage("scores", total, "networks") as progress:
        parts = {name: _part(trial, data, ~held_out, arch, repeats, progress) for name, trial in trials.items()}
        scores = scores_of(parts, context.settings.evaluate.labels[0], arch, repeats, int(held_out.sum()))
        write_json(context.folder.scores, scores.model_dump(by_alias=True))


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
    """All PARTS in their order; a step size is searched where neither the set nor its recipe brings one."""
    own = context.settings.evaluate.labels[0]
    # The evaluations of a run are told as events and drawn; these are other ones, which belong to no curve.
    quiet = replace(context, emit=lambda event: None)
    on_all = replace(quiet, settings=_recipe_for_all(context.settings, data))
    plain = replace(quiet, settings=_without_augmentation(context.settings))

    def of_set(regime: LabelRegime, key: str = "set") -> Callable[[LongTailedData], EvaluationTarget]:
        target = synthetic_target(context, data, "final", key, iteration, final, regime, teacher)
        return lambda data: target

    def of_random(regime: LabelRegime, key: str = "random") -> Callable[[LongTailedData], EvaluationTarget]:
        return lambda data: replace(random_target(context, data, regime, teacher), key=key)

    return {
        "full_hard": Trial(on_all, lambda data: _all_images(data, on_all.settings.hard)),
        "set_hard": Trial(quiet, of_set("hard"), searched=True),
        "random_hard": Trial(quiet, of_random("hard"), searched=True),
        "set": Trial(quiet, of_set(own), searched=own == "hard"),
        "random": Trial(quiet, of_random(own), searched=own != "online"),
        "set_plain": Trial(plain, of_set(own, "set-plain"), searched=own == "hard"),
        "random_plain": Trial(plain, of_random(own, "random-plain"), searched=own != "online"),
    }


def _part(
    trial: Trial,
    data: LongTailedData,
    kept: Tensor,
    arch: NetworkName,
    repeats: int,
    progress: Callable[[], None],
) -> Part:
    """The accuracy of a trial on the test set, at its step size; `kept` (N,) are train images that are not held out."""
    target = trial.target(data)
    rate = target.training_set(0).learning_rate
    if trial.searched:
        rate = _searched(trial, data, kept, arch, progress)
        target = _at_rate(target, rate)
    result = evaluate(trial.context, data, target, arch, repeats, progress)
    return Part(
        accuracy_mean=result.accuracy_mean,
        accuracy_std=result.accuracy_std,
        repeats=repeats,
        learning_rate=rate,
        searched=trial.searched,
    )


def _searched(
    trial: Trial, data: LongTailedData, kept: Tensor, arch: NetworkName, progress: Callable[[], None]
) -> float:
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


def _all_images(data: LongTailedData, recipe: HardSettings) -> EvaluationTarget:
    """All train images, long-tailed as they are, with their classes."""
    targets = F.one_hot(data.train_labels, data.num_classes).to(data.train_images.dtype)
    everything = TrainingSet(data.train_images, targets, recipe.learning_rate)
    # Networks of other epochs, which another version may have left, are other networks.
    return EvaluationTarget("all", f"all-{recipe.epochs}-epochs", None, lambda number: everything, "hard")


def _recipe_for_all(settings: RunSettings, data: LongTailedData) -> RunSettings:
    """The hard regime with a teacher's batches, SGD and epochs, but no fewer steps than a small set gets."""
    teacher, hard = settings.teacher, settings.hard
    steps = hard.epochs * math.ceil(settings.images_per_class * data.num_classes / hard.batch_size)
    epochs = max(teacher.epochs, math.ceil(steps / math.ceil(len(data.train_labels) / teacher.batch_size)))
    names = ("batch_size", "learning_rate", "momentum", "weight_decay")
    recipe = {name: getattr(teacher, name) for name in names} | {"epochs": epochs}
    return settings.model_copy(update={"hard": hard.model_copy(update=recipe)})


def _without_augmentation(settings: RunSettings) -> RunSettings:
    """Neither DSA nor CutMix in any recipe."""
    unmixed = {
        name: block.model_copy(update={"cutmix": 0.0})
        for name, block in (("evaluate", settings.evaluate), ("online", settings.online))
    }
    dataset = settings.dataset.model_copy(update={"augmentation": ()})
    return settings.model_copy(update={"dataset": dataset, **unmixed})
