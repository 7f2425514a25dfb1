"""Evaluation: fresh networks, trained on one small set alone, tested on the balanced test set (docs/method.md, 5).

Each trained network is kept in the run folder, so that an interrupted evaluation goes on where it stopped. One that an
earlier run has trained alike is taken from the cache, but not of checks on the way: no two runs have those in common.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.nn import functional as F

from engine.checkpoints import record_seconds, training_seconds
from engine.compilation import evaluation_is_compiled
from engine.context import Context, Progress, generator
from engine.data.dataset import LongTailedData, content_hash
from engine.data.selection import pick_real_images
from engine.losses import one_hot, target_probabilities
from engine.manifest import device_name, versions
from engine.matching.synthetic import Synthetic, as_kept
from engine.nets.functional import FlatNetwork, matmul_precision
from engine.run import folder
from engine.run.checksums import sealed_json, sealed_safetensors
from engine.run.events import Emit, Evaluated, Warned
from engine.run.folder import read_verified, write_atomically, write_json
from engine.run.recipes import NetworkResult, rate_setting
from engine.run.settings import LabelRegime, NetworkName, RunSettings, settings_hash
from engine.teachers import Teacher
from engine.training.accuracy import class_figures, read_network_results, summary
from engine.training.from_scratch import (
    Names,
    TrainingSet,
    cost_of,
    fresh_network,
    networks_at_once,
    release_compiled_networks,
    train_from_scratch,
)
from engine.training.groups import in_groups

JUDGED = "judged-"
"""Begins the keys of sets between which a run chooses, by single images."""
MOST_IN_CONFUSION = 200
"""Of more classes no confusion matrix is kept: the file would be larger than the distilled set."""


@dataclass(frozen=True)
class EvaluationTarget:
    """What is evaluated: `training_set(n)` is the set that network number n is trained on.

    `name` and `iteration` identify it in events. `key` and `iteration` seed its networks and name their files, so that
    two targets that share both (a final set that is also the best) share their networks, while checks share none.
    regime: how its images are labelled; teacher: who labels them in the online regime. teacher_labels: real images have
    labels of the teacher's in the stored one.
    """

    name: str
    key: str
    iteration: int | None
    training_set: Callable[[int], TrainingSet]
    regime: LabelRegime = "stored"
    teacher: Teacher | None = None
    teacher_labels: bool = False


def evaluate(
    context: Context,
    data: LongTailedData,
    target: EvaluationTarget,
    arch: NetworkName,
    repeats: int,
    progress: Progress | None = None,
) -> Evaluated:
    """Trains and tests `repeats` fresh networks, some at once; those of an interrupted run are read back.

    `progress` is called once a network, and told how far those in training are. Emits and returns the summary over all
    networks.
    """
    settings, results = context.settings, _read_results(context, data, target, arch)[:repeats]
    for _ in results:
        if progress:
            progress()
    group = networks_at_once(context, data, arch, repeats, target.regime)
    teacher = target.teacher if target.regime == "online" else None

    def train(numbers: Sequence[int]) -> list[NetworkResult]:
        sets = [target.training_set(number) for number in numbers]
        names = [_names(target, arch, number) for number in numbers]
        key = None if target.key == "check" else evaluation_key(context, data, target, arch, sets, names)
        if key and (cached := read_networks(key, len(sets), data.num_classes, context.emit)):
            return cached
        under_way = (lambda share: progress.under_way(share * len(numbers))) if progress else None
        began = time.monotonic()
        network, weights = train_from_scratch(
            context, data, sets, arch, names, target.regime, teacher, under_way=under_way
        )
        seconds = (time.monotonic() - began) / len(sets)
        if settings.export.model and _may_be_kept(target, arch, settings) and numbers[0] == 0:
            write_atomically(
                _weights_path(context, target, arch), sealed_safetensors(save({"theta": weights[0].cpu().clone()}))
            )
        results = [_tested(network, theta, data, target) for theta in weights]
        record_seconds(context.folder, _results_path(context, target, arch, 0).stem, seconds)
        if key:
            write_networks(key, results)
        return results

    for numbers, trained in in_groups(context, range(len(results), repeats), group, train, release_compiled_networks):
        # One file for all that was trained at once: a kill leaves all of it or nothing.
        write_json(_results_path(context, target, arch, numbers[0]), trained, sealed=True)
        for result in trained:
            results.append(result)
            if progress:
                progress()
        context.check_stop()
    event = summary((target.name, target.iteration, arch), results, data.groups, target.regime)
    seconds = training_seconds(context.folder).get(_results_path(context, target, arch, 0).stem)
    event = replace(event, teacher_labels=target.teacher_labels, tested_on=data.tested_on, seconds=seconds)
    if event.diverged:
        context.emit(_warning_of_divergence(event))
    context.emit(event)
    return event


def _names(target: EvaluationTarget, arch: NetworkName, number: int) -> Names:
    """Seeds network `number`: of what it is trained on, so that no result depends on what was evaluated before."""
    # Stored labels have no name of their own: so a run that knew no regimes keeps its networks.
    regime = () if target.regime == "stored" else (target.regime,)
    return ("evaluate", target.key, target.iteration or 0, *regime, arch, number)


def _may_be_kept(target: EvaluationTarget, arch: NetworkName, settings: RunSettings) -> bool:
    """Whether this may be the final set, in the run's first regime and on its first kind of network (pipeline.py)."""
    return (target.key, target.regime, arch) == ("set", settings.evaluate.labels[0], settings.evaluate.arch[0])


