"""The teacher: debiased networks, trained on all images, whose mean logits label real and synthetic images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.nets.functional import FlatNetwork, Forward
from engine.training.accuracy import in_test_batches


@dataclass(frozen=True)
class Teacher:
    """Networks of one architecture with their weights (P,) each; `per_class`: their test accuracies, (C,) each."""

    network: FlatNetwork
    weights: Sequence[Tensor]
    per_class: Sequence[Tensor]

    @torch.no_grad()
    def logits(self, images: Tensor, features: Forward | None = None) -> Tensor:
        """The mean of the networks' logits, (N, C), of images (N, channels, H, W).

        features: a fast form of the network's, for many calls.
        """

        def classify(theta: Tensor, batch: Tensor) -> Tensor:
            of_batch = (features or self.network.features)(theta, batch)
            return F.linear(of_batch, *self.network.classifier_weights(theta))

        return torch.stack([in_test_batches(classify, theta, images) for theta in self.weights]).mean(dim=0)

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """What the first network's classifier sees of images (N, channels, H, W): (N, F)."""
        return in_test_batches(self.network.features, self.weights[0], images)
