"""The teacher stage: the run's classifier experts, or networks that are trained to be debiased.

Those are trained on all long-tailed images, one after another, and kept in the cache. No test image is looked at before
a network is done: its last weights are taken, whatever they reach.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from engine.compilation import teacher_backend
from engine.context import Context, generator
from engine.data.augment import apply, draw
from engine.data.dataset import LongTailedData
from engine.manifest import check_cached, origin_here
from engine.matching.synthetic import Synthetic
from engine.nets.functional import FlatNetwork, matmul_precision
from engine.run.compile_policy import StepBackend, compiling_teacher_pays
from engine.run.events import ExpertDone, ExpertEpoch, LabelsAdjusted, TeacherReady
from engine.run.expert_cache import (
    NO_EPOCHS,
    TRAINING_VERSION,
    about_teacher,
    epochs_kept,
    origin_of,
    teachers_trained_alike,
)
from engine.run.manifest import Origin
from engine.run.settings import settings_hash
from engine.teachers import Teacher, own_class_spread, search_tau
from engine.training.accuracy import balanced, per_class_accuracy
from engine.training.from_scratch import cost_of, fresh_network
from engine.training.glmc import glmc_training
from engine.training.gradients import training_gradient
from engine.training.long_tailed import EpochTraining, delete_checkpoint, long_tailed_training, newest_checkpoint
from engine.training.sgd import Gradient
from engine.trajectories import ExpertStore, Trajectory

VIEWS = 12
"""How often each starting image is seen, augmented anew, in the search of tau."""


def train_teacher(
    context: Context,
    data: LongTailedData,
    network: FlatNetwork,
    classifiers: list[Trajectory],
    last_weights: list[torch.Tensor],
) -> Teacher:
    """The teacher of `settings.teacher`, trained once and cached; emits TeacherReady."""
    settings = context.settings
    with context.stage("teacher", settings.teacher.networks if settings.trains_teacher else 1, "networks") as progress:
        if settings.trains_teacher:
            trained = _load_or_train(context, data, network, progress)
            weights, per_class = [own.last.to(context.device) for own in trained], [own.per_class for own in trained]
        else:
            weights, per_class = last_weights, [expert.per_class for expert in classifiers]
        teacher = Teacher(network, weights, per_class, temperature=settings.teacher.temperature)
        teacher = teacher.tested(data.test_images, data.test_labels)
        assert teacher.mean_per_class is not None
        by_class = teacher.mean_per_class
        context.emit(TeacherReady(settings.teacher.kind, len(weights), balanced(by_class), by_class.tolist()))
    return teacher


def train_teacher_network(context: Context, data: LongTailedData, network: FlatNetwork, number: int) -> ExpertStore:
    """One network of the teacher, into the cache, which is returned, while other processes train others."""
    with context.stage("teacher", 1, "networks") as progress:
        _load_or_train(context, data, network, progress, only=number)
    return _store(context, data)[0]


def adjust_labels(
    context: Context, data: LongTailedData, teacher: Teacher, start: Synthetic
) -> tuple[Synthetic, Teacher]:
    """The starting images with the teacher's labels, if it labels them, and the teacher: less the tau of ADSA on these.

    Both unchanged without `teacher.label_adjustment`. Emits LabelsAdjusted.
    """
    settings = context.settings
    if settings.teacher.label_adjustment == "none":
        return start, teacher
    classes = torch.arange(data.num_classes, device=context.device).repeat_interleave(settings.images_per_class)
    seen = data.partition.decoded(start.images)
    logits = torch.cat([teacher.logits(view) for view in _views(context, seen)])
    classes = classes.repeat(len(logits) // len(classes))
    tau = search_tau(logits, classes, data.class_counts)
    adjusted = teacher.adjusted(tau, data.class_counts).tested(data.test_images, data.test_labels)
    assert adjusted.mean_per_class is not None
    shares = torch.tensor(data.class_counts, dtype=logits.dtype, device=logits.device) / sum(data.class_counts)
    spread, before = (own_class_spread(logits, classes, shares.log(), of) for of in (tau, 0.0))
    by_class = adjusted.mean_per_class
    context.emit(LabelsAdjusted(tau, spread, before, balanced(by_class), by_class.tolist()))
    if not settings.teacher_labels_start:
        return start, adjusted
    # Taken from the labels that it has: a mini-image has that of the real image that it was (stages/initialize.py).
    label_logits = start.label_logits - tau * shares.log() / teacher.temperature
    return start._replace(label_logits=label_logits), adjusted


def _views(context: Context, images: Tensor) -> Iterator[Tensor]:
    """The images under all augmentations of the run, one after another, several times; themselves if there are none.

    A teacher knows the images that it was trained on by heart, those of a small class best, as they were shown: under
    one augmentation it would seem to favor the tail.
    """
    kinds, draws = context.settings.dataset.augmentation, generator(context.settings.seed, "label_adjustment")
    for _ in range(VIEWS if kinds else 1):
        view = images
        for kind in kinds:
            view = apply(draw([kind], len(view), view.shape[-1], draws), view)
        yield view


# ---- Networks of its own ----


def _store(context: Context, data: LongTailedData) -> tuple[ExpertStore, StepBackend]:
    """The cache of the teacher's networks, under the hash of all that changes their bytes, and how their steps run."""
    settings, arch = context.settings, context.settings.experts.network
    cost, device_type, images = cost_of(settings, data, arch), context.device.type, len(data.train_labels)
    pays = compiling_teacher_pays(settings, arch, cost, settings.teacher.epochs, images, device_type)
    backend = teacher_backend(context, "teacher", arch, pays)
    own, augmentation = teachers_trained_alike(settings), list(settings.dataset.augmentation)
    made_by = (TRAINING_VERSION, data.fingerprint, augmentation, own, settings.seed, device_type, backend)
    store = ExpertStore(settings_hash("teacher", *made_by), "float32", context.emit)
    store.describe(about_teacher(settings, device_type, data.class_counts, backend, pays))
    return store, backend


