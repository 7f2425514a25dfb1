"""Evaluation: fresh networks trained on one small set alone, tested once on the balanced test set (method.md 5)."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.context import Context, generator
from engine.data.dataset import LongTailedData, pick_real_images
from engine.losses import target_probabilities
from engine.matching.synthetic import Synthetic
from engine.nets.functional import FlatNetwork
from engine.run.events import Evaluated
from engine.run.folder import read_json, write_json
from engine.run.metrics import group_means
from engine.run.settings import NetworkName
from engine.training.accuracy import balanced, per_class_accuracy
from engine.training.from_scratch import Names, TrainingSet, networks_at_once, release_learners, train_from_scratch
from engine.training.gradients import in_groups


class Result(TypedDict):
    """One trained network: accuracy per class in percent, and the lengths of its classifier's rows."""

    per_class: list[float]
    norms: list[float]


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
    """Trains and tests `repeats` fresh networks, some at once; those of an interrupted run are read back."""
    results = _remembered(context, subject, arch)[:repeats]
    for _ in results:
        progress()
    group = networks_at_once(context, data, arch, repeats)

    def train(numbers: Sequence[int]) -> list[Result]:
        sets = [subject.of_repeat(number) for number in numbers]
        names: list[Names] = [("evaluate", subject.key, subject.iteration or 0, arch, number) for number in numbers]
        network, weights = train_from_scratch(context, data, sets, arch, names)
        return [_tested(data, network, theta) for theta in weights]

    for numbers, trained in in_groups(context, range(len(results), repeats), group, train, release_learners):
        # One file for what was trained at once: a kill leaves all of it or nothing.
        write_json(_result_path(context, subject, arch, numbers[0]), trained)
        for result in trained:
            results.append(result)
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
        group_means(mean_per_class, data.groups),
        [statistics.fmean(column) for column in zip(*norms, strict=True)],
    )


def _remembered(context: Context, subject: Subject, arch: NetworkName) -> list[Result]:
    """What is on disk of the networks 0, 1, ...; a damaged file costs the training of what follows, no more."""
    results: list[Result] = []
    while found := read_json(_result_path(context, subject, arch, len(results))):
        results += found
    return results


def _result_path(context: Context, subject: Subject, arch: NetworkName, first: int) -> Path:
    at = "" if subject.iteration is None else f"-{subject.iteration:06d}"
    return context.folder.evaluations / f"{subject.key}{at}-{arch}-{first}.json"


def _tested(data: LongTailedData, network: FlatNetwork, theta: Tensor) -> Result:
    per_class: list[float] = per_class_accuracy(network, theta, data.test_images, data.test_labels).tolist()
    return {"per_class": per_class, "norms": network.classifier_norms(theta)}
