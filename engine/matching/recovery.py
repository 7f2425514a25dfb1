"""Recovery (RLDD): images to which the teacher answers as it does to real ones of all classes alike, layer by layer.

Formulas and what differs from the published code: docs/method.md, section 11.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.cores import take_turn
from engine.data.crops import cropped, draw_crops, mirrored
from engine.data.dataset import LongTailedData
from engine.matching.synthetic import Synthetic
from engine.nets.functional import FlatNetwork
from engine.run.network_cost import TEST_IMAGES_AT_ONCE
from engine.run.synthesis import RecoverySettings
from engine.teachers import Teacher
from engine.training.sgd import half_cosine

# As published (RLDD, and EDC before it): Adam's betas, the sides of a patch in pixels, and the ratio of a crop's sides.
BETAS = (0.5, 0.9)
PATCH = 4
LARGEST_RATIO = 4 / 3

Statistics = list[Tensor]
"""Of each layer the means and variances of channels, of a convolution also those of patches: (N, numbers) each."""


def layer_statistics(network: FlatNetwork, theta: Tensor, images: Tensor) -> tuple[Tensor, Statistics, list[bool]]:
    """Logits (B, C), the statistics of each image (B, numbers) at weights theta (P,), and which are the first layer's.

    They are those of what each convolution and norm is given: its channels, and for a convolution its patches of 4x4
    pixels over all channels.
    """
    logits, inputs = network.with_layer_inputs(theta, images)
    statistics, of_first = [], []
    for number, (layer, values) in enumerate(inputs):
        squares = values.square()
        parts = _mean_and_variance(values.mean(dim=(2, 3)), squares.mean(dim=(2, 3)))
        if isinstance(layer, nn.Conv2d):
            rows, columns = (-(-side // PATCH) for side in values.shape[2:])
            if values.shape[2:] != (PATCH * rows, PATCH * columns):
                values = F.interpolate(values, (PATCH * rows, PATCH * columns), mode="bilinear")
                squares = values.square()
            of_patches = (
                F.avg_pool2d(plane.mean(dim=1, keepdim=True), PATCH).flatten(1) for plane in (values, squares)
            )
            parts += _mean_and_variance(*of_patches)
        statistics += parts
        of_first += [number == 0] * len(parts)
    return logits, statistics, of_first


def _mean_and_variance(mean: Tensor, mean_square: Tensor) -> list[Tensor]:
    return [mean, mean_square - mean.square()]


@torch.no_grad()
def class_statistics(network: FlatNetwork, theta: Tensor, data: LongTailedData) -> Statistics:
    """The mean statistics of each class's real images, (C, numbers) each."""
    by_class = []
    for c in range(data.num_classes):
        take_turn()
        images = data.train_images[data.train_labels == c]
        batches = images.split(TEST_IMAGES_AT_ONCE.get(images.device.type, 50))
        sums = [[part.sum(dim=0) for part in layer_statistics(network, theta, batch)[1]] for batch in batches]
        by_class.append([torch.stack(part).sum(dim=0) / len(images) for part in zip(*sums, strict=True)])
    return [torch.stack(part) for part in zip(*by_class, strict=True)]


def statistics_loss(
    statistics: Sequence[Tensor], targets: Sequence[Sequence[Tensor]], of_first: Sequence[bool], first_weight: float
) -> Tensor:
    """Half the lengths of the differences to each target, summed over targets and layers; all tensors (numbers,)."""
    lengths = [
        (first_weight if first else 1.0) * torch.linalg.vector_norm(target - own)
        for target_parts in targets
        for own, target, first in zip(statistics, target_parts, of_first, strict=True)
    ]
    return torch.stack(lengths).sum() / 2


class RecoveryStep(NamedTuple):
    """The set after an iteration, what the next one needs beside it, and, as of IterationResult, loss and draws."""

    synthetic: Synthetic
    extra: dict[str, Tensor]
    loss_rep: Tensor
    drawn: str
    loss_cls: None = None