def first_network(
    context: Context, data: LongTailedData, target: EvaluationTarget, arch: NetworkName
) -> tuple[FlatNetwork, Tensor]:
    """The network and the weights (P,) of number 0 of an evaluation: kept by it, else trained once more."""
    network, fresh = fresh_network(context.settings, data, arch, "kept")
    with contextlib.suppress(OSError, KeyError, ValueError, SafetensorError):
        theta = load(read_verified(_weights_path(context, target, arch)))["theta"]
        if theta.shape == fresh.shape:
            return network, theta
    teacher = target.teacher if target.regime == "online" else None
    sets, names = [target.training_set(0)], [_names(target, arch, 0)]
    network, weights = train_from_scratch(context, data, sets, arch, names, target.regime, teacher)
    release_compiled_networks()
    return network, weights[0]


def _warning_of_divergence(event: Evaluated) -> Warned:
    what = f"evaluation of {event.subject}, {event.labels} labels, {event.arch}: the training of {event.diverged} of"
    what += f" {event.repeats} networks diverged; their accuracy says nothing of the images"
    return Warned(what, f"their weights are not finite: set a lower {rate_setting(event.subject, event.labels)}")


def _tested(network: FlatNetwork, theta: Tensor, data: LongTailedData, target: EvaluationTarget) -> NetworkResult:
    with matmul_precision("float32", theta.device):
        own = class_figures(network, theta, data.test_images, data.test_labels)
    result: NetworkResult = {
        "per_class": own.per_class.tolist(),
        "norms": network.classifier_norms(theta),
        "confidence": own.confidence.tolist(),
    }
    if target.key == "set" and data.num_classes <= MOST_IN_CONFUSION:  # not of checks: there are many
        result["confusion"] = own.confusion.tolist()
    if target.key.startswith(JUDGED):
        result["right"] = own.right.int().tolist()
    return result


def rights(context: Context, data: LongTailedData, target: EvaluationTarget, arch: NetworkName, repeats: int) -> Tensor:
    """Of each image that a judged target was tested on, the share of its networks that put it into its class: (N,)."""
    results = _read_results(context, data, target, arch)[:repeats]
    return torch.tensor([result["right"] for result in results], dtype=torch.float64).mean(dim=0)


def summed_confusion(
    context: Context, data: LongTailedData, target: EvaluationTarget, arch: NetworkName, repeats: int
) -> list[list[int]] | None:
    """The confusion matrix of an evaluated target, summed over its networks; None where one of them has none."""
    results = _read_results(context, data, target, arch)[:repeats]
    matrices = [result["confusion"] for result in results if "confusion" in result]
    if not matrices or len(matrices) < repeats:
        return None
    summed: list[list[int]] = torch.tensor(matrices).sum(0).tolist()
    return summed


def synthetic_target(
    context: Context,
    data: LongTailedData,
    name: str,
    key: str,
    iteration: int,
    synthetic: Synthetic,
    regime: LabelRegime = "stored",
    teacher: Teacher | None = None,
) -> EvaluationTarget:
    """A synthetic set as it is kept, with its soft labels in the stored regime, else with its classes, in their order.

    The stored regime's step size is the learnt beta unless the settings name one.
    """
    settings = context.settings
    images = data.partition.decoded(as_kept(synthetic.images, settings.export.images))
    if regime == "stored":
        rate = settings.evaluate.learning_rate
        targets = target_probabilities(synthetic.label_logits, settings.has_soft_labels)
        training_set = TrainingSet(images, targets, float(synthetic.beta) if rate == "learnt" else rate)
    else:
        like = synthetic.label_logits
        classes = torch.arange(like.shape[1], device=like.device).repeat_interleave(settings.images_per_class)
        training_set = TrainingSet(images, one_hot(classes, like), _rate_of_all_sets(settings, regime))
    return EvaluationTarget(name, key, iteration, lambda number: training_set, regime, teacher)