def _load_or_train(
    context: Context,
    data: LongTailedData,
    network: FlatNetwork,
    progress: Callable[[], None],
    only: int | None = None,
) -> list[Trajectory]:
    """The teacher's networks, or one, from the cache where they are there; each is on disk before the next begins."""
    settings, (store, backend) = context.settings, _store(context, data)
    numbers = range(settings.teacher.networks) if only is None else [only]
    here = origin_here(context.device, compiled=backend != "eager")
    training, networks = _trainings(context, data, network, backend != "eager"), []
    held = store.locked(context) if only is None else contextlib.nullcontext()
    with held, matmul_precision(settings.teacher.precision, context.device):
        paths = (store.path(number) for number in numbers)
        origins = [origin_of(path) for path in paths if epochs_kept(path) >= NO_EPOCHS]
        check_cached(context, "networks of the teacher", origins, here)
        for number in numbers:
            one = cached = store.load(number, NO_EPOCHS)
            if one is None:
                checkpoint = store.checkpoint(number)
                origin: Origin | None = here
                if begun := newest_checkpoint(checkpoint):
                    begun_by = origin_of(begun)
                    check_cached(context, "the teacher's network under way", [begun_by], here)
                    # One that two origins have trained is of none.
                    origin = here if begun_by and not begun_by.differences(here) else None
                one = _trained(context, data, network, training(number), checkpoint, number, origin)
                store.save(number, one, origin)
                delete_checkpoint(checkpoint)
            networks.append(one)
            accuracies, norms = one.per_class.tolist(), one.norms.tolist()
            context.emit(ExpertDone("teacher", number, cached is not None, balanced(one.per_class), accuracies, norms))
            progress()
    return networks


def _trainings(
    context: Context, data: LongTailedData, network: FlatNetwork, compiled: bool
) -> Callable[[int], EpochTraining]:
    """How each network is trained, by its number."""
    settings, recipe = context.settings, context.settings.teacher

    @functools.cache
    def plain_gradient() -> Gradient:
        return training_gradient(network, 1, context.device, compiled, recipe.precision, context.emit)

    def training(number: int) -> EpochTraining:
        names = ("teacher", recipe.kind, number)
        _, start = fresh_network(settings, data, settings.experts.network, *names)
        if recipe.kind == "glmc":
            return glmc_training(settings, data, network, start, names, compiled)
        made_by = network, start, plain_gradient()
        return long_tailed_training(settings, data, *made_by, "balanced_softmax", recipe.epochs, names)

    return training


def _trained(
    context: Context,
    data: LongTailedData,
    network: FlatNetwork,
    training: EpochTraining,
    checkpoint: Path,
    number: int,
    origin: Origin | None,
) -> Trajectory:
    """One network, of which only the last weights are kept."""

    def epoch_done(epoch: int, loss: float) -> None:
        context.emit(ExpertEpoch("teacher", number, epoch, training.epochs, loss))
        context.check_stop()

    trained = training.run(f"teacher, network {number + 1}", checkpoint, epoch_done, context.emit, origin)
    # What GLMC trains beside the network, its heads, comes after the network's own weights.
    theta = trained[: network.num_parameters]
    per_class = per_class_accuracy(network, theta, data.test_images, data.test_labels)
    return Trajectory(theta[None].cpu(), per_class, torch.tensor(network.classifier_norms(theta)))
