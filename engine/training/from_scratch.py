"""Fresh networks, and their training on small sets by the recipe of an evaluation (docs/method.md, section 5)."""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from engine.compilation import evaluation_is_compiled
from engine.context import Context, derived_seed, generator
from engine.data.dataset import LongTailedData
from engine.losses import TeacherLoss, TrainingLoss
from engine.nets import build_network
from engine.nets.functional import FlatNetwork, Forward, matmul_precision
from engine.run.events import Emit
from engine.run.network_cost import NetworkCost, network_cost
from engine.run.recipes import Recipe
from engine.run.settings import LabelRegime, NetworkName, Precision, RunSettings
from engine.teachers import Teacher
from engine.training.batches import TrainingStream, augmented_blocks
from engine.training.gradients import CROSS_ENTROPY, features_function, training_gradient
from engine.training.groups import group_size
from engine.training.sgd import AdamW, Batch, Gradient, Sgd, Step, TrainingState

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

TOLD_EVERY_SECONDS = 5.0
"""A network of an evaluation may take many minutes; how far it is goes to the events this often."""
Names = tuple[str | int, ...]
"""Names that seed one network: its weights, and the order and augmentation of the images that it is shown."""


@dataclass(frozen=True)
class TrainingSet:
    """A small set to train on: images (S, channels, H, W), target probabilities (S, C), and the learning rate.

    With a teacher, which labels each batch, the targets are the classes.
    """

    images: Tensor
    targets: Tensor
    learning_rate: float


def networks_at_once(
    context: Context, data: LongTailedData, arch: NetworkName, networks: int, regime: LabelRegime = "stored"
) -> int:
    """How many of `networks` an evaluation trains at once."""
    settings = context.settings
    batch = min(settings.images_per_class * data.num_classes, settings.recipe(regime).batch_size)
    return group_size(networks, cost_of(settings, data, arch), batch, context.device)


def train_from_scratch(
    context: Context,
    data: LongTailedData,
    training_sets: Sequence[TrainingSet],
    arch: NetworkName,
    names: Sequence[Names],
    regime: LabelRegime = "stored",
    teacher: Teacher | None = None,
    recipe: Recipe | None = None,
    under_way: Callable[[float], None] | None = None,
) -> tuple[FlatNetwork, Tensor]:
    """One fresh network for each set, trained by the recipe; the network, and the weights of all (G, P).

    All sets must have the same size. regime: the label regime, whose recipe it is unless another is given. teacher:
    labels each batch, in the online regime. under_way: told now and then which share of the training is done.
    """
    settings, recipe = context.settings, recipe or context.settings.recipe(regime)
    compiled = evaluation_is_compiled(context, arch, cost_of(settings, data, arch), regime)
    # Whether one or several, not how many: groups of any larger size share one compiled gradient.
    shape, group, loss = _shape(settings, data), min(2, len(names)), _loss(recipe, teacher)
    network, gradient = _network_and_gradient(
        arch, shape, group, context.device, compiled, settings.evaluate.precision, loss, context.emit
    )
    weights = [fresh_network(settings, data, arch, *of_network)[1] for of_network in names]
    state = TrainingState.started(weights, [training_set.learning_rate for training_set in training_sets])
    by_sgd = recipe.optimizer == "sgd"
    optimizer = Sgd(recipe.momentum, recipe.weight_decay) if by_sgd else AdamW(recipe.weight_decay)
    step = Step(state, gradient, optimizer)
    generators = [generator(settings.seed, *of_network, "order") for of_network in names]
    streams = [
        TrainingStream.shuffled(own.images, own.targets, recipe.batch_size, recipe.epochs, draws, recipe.cutmix)
        for own, draws in zip(training_sets, generators, strict=True)
    ]
    blocks = augmented_blocks(streams, recipe.augmentation)
    if teacher:
        blocks = _with_teacher_logits(blocks, teacher, _teacher_features(context, data, teacher, regime))
    steps = math.ceil(len(training_sets[0].images) / recipe.batch_size)
    decay_steps = [steps * epoch for epoch in recipe.decay_epochs]
    average, told = state.theta.clone(), time.monotonic()
    with matmul_precision(settings.evaluate.precision, context.device):
        for number, (images, targets) in enumerate(itertools.chain.from_iterable(blocks)):
            for _ in range(decay_steps.count(number)):
                state.rate.mul_(recipe.decay_factor)
            step(images, targets)
            if recipe.ema:
                average.lerp_(state.theta, 1 - recipe.ema)
            if under_way and time.monotonic() - told > TOLD_EVERY_SECONDS:
                under_way((number + 1) / (steps * recipe.epochs))
                told = time.monotonic()
    return network, average if recipe.ema else state.theta


def _loss(recipe: Recipe, teacher: Teacher | None) -> TrainingLoss:
    if recipe.teacher_weight is None:
        return CROSS_ENTROPY
    assert teacher is not None, "only a teacher can label while a network trains"
    return TeacherLoss(recipe.teacher_weight)


def _teacher_features(context: Context, data: LongTailedData, teacher: Teacher, regime: LabelRegime) -> Forward:
    arch = context.settings.experts.network
    compiled = evaluation_is_compiled(context, arch, cost_of(context.settings, data, arch), regime)
    return features_function(teacher.network, context.device, compiled, context.settings.evaluate.precision)


def _with_teacher_logits(blocks: Iterator[list[Batch]], teacher: Teacher, features: Forward) -> Iterator[list[Batch]]:
    """The batches with targets (G, B, 2 C) as TeacherLoss takes them: the teacher's logits of the images are added."""
    for block in blocks:
        # All batches that were prepared together at once: a teacher is fastest on many images.
        shown = [images.flatten(0, 1) for images, _ in block]
        logits = teacher.logits(torch.cat(shown), features).split([len(images) for images in shown])
        yield [
            (images, torch.cat([own.view_as(targets), targets], dim=-1))
            for (images, targets), own in zip(block, logits, strict=True)
        ]


def release_compiled_networks() -> None:
    """Frees the memory of what was compiled and captured as CUDA graphs for the networks of evaluations."""
    _network_and_gradient.cache_clear()


@functools.cache
def _network_and_gradient(
    arch: NetworkName,
    shape: _NetworkShape,
    group: int,
    device: torch.device,
    compiled: bool,
    precision: Precision,
    loss: TrainingLoss,
    emit: Emit,
) -> tuple[FlatNetwork, Gradient]:
    """Cached, so that a process compiles it once; its arguments are all that the compiled code depends on."""
    network = FlatNetwork(build_network(arch, **shape._asdict(), seed=0))
    return network, training_gradient(network, group, device, compiled, precision, emit, loss)
