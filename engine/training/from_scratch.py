"""Fresh networks trained on small sets by the recipe of an evaluation, several at once (method.md section 5)."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.compilation import evaluation_compiles
from engine.context import Context, derived_seed, generator
from engine.data.dataset import LongTailedData
from engine.nets import build_network
from engine.nets.functional import FlatNetwork
from engine.run.events import Emit
from engine.run.network_cost import NetworkCost, network_cost
from engine.run.settings import NetworkName, RunSettings
from engine.training.batches import Source, augmented_batches
from engine.training.gradients import training_gradient
from engine.training.groups import group_size
from engine.training.sgd import Gradient, Sgd, Step, Trainees

# Networks for a data set: fresh ones, their weights drawn from a named seed, and what they cost by their shape.


def fresh_network(
    settings: RunSettings, data: LongTailedData, arch: NetworkName, *names: str | int
) -> tuple[FlatNetwork, Tensor]:
    """The network and its weights (P,) on the data's device; the same names give the same weights."""
    module = build_network(
        arch,
        channels=data.channels,
        classes=data.num_classes,
        image_size=data.image_size,
        width=settings.experts.width,
        depth=settings.experts.depth,
        seed=derived_seed(settings.seed, *names, "weights"),
    )
    network = FlatNetwork(module)
    return network, network.flatten(module).to(data.train_images.device)


def cost_of(settings: RunSettings, data: LongTailedData, arch: NetworkName) -> NetworkCost:
    """Operations and activations of such a network on this data."""
    return network_cost(
        arch,
        channels=data.channels,
        classes=data.num_classes,
        image_size=data.image_size,
        width=settings.experts.width,
        depth=settings.experts.depth,
    )


Names = tuple[str | int, ...]
"""The seed of one network: of its weights, and of the order and augmentation of what it is shown."""


@dataclass(frozen=True)
class TrainingSet:
    """A small set to train from: images (S, channels, H, W), target probabilities (S, C), SGD step size."""

    images: Tensor
    targets: Tensor
    learning_rate: float


def networks_at_once(context: Context, data: LongTailedData, arch: NetworkName, networks: int) -> int:
    """How many of `networks` are trained together."""
    settings = context.settings
    batch = min(settings.ipc * data.num_classes, settings.evaluate.batch_size)
    return group_size(networks, cost_of(settings, data, arch), batch, context.device)


def train_from_scratch(
    context: Context,
    data: LongTailedData,
    training_sets: Sequence[TrainingSet],
    arch: NetworkName,
    names: Sequence[Names],
) -> tuple[FlatNetwork, Tensor]:
    """One fresh network a set, trained by the recipe of `settings.evaluate`; the network and its weights (G, P).

    The sets have one size. SGD, one tenth of the rate after `decay_at`.
    """
    settings, recipe = context.settings, context.settings.evaluate
    shape = (data.channels, data.num_classes, data.image_size, settings.experts.width, settings.experts.depth)
    compiled = evaluation_compiles(context, arch, cost_of(settings, data, arch))
    network, gradient = _learner(arch, *shape, min(2, len(names)), context.device, compiled, context.emit)
    weights = [fresh_network(settings, data, arch, *own)[1] for own in names]
    trainees = Trainees.started(weights, [training_set.learning_rate for training_set in training_sets])
    step = Step(trainees, gradient, Sgd(recipe.momentum, recipe.weight_decay))
    draws = [generator(settings.seed, *own, "order") for own in names]
    sources = [
        Source.shuffled(own.images, own.targets, recipe.batch_size, recipe.epochs, draw)
        for own, draw in zip(training_sets, draws, strict=True)
    ]
    batches = augmented_batches(sources, settings.dataset.augmentation)
    steps = math.ceil(len(training_sets[0].images) / recipe.batch_size)
    for images, targets in itertools.islice(batches, steps * math.ceil(recipe.decay_at * recipe.epochs)):
        step(images, targets)
    trainees.rate.mul_(0.1)
    for images, targets in batches:
        step(images, targets)
    return network, trainees.theta


def release_learners() -> None:
    """Lets go of what was captured and compiled for networks of evaluations, and with it of its memory."""
    _learner.cache_clear()


@functools.cache
def _learner(
    arch: NetworkName,
    channels: int,
    classes: int,
    image_size: int,
    width: int,
    depth: int,
    group: int,
    device: torch.device,
    compiled: bool,
    emit: Emit,
) -> tuple[FlatNetwork, Gradient]:
    """Made once in a process, so that it is compiled once: a function of its arguments alone."""
    shape = {"channels": channels, "classes": classes, "image_size": image_size, "width": width, "depth": depth}
    network = FlatNetwork(build_network(arch, **shape, seed=0))
    return network, training_gradient(network, group, device, compiled, emit=emit)
