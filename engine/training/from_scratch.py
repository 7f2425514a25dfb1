"""Fresh networks, and their training on small sets by the recipe of an evaluation (docs/method.md, section 5)."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from engine.compilation import evaluation_is_compiled
from engine.context import Context, derived_seed, generator
from engine.data.dataset import LongTailedData
from engine.nets import build_network
from engine.nets.functional import FlatNetwork
from engine.run.events import Emit
from engine.run.network_cost import NetworkCost, network_cost
from engine.run.settings import NetworkName, RunSettings
from engine.training.batches import TrainingStream, augmented_batches
from engine.training.gradients import training_gradient
from engine.training.groups import group_size
from engine.training.sgd import Gradient, Sgd, Step, TrainingState

# ---- Networks for a data set ----


def fresh_network(
    settings: RunSettings, data: LongTailedData, arch: NetworkName, *names: str | int
) -> tuple[FlatNetwork, Tensor]:
    """A network for the data, and weights (P,) on the data's device, which the seed and `names` alone decide."""
    seed = derived_seed(settings.seed, *names, "weights")
    module = build_network(arch, **_shape(settings, data)._asdict(), seed=seed)
    network = FlatNetwork(module)
    return network, network.flatten(module).to(data.train_images.device)


def cost_of(settings: RunSettings, data: LongTailedData, arch: NetworkName) -> NetworkCost:
    """Operations and activations of a network of these settings on this data."""
    return network_cost(arch, **_shape(settings, data)._asdict())


class _NetworkShape(NamedTuple):
    """The images (channels, image_size, image_size), the classes, and the ConvNet's width and depth."""

    channels: int
    classes: int
    image_size: int
    width: int
    depth: int


def _shape(settings: RunSettings, data: LongTailedData) -> _NetworkShape:
    experts = settings.experts
    return _NetworkShape(data.channels, data.num_classes, data.image_size, experts.width, experts.depth)


# ---- Training from scratch ----

Names = tuple[str | int, ...]
"""Names that seed one network: its weights, and the order and augmentation of the images that it is shown."""


@dataclass(frozen=True)
class TrainingSet:
    """A small set to train on: images (S, channels, H, W), target probabilities (S, C), and the learning rate."""

    images: Tensor
    targets: Tensor
    learning_rate: float


def networks_at_once(context: Context, data: LongTailedData, arch: NetworkName, networks: int) -> int:
    """How many of `networks` an evaluation trains at once."""
    settings = context.settings
    batch = min(settings.images_per_class * data.num_classes, settings.evaluate.batch_size)
    return group_size(networks, cost_of(settings, data, arch), batch, context.device)


def train_from_scratch(
    context: Context,
    data: LongTailedData,
    training_sets: Sequence[TrainingSet],
    arch: NetworkName,
    names: Sequence[Names],
) -> tuple[FlatNetwork, Tensor]:
    """One fresh network for each set, trained by `settings.evaluate`; the network, and the weights of all (G, P).

    All sets must have the same size. SGD with a tenth of the rate after the share `decay_at` of the epochs.
    """
    settings, recipe = context.settings, context.settings.evaluate
    compiled = evaluation_is_compiled(context, arch, cost_of(settings, data, arch))
    # Whether one or several, not how many: groups of any larger size share one compiled gradient.
    shape, group = _shape(settings, data), min(2, len(names))
    network, gradient = _network_and_gradient(arch, shape, group, context.device, compiled, context.emit)
    weights = [fresh_network(settings, data, arch, *of_network)[1] for of_network in names]
    state = TrainingState.started(weights, [training_set.learning_rate for training_set in training_sets])
    step = Step(state, gradient, Sgd(recipe.momentum, recipe.weight_decay))
    generators = [generator(settings.seed, *of_network, "order") for of_network in names]
    streams = [
        TrainingStream.shuffled(own.images, own.targets, recipe.batch_size, recipe.epochs, draws)
        for own, draws in zip(training_sets, generators, strict=True)
    ]
    batches = augmented_batches(streams, settings.dataset.augmentation)
    steps = math.ceil(len(training_sets[0].images) / recipe.batch_size)
    for images, targets in itertools.islice(batches, steps * math.ceil(recipe.decay_at * recipe.epochs)):
        step(images, targets)
    state.rate.mul_(0.1)
    for images, targets in batches:
        step(images, targets)
    return network, state.theta


def release_compiled_networks() -> None:
    """Frees the memory of what was compiled and captured as CUDA graphs for the networks of evaluations."""
    _network_and_gradient.cache_clear()


@functools.cache
def _network_and_gradient(
    arch: NetworkName, shape: _NetworkShape, group: int, device: torch.device, compiled: bool, emit: Emit
) -> tuple[FlatNetwork, Gradient]:
    """Cached, so that a process compiles it once; its arguments are all that the compiled code depends on."""
    network = FlatNetwork(build_network(arch, **shape._asdict(), seed=0))
    return network, training_gradient(network, group, device, compiled, emit=emit)
