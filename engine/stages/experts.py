"""Representation experts: networks trained on the long-tailed images, recorded at every epoch that is read again."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from engine.context import Context
from engine.data.dataset import LongTailedData
from engine.nets.flat import FlatNetwork
from engine.run.events import ExpertEpoch
from engine.run.expert_cache import TRAINING_VERSION, about_representation, representation_epochs
from engine.run.settings import settings_hash
from engine.seeding import generator
from engine.training.accuracy import per_class_accuracy
from engine.training.epoch import train_epoch
from engine.training.experts import augmented_batches, obtain_experts
from engine.training.fresh import fresh_network
from engine.training.gsam import Gsam
from engine.training.sampling import shuffled_batches
from engine.trajectories import ExpertStore, Recorder, Trajectory


def representation_store(context: Context, data: LongTailedData) -> ExpertStore:
    """Where these experts are cached, under the hash of images, augmentation, expert settings, seed, device."""
    settings = context.settings
    # Each expert has a seed of its own, so that asking for more of them keeps those that are there.
    own = settings.experts.model_dump(mode="json", exclude={"num_experts"})
    augmentation = list(settings.dataset.augmentation)
    return ExpertStore(
        settings_hash(TRAINING_VERSION, data.fingerprint, augmentation, own, settings.seed, context.device.type)
    )


def train_experts(context: Context, data: LongTailedData, network: FlatNetwork) -> list[Trajectory]:
    """All representation experts, weights (epochs kept + 1, P) each, from the cache where they are there."""
    keep = representation_epochs(context.settings)
    store = representation_store(context, data)
    store.describe(about_representation(context.settings, context.device.type, data.class_counts))
    return obtain_experts(
        context,
        data,
        "representation",
        store,
        context.settings.experts.num_experts,
        keep,
        lambda expert: _train(context, data, network, expert, keep),
    )


def _train(context: Context, data: LongTailedData, network: FlatNetwork, expert: int, keep: int) -> Trajectory:
    settings, seed = context.settings.experts, context.settings.seed
    _, theta = fresh_network(context.settings, data, settings.network, "representation", expert)
    optimizer = torch.optim.SGD([theta], settings.learning_rate, settings.momentum, weight_decay=settings.weight_decay)
    gsam = Gsam(settings.gsam_rho, settings.gsam_alpha) if settings.optimizer == "gsam" else None
    recorder = Recorder.started(theta, keep)
    order = generator(seed, "representation", expert, "order")
    for epoch in range(1, settings.epochs + 1):
        batches = shuffled_batches(len(data.train_labels), settings.batch_size, order)
        loss = train_epoch(
            theta, optimizer, network, F.cross_entropy, augmented_batches(context, data, batches, order), gsam
        )
        recorder.record(theta)
        context.emit(ExpertEpoch("representation", expert, epoch, settings.epochs, loss))
        context.check_stop()
    per_class = per_class_accuracy(network, theta, data.test_images, data.test_labels)
    return recorder.finish(theta, per_class, network.classifier_norms(theta))
