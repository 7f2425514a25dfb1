"""Representation experts: networks trained on the long-tailed images, recorded at every epoch that is read again."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.compilation import experts_form
from engine.context import Context, generator
from engine.data.dataset import LongTailedData
from engine.nets.functional import FlatNetwork, Forward, matmul_precision
from engine.run.compile_policy import Form, compiling_experts_pays
from engine.run.events import ExpertEpoch
from engine.run.expert_cache import (
    TRAINING_VERSION,
    about_classifier,
    about_representation,
    classifier_epochs,
    representation_epochs,
    trained_alike,
)
from engine.run.settings import settings_hash
from engine.training.accuracy import all_features, per_class_accuracy
from engine.training.batches import TrainingStream, augmented_batches, augmented_blocks, class_aware_batches
from engine.training.from_scratch import cost_of, fresh_network
from engine.training.gradients import classifier_gradient, features_function, training_gradient
from engine.training.groups import group_size
from engine.training.sgd import Batch, Gradient, Gsam, Sgd, Step, TrainingState, train_epoch
from engine.trajectories import ExpertStore, Recorder, Trajectory, obtain_experts


def representation_store(context: Context, data: LongTailedData) -> ExpertStore:
    """Where these experts are cached, under the hash of all that changes their bytes and is known to us."""
    settings = context.settings
    own, augmentation = trained_alike(settings), list(settings.dataset.augmentation)
    machine = (context.device.type, _form(context, data))
    return ExpertStore(
        settings_hash(TRAINING_VERSION, data.fingerprint, augmentation, own, settings.seed, *machine),
        settings.experts.storage,
    )


def train_experts(context: Context, data: LongTailedData, network: FlatNetwork) -> list[Trajectory]:
    """All representation experts, weights (epochs kept + 1, P) each, from the cache where they are there."""
    settings, keep = context.settings.experts, representation_epochs(context.settings)
    images, cost = len(data.train_labels), cost_of(context.settings, data, settings.network)
    group = group_size(settings.num_experts, cost, min(images, settings.batch_size), context.device)
    form, kind = _form(context, data), context.device.type

    @functools.cache
    def gradient(at_once: int) -> Gradient:
        compiled = form != "eager"
        return training_gradient(network, at_once, context.device, compiled, settings.precision, context.emit)

    def train(experts: Sequence[int]) -> list[Trajectory]:
        with matmul_precision(settings.precision, context.device):
            return _train(context, data, network, gradient(min(2, len(experts))), experts, keep)

    store = representation_store(context, data)
    pays = compiling_experts_pays(context.settings, cost, images, kind)
    store.describe(about_representation(context.settings, kind, data.class_counts, form, pays))
    return obtain_experts(
        context, "representation", store, settings.num_experts, keep, group, train, gradient.cache_clear
    )


def _form(context: Context, data: LongTailedData) -> Form:
    cost = cost_of(context.settings, data, context.settings.experts.network)
    return experts_form(context, cost, len(data.train_labels))


def _train(
    context: Context,
    data: LongTailedData,
    network: FlatNetwork,
    gradient: Gradient,
    experts: Sequence[int],
    keep: int,
) -> list[Trajectory]:
    settings, seed = context.settings.experts, context.settings.seed
    weights = [
        fresh_network(context.settings, data, settings.network, "representation", expert)[1] for expert in experts
    ]
    trainees = TrainingState.started(weights, [settings.learning_rate] * len(experts))
    gsam = Gsam(settings.gsam_rho, settings.gsam_alpha) if settings.optimizer == "gsam" else None
    step = Step(trainees, gradient, Sgd(settings.momentum, settings.weight_decay), gsam)
    recorder = Recorder.started(trainees.theta, keep)
    draws = [generator(seed, "representation", expert, "order") for expert in experts]
    sources = [
        TrainingStream.shuffled(data.train_images, data.train_labels, settings.batch_size, settings.epochs, draw)
        for draw in draws
    ]
    batches = augmented_batches(sources, context.settings.dataset.augmentation)
    steps = -(-len(data.train_labels) // settings.batch_size)
    for epoch in range(1, settings.epochs + 1):
        losses = train_epoch(step, itertools.islice(batches, steps))
        recorder.record(trainees.theta)
        for expert, loss in zip(experts, losses, strict=True):
            context.emit(ExpertEpoch("representation", expert, epoch, settings.epochs, loss))
        context.check_stop()
    tested = [per_class_accuracy(network, theta, data.test_images, data.test_labels) for theta in trainees.theta]
    return recorder.finish(trainees.theta, tested, [network.classifier_norms(theta) for theta in trainees.theta])


# Classifier experts: a representation expert's frozen backbone, its classifier trained on class-balanced batches.


def train_classifier_experts(
    context: Context,
    data: LongTailedData,
    network: FlatNetwork,
    representation: list[Trajectory],
    representation_store: ExpertStore,
) -> list[Trajectory]:
    """One for each representation expert, weights (epochs kept + 1, classifier parameters); its backbone is theirs."""
    settings, keep = context.settings, classifier_epochs(context.settings)
    key = settings_hash(representation_store.key, settings.classifier_experts)
    store = ExpertStore(key, settings.experts.storage)
    store.describe(about_classifier(settings, representation_store.key))
    form = experts_form(context, cost_of(settings, data, settings.experts.network), len(data.train_labels))
    stage = _Stage(
        context,
        data,
        network,
        features_function(network, context.device, form != "eager"),
        classifier_gradient(network, context.device, context.emit),
        keep,
    )

    def train(experts: Sequence[int]) -> list[Trajectory]:
        return [stage.train(expert, representation[expert].last.to(context.device)) for expert in experts]

    # One at a time: nearly all of the work is features, and those come in large batches as it is.
    return obtain_experts(context, "classifier", store, len(representation), keep, 1, train)


@dataclass(frozen=True)
class _Stage:
    """What all of them share; `keep` is the last epoch that is recorded."""

    context: Context
    data: LongTailedData
    network: FlatNetwork
    features: Forward
    gradient: Gradient
    keep: int

    def train(self, expert: int, start: Tensor) -> Trajectory:
        """One, from the last weights (P,) of its representation expert."""
        context, data, network = self.context, self.data, self.network
        settings = context.settings.classifier_experts
        trainees = TrainingState.started([start[network.classifier]], [settings.learning_rate])
        step = Step(trainees, self.gradient, Sgd(settings.momentum, settings.weight_decay))
        recorder = Recorder.started(trainees.theta, self.keep)
        batches = self._batches(expert, start)
        steps = -(-max(data.class_counts) * data.num_classes // settings.batch_size)
        for epoch in range(1, settings.epochs + 1):
            losses = train_epoch(step, itertools.islice(batches, steps))
            recorder.record(trainees.theta)
            context.emit(ExpertEpoch("classifier", expert, epoch, settings.epochs, losses[0]))
            context.check_stop()
        theta = torch.cat([start[network.backbone], trainees.theta[0]])
        per_class = per_class_accuracy(network, theta, data.test_images, data.test_labels)
        return recorder.finish(trainees.theta, [per_class], [network.classifier_norms(theta)])[0]

    def _batches(self, expert: int, start: Tensor) -> Iterator[Batch]:
        """What the classifier sees at each step (1, B, F), and the labels (1, B).

        It depends on the augmentation, so it is computed anew each time, some steps ahead, and never differentiated.
        """
        settings, labels = self.context.settings.classifier_experts, self.data.train_labels.cpu()
        draws = generator(self.context.settings.seed, "classifier", expert, "order")
        epochs = (
            class_aware_batches(labels, self.data.num_classes, settings.images_per_turn, settings.batch_size, draws)
            for _ in range(settings.epochs)
        )
        order = itertools.chain.from_iterable(epochs)
        stream = TrainingStream(self.data.train_images, self.data.train_labels, order, draws)
        for block in augmented_blocks([stream], self.context.settings.dataset.augmentation):
            images = [images[0] for images, _ in block]
            features = all_features(self.features, start, torch.cat(images)).split([len(own) for own in images])
            yield from ((own[None], targets) for own, (_, targets) in zip(features, block, strict=True))