def random_target(
    context: Context, data: LongTailedData, regime: LabelRegime = "stored", teacher: Teacher | None = None
) -> EvaluationTarget:
    """Random real images at the same IPC, drawn anew for every network, but the same ones in each regime.

    Whole images, also where the set holds mini-images: this is what a person has without any method. Their labels are
    their classes; in the stored regime a teacher's where the run's start has those.
    """
    settings = context.settings
    by_teacher = teacher if regime == "stored" and settings.teacher_labels_start else None

    def draw_set(number: int) -> TrainingSet:
        chosen = pick_real_images(data, settings.ipc, generator(settings.seed, "random", number))
        images = data.train_images[chosen]
        targets = F.one_hot(data.train_labels[chosen], data.num_classes).to(images.dtype)
        if by_teacher:
            targets = by_teacher.label_logits(images).softmax(dim=1)
        return TrainingSet(images, targets, _rate_of_all_sets(settings, regime))

    return EvaluationTarget("random", "random", None, draw_set, regime, teacher, teacher_labels=by_teacher is not None)


def _rate_of_all_sets(settings: RunSettings, regime: LabelRegime) -> float:
    """The step size of sets without a learnt one."""
    match regime:
        case "hard":
            return settings.hard.learning_rate
        case "stored":
            return settings.evaluate.real_learning_rate
        case "online":
            return settings.online.learning_rate


def _read_results(
    context: Context, data: LongTailedData, target: EvaluationTarget, arch: NetworkName
) -> list[NetworkResult]:
    """The results of networks 0, 1, ... on disk; reading ends at a missing or damaged file, whose networks are redone.

    A file is named by its first network and holds its whole group, so the next file's number is how many were read.
    """
    results: list[NetworkResult] = []
    judged = len(data.test_labels) if target.key.startswith(JUDGED) else 0
    while group := read_network_results(
        _results_path(context, target, arch, len(results)), data.num_classes, context.emit
    ):
        if any(len(one.get("right", [])) != judged for one in group):
            break
        results += group
    return results


def _weights_path(context: Context, target: EvaluationTarget, arch: NetworkName) -> Path:
    return _results_path(context, target, arch, 0).with_suffix(".safetensors")


def _results_path(context: Context, target: EvaluationTarget, arch: NetworkName, first: int) -> Path:
    at = "" if target.iteration is None else f"-{target.iteration:06d}"
    regime = "" if target.regime == "stored" else f"-{target.regime}"
    return context.folder.evaluations / f"{target.key}{at}{regime}-{arch}-{first}.json"


# ---- Networks that an earlier run has trained alike ----
#
# Runs of one sweep evaluate the same sets: random images are the same for every method, and methods that start alike
# have the same initialization. <cache>/evaluations/<hash>.json holds the networks that were trained at once: on a GPU,
# those of a group round otherwise than each alone.

EVALUATION_VERSION = 1
"""Goes up when a change of the code changes what such a network becomes, so that older ones are not taken."""


def evaluation_key(
    context: Context,
    data: LongTailedData,
    target: EvaluationTarget,
    arch: NetworkName,
    sets: Sequence[TrainingSet],
    names: Sequence[Names],
) -> str:
    """The hash of all that decides what these networks become, which are trained at once."""
    settings, experts = context.settings, context.settings.experts
    trained_on = content_hash(tensor for own in sets for tensor in (own.images, own.targets))
    networks = [arch, *({experts.network} if target.regime == "online" else ())]
    forms = [evaluation_is_compiled(context, own, cost_of(settings, data, own), target.regime) for own in networks]
    teacher = target.teacher if target.regime == "online" else None
    labelled_by = teacher and content_hash([*teacher.weights, *filter(torch.is_tensor, [teacher.adjustment])])
    machine = [device_name(context.device), torch.get_num_threads(), *versions().values()]
    return settings_hash(
        ["evaluation", EVALUATION_VERSION],
        [trained_on, [own.learning_rate for own in sets], list(map(list, names)), settings.seed, labelled_by],
        [asdict(settings.recipe(target.regime)), settings.evaluate.precision, target.regime, networks],
        [data.channels, data.num_classes, data.image_size, experts.width, experts.depth, data.test_hash],
        [forms, machine, data.num_classes <= MOST_IN_CONFUSION],
    )


def read_networks(key: str, count: int, classes: int, emit: Emit) -> list[NetworkResult] | None:
    """The results of these networks in the cache; None where there are none, or, with a Warned, a damaged file."""
    path = folder.evaluations_root() / f"{key}.json"
    results = read_network_results(path, classes, emit)
    if len(results) != count:
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # the time of its last use, by which the cache is pruned
    return results


def write_networks(key: str, results: list[NetworkResult]) -> None:
    """Keeps the results for later runs. Not synced to the disk: one that a power failure damages is trained again."""
    write_atomically(folder.evaluations_root() / f"{key}.json", sealed_json(results, indent=None), sync=False)
