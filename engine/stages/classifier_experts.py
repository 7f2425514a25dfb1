"""Classifier experts: a representation expert's frozen backbone, its classifier trained on class-balanced batches."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.context import Context
from engine.data.dataset import LongTailedData
from engine.nets.flat import FlatNetwork
from engine.run.events import ExpertEpoch
from engine.run.expert_cache import about_classifier, classifier_epochs
from engine.run.settings import settings_hash
from engine.seeding import generator
from engine.training.accuracy import per_class_accuracy
from engine.training.epoch import train_epoch
from engine.training.experts import augmented_batches, obtain_experts
from engine.training.sampling import class_aware_batches
from engine.trajectories import ExpertStore, Recorder, Trajectory


def train_classifier_experts(
    context: Context,
    data: LongTailedData,
    network: FlatNetwork,
    representation: list[Trajectory],
    representation_store: ExpertStore,
) -> list[Trajectory]:
    """One for each representation expert, weights (epochs kept + 1, classifier parameters); its backbone is theirs."""
    keep = classifier_epochs(context.settings)
    store = ExpertStore(settings_hash(representation_store.key, context.settings.classifier_experts))
    store.describe(about_classifier(context.settings, representation_store.key))
    return obtain_experts(
        context,
        data,
        "classifier",
        store,
        len(representation),
        keep,
        lambda expert: _train(context, data, network, representation[expert], expert, keep),
    )


def _train(
    context: Context, data: LongTailedData, network: FlatNetwork, representation: Trajectory, expert: int, keep: int
) -> Trajectory:
    settings = context.settings.classifier_experts
    start = representation.last.to(context.device)
    head = start[network.classifier].clone()
    optimizer = torch.optim.SGD([head], settings.learning_rate, settings.momentum, weight_decay=settings.weight_decay)

    def classify(head: Tensor, images: Tensor) -> Tensor:
        # Features depend on the augmentation, so they are computed anew for every batch, but never differentiated.
        with torch.no_grad():
            features = network.features(start, images)
        return F.linear(features, *network.split_head(head))

    recorder = Recorder.started(head, keep)
    order = generator(context.settings.seed, "classifier", expert, "order")
    for epoch in range(1, settings.epochs + 1):
        batches = class_aware_batches(
            data.train_labels.cpu(), data.num_classes, settings.images_per_turn, settings.batch_size, order
        )
        loss = train_epoch(head, optimizer, classify, F.cross_entropy, augmented_batches(context, data, batches, order))
        recorder.record(head)
        context.emit(ExpertEpoch("classifier", expert, epoch, settings.epochs, loss))
        context.check_stop()
    theta = torch.cat([start[network.backbone], head])
    per_class = per_class_accuracy(network, theta, data.test_images, data.test_labels)
    return recorder.finish(head, per_class, network.classifier_norms(theta))
