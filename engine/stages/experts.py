"""Representation experts: networks trained on the long-tailed images, recorded at every epoch that is read again."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from engine.context import Context
from engine.data.dataset import LongTailedData
from engine.nets.flat import FlatNetwork
from engine.run.events import ExpertEpoch
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
    """Where these experts are cached, under the hash of images, augmentation, expert settings and seed."""
    settings = context.settings
    return ExpertStore(
        settings_hash(data.fingerprint, list(settings.dataset.augmentation), settings.experts, settings.seed)
    )


def train_experts(context: Context, data: LongTailedData, network: FlatNetwork) -> list[Trajectory]:
    """All representation experts, weights (epochs kept + 1, P) each, from the cache where they are there."""
    settings, matching = context.settings.experts, context.settings.matching
    keep = min(settings.epochs, matching.max_start_epoch - 1 + matching.expert_epochs)
    store = representation_store(context, data)
    return obtain_experts(
        context,
        data,
        "representation",
        store,
        settings.num_experts,
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
