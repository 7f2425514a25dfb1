"""GLMC, a debiased teacher: global and local mixture consistency, cumulative learning (Du et al., CVPR 2023).

Two views of each batch, mixed as a whole (mixup) and by a box (CutMix) with a batch that is drawn more evenly over
classes. A plain head learns the mixed labels, a balanced one those weighted against the class shares, which counts more
from epoch to epoch; and the features of one view are to tell those of the other. The teacher keeps the balanced head.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from engine.context import derived_seed, generator
from engine.data.augment import apply, draw
from engine.data.dataset import LongTailedData
from engine.nets.architectures import ConvNet
from engine.nets.convnet_derivatives import ConvNetDerivatives
from engine.nets.functional import FlatNetwork, Forward, in_precision
from engine.nets.norm_pool_cpp import cpp_norm_pool
from engine.run.settings import AugmentationName, RunSettings
from engine.training.batches import shuffled_batches
from engine.training.long_tailed import EpochTraining, weighted_batches
from engine.training.sgd import Batch, Gradient, Sgd, half_cosine

RESAMPLING_EXPONENT, LABEL_EXPONENT = 0.2, 0.8
"""An image of the second batch is drawn by n_c^-0.2; a label of the balanced head weighs n_c^-0.8 (official code)."""
PROJECTION = 128


class _Heads(nn.Module):
    """What is trained on the features (B, F) beside the network's own classifier, which is the balanced head."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.plain = nn.Linear(features, classes)
        self.projection = nn.Linear(features, PROJECTION)
        self.predictor = nn.Linear(PROJECTION, PROJECTION)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of the plain head (B, C), projection and its prediction of the other view's, (B, PROJECTION) each."""
        projection = self.projection(features)
        return self.plain(features), projection, self.predictor(projection)


class Glmc:
    """The loss at weights (P + H,): the network's theta, its classifier the balanced head, then the other heads.

    class_counts: train images of each class.
    """

    def __init__(self, network: FlatNetwork, class_counts: list[int], seed: int) -> None:
        features = network.classifier_weights(torch.empty(network.num_parameters))[0].shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self._heads = _Heads(features, network.num_classes)
        self._network, weights = network, torch.tensor(class_counts, dtype=torch.float64) ** -LABEL_EXPONENT
        self._label_weights = weights / weights.sum() * len(class_counts)

    @property
    def heads(self) -> Tensor:
        """The heads' weights (H,) at the start."""
        return nn.utils.parameters_to_vector(self._heads.parameters()).detach()

    def loss(self, features: Tensor, classifiers: Tensor, targets: Tensor, plain_share: float) -> Tensor:
        """The loss, a scalar, of features (2 B, F) of both views one after the other and mixed labels (B, C).

        classifiers: the balanced head and the other heads, one vector. plain_share: how much the plain head counts.
        """
        sizes = self._network.num_parameters - self._network.backbone.stop, len(self.heads)
        balanced, others = classifiers.split(sizes)
        logits = F.linear(features, *self._network.split_classifier(balanced))
        plain, projection, prediction = functional_call(self._heads, self._by_name(others), (features,))
        weights = (1 - plain_share) * self._label_weights.to(logits)
        log_likelihood = plain_share * plain.log_softmax(dim=1) + weights * logits.log_softmax(dim=1)
        first, second = projection.detach().chunk(2)
        # 1 - cosine, so that no loss is negative; its gradient is that of the cosine.
        apart = 1 - F.cosine_similarity(prediction, torch.cat([second, first]), dim=1)
        return (apart.sum() - (targets.repeat(2, 1) * log_likelihood).sum()) / len(targets)

    def _by_name(self, others: Tensor) -> dict[str, Tensor]:
        parameters = dict(self._heads.named_parameters())
        pieces = others.split([parameter.numel() for parameter in parameters.values()])
        return {name: piece.view_as(parameters[name]) for name, piece in zip(parameters, pieces, strict=True)}