@dataclass(frozen=True)
class Recovery:
    """Adam on the normalized pixels of the images, against one of the teacher's networks after the other.

    Normalized are pixels less their channel's mean, over its standard deviation. `data` has both, and the real images.
    `mirrors`: whether half of the crops are mirrored, which not all images bear (digits do not).
    """

    settings: RecoverySettings
    iterations: int
    teacher: Teacher
    data: LongTailedData
    mirrors: bool = True

    def step(
        self,
        synthetic: Synthetic,
        extra: dict[str, Tensor],
        iteration: int,
        generator: torch.Generator,
        lowered: float = 1.0,
    ) -> RecoveryStep:
        """Iteration number `iteration`; `extra` is that of the step before, or empty; lowered: factor of the step size.

        The label logits of the set are the teacher's, of the new images.
        """
        images = extra["normalized"].clone() if extra else self._valid(self._normalized(synthetic.images))
        number = iteration % len(self.teacher.weights)
        # None as long as this network has seen no images.
        averages = extra.get(f"statistics.{number}")
        losses, grads, after = [], [], []
        for batch, of_batch in enumerate(images.split(self.settings.batch_size)):
            take_turn()
            boxes = draw_crops(len(of_batch), self.settings.smallest_crop, LARGEST_RATIO, generator)
            boxes = mirrored(boxes, generator) if self.mirrors else boxes
            first = batch * self.settings.batch_size
            classes = torch.arange(first, first + len(of_batch), device=images.device) // synthetic.ipc
            before = None if averages is None else averages[batch]
            leaf = of_batch.detach().requires_grad_()
            loss, average = self._loss(leaf, boxes, classes, number, before)
            # Batch by batch: what one keeps for its way back is gone before the next one.
            grads.append(torch.autograd.grad(loss, leaf)[0])
            losses.append(loss.detach())
            after.append(average)
        images.grad = torch.cat(grads)
        moments = self._adam(images, extra, iteration, lowered)
        normalized = self._valid(images)
        whitened = self._whitened(normalized)
        statistics = {key: value for key, value in extra.items() if key.startswith("statistics.")}
        statistics[f"statistics.{number}"] = torch.stack(after)
        return RecoveryStep(
            Synthetic(whitened, self.teacher.label_logits(whitened), synthetic.beta),
            {"normalized": normalized} | moments | statistics,
            torch.stack(losses).mean(),
            f"network {number} of the teacher",
        )

    def _loss(
        self, normalized: Tensor, boxes: Tensor, classes: Tensor, number: int, before: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The loss of a batch (B, channels, H, W) of these classes (B,), and the average of its statistics (numbers,).

        The distances are those of the average over iterations; their derivative is taken as that of the present one.
        """
        theta, momentum = self.teacher.weights[number], self.settings.statistics_momentum
        images = self._whitened(cropped(normalized, boxes))
        logits, statistics, of_first = layer_statistics(self.teacher.network, theta, images)
        present = torch.cat([part.mean(dim=0) for part in statistics])
        average = present.detach()
        if before is not None:
            average = momentum * before + (1 - momentum) * average
        means = (average + present - present.detach()).split([part.shape[1] for part in statistics])
        by_class = self._class_statistics[number]
        targets = [[part.mean(dim=0) for part in by_class], [part[classes].mean(dim=0) for part in by_class]]
        distances = statistics_loss(means, targets, of_first, self.settings.first_layer_weight)
        return F.cross_entropy(logits, classes) + self.settings.statistics_weight * distances, average

    @functools.cached_property
    def _class_statistics(self) -> list[Statistics]:
        """For each of the teacher's networks; a pass over all real images, so not before the first iteration."""
        return [class_statistics(self.teacher.network, theta, self.data) for theta in self.teacher.weights]

    def _adam(self, images: Tensor, extra: dict[str, Tensor], iteration: int, lowered: float) -> dict[str, Tensor]:
        """Moves the images (S, channels, H, W) along their `grad`; returns Adam's two moments after it."""
        rate = lowered * self.settings.learning_rate * half_cosine(iteration / self.iterations)
        adam = torch.optim.Adam([images], rate, BETAS)
        if extra:
            # Clones, as Adam moves its moments in place.
            moments = {key: extra[key].clone() for key in ("exp_avg", "exp_avg_sq")}
            own = {"step": torch.tensor(float(iteration))} | moments
            adam.load_state_dict({"state": {0: own}, "param_groups": adam.state_dict()["param_groups"]})
        adam.step()
        return {key: adam.state[images][key] for key in ("exp_avg", "exp_avg_sq")}

    def _normalized(self, whitened: Tensor) -> Tensor:
        mean, std = self._channel_statistics(whitened)
        return (self.data.whitening.to_pixels(whitened) - mean) / std

    def _whitened(self, normalized: Tensor) -> Tensor:
        mean, std = self._channel_statistics(normalized)
        return self.data.whitening.train(normalized * std + mean)

    def _valid(self, normalized: Tensor) -> Tensor:
        """Clipped to pixels from 0 to 1."""
        mean, std = self._channel_statistics(normalized)
        return normalized.clamp(-mean / std, (1 - mean) / std)

    def _channel_statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        whitening = self.data.whitening
        mean, std = (values.to(like)[:, None, None] for values in (whitening.channel_mean, whitening.channel_std))
        return mean, std
