"""Evaluation: fresh networks trained on one small set alone, tested once on the balanced test set (method.md 5)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.context import Context
from engine.data.augment import apply, draw
from engine.data.dataset import LongTailedData
from engine.data.selection import pick_real_images
from engine.losses import soft_cross_entropy, target_probabilities
from engine.matching.batches import Synthetic
from engine.nets.flat import FlatNetwork
from engine.run.events import Evaluated
from engine.run.folder import read_json, write_json
from engine.run.settings import NetworkName, RunSettings
from engine.seeding import generator
from engine.training.accuracy import balanced, group_accuracy, per_class_accuracy
from engine.training.epoch import train_epoch
from engine.training.fresh import fresh_network
from engine.training.sampling import shuffled_batches


@dataclass(frozen=True)
class TrainingSet:
    """A small set to train from: images (S, channels, H, W), target probabilities (S, C), SGD step size."""

    images: Tensor
    targets: Tensor
    learning_rate: float


@dataclass(frozen=True)
class Subject:
    """What is evaluated: the set that network number `repeat` is trained on.

    `name` and `iteration` say what it is in events; networks are seeded by `key`, so that subjects with one key and
    iteration (a final that is also the best) share their networks, while checks never do.
    """

    name: str
    key: str
    iteration: int | None
    of_repeat: Callable[[int], TrainingSet]


def evaluate(
    context: Context,
    data: LongTailedData,
    subject: Subject,
    arch: NetworkName,
    repeats: int,
    progress: Callable[[], None] = lambda: None,
) -> Evaluated:
    """Trains and tests `repeats` fresh networks; those of an interrupted run are read back, not trained again."""
    results = []
    for repeat in range(repeats):
        results.append(_remembered(context, data, subject, arch, repeat))
        progress()
        context.check_stop()
    event = summarize(
        subject.name,
        subject.iteration,
        arch,
        [row["per_class"] for row in results],
        data,
        [row["norms"] for row in results],
    )
    context.emit(event)
    return event


def synthetic_subject(context: Context, name: str, key: str, iteration: int, synthetic: Synthetic) -> Subject:
    """A synthetic set as a subject: its soft labels, and beta as the step size unless the settings name one."""
    rate = context.settings.evaluate.learning_rate
    targets = target_probabilities(synthetic.label_logits, context.settings.traits.learns_labels)
    training_set = TrainingSet(synthetic.images, targets, float(synthetic.beta) if rate == "learnt" else rate)
    return Subject(name, key, iteration, lambda repeat: training_set)


def random_subject(context: Context, data: LongTailedData) -> Subject:
    """Random real images at the same IPC, drawn anew for every network, with their classes as labels."""
    settings = context.settings

    def draw_set(repeat: int) -> TrainingSet:
        chosen = pick_real_images(data, settings.ipc, generator(settings.seed, "random", repeat))
        targets = F.one_hot(data.train_labels[chosen], data.num_classes).to(data.train_images.dtype)
        return TrainingSet(data.train_images[chosen], targets, settings.evaluate.real_learning_rate)

    return Subject("random", "random", None, draw_set)


def summarize(
    subject: str,
    iteration: int | None,
    arch: str,
    per_class: Sequence[Sequence[float]],
    data: LongTailedData,
    norms: Sequence[Sequence[float]],
) -> Evaluated:
    """Mean and sample standard deviation over networks, from each network's accuracy per class in percent."""
    accuracies = [balanced(torch.tensor(row, dtype=torch.float64)) for row in per_class]
    mean_per_class = [statistics.fmean(column) for column in zip(*per_class, strict=True)]
    spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    return Evaluated(
        subject,
        iteration,
        arch,
        len(accuracies),
        statistics.fmean(accuracies),
        spread,
        mean_per_class,
        group_accuracy(mean_per_class, data.groups),
        [statistics.fmean(column) for column in zip(*norms, strict=True)],
    )


def _remembered(context: Context, data: LongTailedData, subject: Subject, arch: NetworkName, repeat: int) -> dict:
    at = "" if subject.iteration is None else f"-{subject.iteration:06d}"
    path = context.folder.evaluations / f"{subject.key}{at}-{arch}-{repeat}.json"
    # A damaged file costs the training of one network, no more.
    if remembered := read_json(path):
        return remembered
    network, theta = train_network(
        context.settings,
        data,
        subject.of_repeat(repeat),
        arch,
        ("evaluate", subject.key, subject.iteration or 0, arch, repeat),
    )
    per_class = per_class_accuracy(network, theta, data.test_images, data.test_labels).tolist()
    result = {"per_class": per_class, "norms": network.classifier_norms(theta)}
    write_json(path, result)
    return result


def train_network(
    settings: RunSettings,
    data: LongTailedData,
    training_set: TrainingSet,
    arch: NetworkName,
    names: tuple[str | int, ...],
) -> tuple[FlatNetwork, Tensor]:
    """One fresh network trained by the recipe of `settings.evaluate`: SGD, one tenth of the rate after `decay_at`."""
    recipe = settings.evaluate
    network, theta = fresh_network(settings, data, arch, *names)
    optimizer = torch.optim.SGD([theta], training_set.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay)
    order = generator(settings.seed, *names, "order")
    for epoch in range(recipe.epochs):
        if epoch == math.ceil(recipe.decay_at * recipe.epochs):
            optimizer.param_groups[0]["lr"] *= 0.1
        batches = (
            (
                apply(
                    draw(settings.dataset.augmentation, len(chosen), data.image_size, order),
                    training_set.images[chosen],
                ),
                training_set.targets[chosen],
            )
            for chosen in shuffled_batches(len(training_set.images), recipe.batch_size, order)
        )
        train_epoch(theta, optimizer, network, soft_cross_entropy, batches)
    return network, theta
