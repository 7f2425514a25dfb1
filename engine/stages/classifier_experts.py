"""Classifier experts: a representation expert's frozen backbone, its classifier trained on class-balanced batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.compiling import experts_form
from engine.context import Context
from engine.data.dataset import LongTailedData
from engine.nets.flat import FlatNetwork
from engine.run.events import ExpertEpoch
from engine.run.expert_cache import about_classifier, classifier_epochs
from engine.run.settings import settings_hash
from engine.seeding import generator
from engine.training.accuracy import all_features, per_class_accuracy
from engine.training.batches import Source, augmented_blocks
from engine.training.experts import obtain_experts
from engine.training.forms import classifier_gradient, features_form
from engine.training.fresh import cost_of
from engine.training.gradient import Forward, Gradient
from engine.training.sampling import class_aware_batches
from engine.training.step import Batch, Sgd, Step, Trainees, train_epoch
from engine.trajectories import ExpertStore, Recorder, Trajectory


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
        features_form(network, context.device, form != "eager"),
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
        trainees = Trainees.started([start[network.classifier]], [settings.learning_rate])
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
        source = Source(self.data.train_images, self.data.train_labels, itertools.chain.from_iterable(epochs), draws)
        for block in augmented_blocks([source], self.context.settings.dataset.augmentation):
            images = [images[0] for images, _ in block]
            features = all_features(self.features, start, torch.cat(images)).split([len(own) for own in images])
            yield from ((own[None], targets) for own, (_, targets) in zip(features, block, strict=True))
