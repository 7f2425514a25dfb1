"""Representation experts: networks trained on the long-tailed images, recorded at every epoch that is read again."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

from engine.compiling import experts_form
from engine.context import Context
from engine.data.dataset import LongTailedData
from engine.nets.flat import FlatNetwork
from engine.run.events import ExpertEpoch
from engine.run.expert_cache import TRAINING_VERSION, about_representation, representation_epochs, trained_alike
from engine.run.settings import settings_hash
from engine.run.worth import Form, compiling_experts_pays
from engine.seeding import generator
from engine.training.accuracy import per_class_accuracy
from engine.training.batches import Source, augmented_batches
from engine.training.experts import obtain_experts
from engine.training.forms import group_size, training_gradient
from engine.training.fresh import cost_of, fresh_network
from engine.training.gradient import Gradient
from engine.training.gsam import Gsam
from engine.training.precision import products
from engine.training.step import Sgd, Step, Trainees, train_epoch
from engine.trajectories import ExpertStore, Recorder, Trajectory


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
        with products(settings.precision, context.device):
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
    trainees = Trainees.started(weights, [settings.learning_rate] * len(experts))
    gsam = Gsam(settings.gsam_rho, settings.gsam_alpha) if settings.optimizer == "gsam" else None
    step = Step(trainees, gradient, Sgd(settings.momentum, settings.weight_decay), gsam)
    recorder = Recorder.started(trainees.theta, keep)
    draws = [generator(seed, "representation", expert, "order") for expert in experts]
    sources = [
        Source.shuffled(data.train_images, data.train_labels, settings.batch_size, settings.epochs, draw)
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