def autograd_glmc(glmc: Glmc, network: FlatNetwork, features: Forward, plain_share: float) -> Gradient:
    """The plain form, which the other is tested against; `features`: those of the network, in some precision."""

    def gradient(theta: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        leaf = theta[0].detach().requires_grad_()
        seen = features(leaf[: network.num_parameters], images[0])
        loss = glmc.loss(seen, leaf[network.backbone.stop :], targets[0], plain_share)
        return loss.detach()[None], torch.autograd.grad(loss, leaf)[0][None]

    return gradient


def analytic_glmc(glmc: Glmc, passes: ConvNetDerivatives, plain_share: float) -> Gradient:
    """The same by the ConvNet's own passes; only what is on top of the features is left to autograd."""
    network = passes.network

    @torch.no_grad()
    def gradient(theta: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        own, above = theta[0, : network.num_parameters], theta[0, network.backbone.stop :]
        blocks = passes.blocks(own)
        saved, features = passes.forward(blocks, images[0])
        with torch.enable_grad():
            leaves = features.to(theta.dtype).requires_grad_(), above.clone().requires_grad_()
            loss = glmc.loss(*leaves, targets[0], plain_share)
            grad_features, grad_above = torch.autograd.grad(loss, leaves)
        backbone = passes.backward(blocks, saved, passes.lower(grad_features), weights=True).weights
        balanced, others = grad_above.split([network.num_parameters - network.backbone.stop, len(glmc.heads)])
        weight, bias = network.split_classifier(balanced)
        of_network = network.join(backbone | {"classifier.weight": weight, "classifier.bias": bias})
        return loss.detach()[None], torch.cat([of_network, others])[None]

    return gradient


# ---- Its batches and epochs ----


def glmc_training(
    settings: RunSettings,
    data: LongTailedData,
    network: FlatNetwork,
    start: Tensor,
    names: Sequence[str | int],
    compiled: bool,
) -> EpochTraining:
    """A network's training by GLMC from weights (P,); the trained ones (P + H,) begin with the network's own.

    names: seed heads and batches. compiled: in C++ where it is a ConvNet on a CPU; all others are trained by autograd.
    """
    recipe, device = settings.teacher, data.train_images.device
    glmc = Glmc(network, data.class_counts, derived_seed(settings.seed, *names, "heads"))
    in_cpp = compiled and device.type == "cpu" and network.architecture is ConvNet
    features = in_precision(network.features, recipe.precision, device)

    def gradient(epoch: int) -> Gradient:
        plain_share = 1 - ((epoch - 1) / recipe.epochs) ** 2
        if in_cpp:
            low_dtype = torch.bfloat16 if recipe.precision == "bf16" else None
            return analytic_glmc(glmc, ConvNetDerivatives(network, cpp_norm_pool(), low_dtype), plain_share)
        return autograd_glmc(glmc, network, features, plain_share)

    return EpochTraining(
        torch.cat([start, glmc.heads.to(start)]),
        gradient,
        lambda epoch: _mixed_batches(settings, data, generator(settings.seed, *names, "epoch", epoch)),
        lambda step, steps: recipe.learning_rate * half_cosine(step / steps),
        recipe.epochs,
        -(-len(data.train_labels) // recipe.batch_size),
        Sgd(recipe.momentum, recipe.weight_decay),
    )


def _mixed_batches(settings: RunSettings, data: LongTailedData, draws: torch.Generator) -> Iterator[Batch]:
    """Both views of each batch, (1, 2 B, channels, H, W), with its mixed labels (1, B, C)."""
    labels, size = data.train_labels.cpu(), settings.teacher.batch_size
    kinds = [kind for kind in ("flip", "crop") if kind in settings.dataset.augmentation]
    weights = torch.tensor(data.class_counts)[labels] ** -RESAMPLING_EXPONENT
    more_even = list(weighted_batches(weights, size, draws))
    for natural, other in zip(shuffled_batches(len(labels), size, draws), more_even, strict=True):
        share = float(torch.rand((), generator=draws))  # Beta(1, 1)
        own, mixed_in = ([_augmented(data, of, kinds, draws) for _ in range(2)] for of in (natural, other))
        whole = share * own[0] + (1 - share) * mixed_in[0]
        box = _box(data.image_size, share, draws).to(whole.device)
        views = torch.cat([whole, torch.where(box, mixed_in[1], own[1])])
        one_hot = [F.one_hot(labels[of], data.num_classes).to(views) for of in (natural, other)]
        yield views[None], (share * one_hot[0] + (1 - share) * one_hot[1])[None]


def _augmented(
    data: LongTailedData, indices: Tensor, kinds: Sequence[AugmentationName], draws: torch.Generator
) -> Tensor:
    images = data.train_images[indices.to(data.train_images.device)]
    for kind in kinds:
        images = apply(draw([kind], len(images), data.image_size, draws), images)
    return images


def _box(side: int, share: float, draws: torch.Generator) -> Tensor:
    """Where CutMix shows the other image, (side, side): a box of 1 - share of the area, as far as it is inside."""
    half = side * math.sqrt(1 - share) / 2
    row, column = (torch.rand(2, generator=draws) * side).tolist()
    place = torch.arange(side)
    return ((place - row).abs() < half)[:, None] & ((place - column).abs() < half)
