"""The teacher: debiased networks, trained on all images, whose mean logits label real and synthetic images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F

from engine.nets.functional import FlatNetwork, Forward
from engine.training.accuracy import in_test_batches


@dataclass(frozen=True)
class Teacher:
    """Networks of one architecture with their weights (P,) each; `per_class`: their test accuracies, (C,) each.

    `adjustment` (C,): what is taken from the mean logits, tau * log(class share); None: nothing. `temperature`: of the
    labels that are stored. `mean_per_class` (C,): the test accuracies of these logits, where they were tested.
    """

    network: FlatNetwork
    weights: Sequence[Tensor]
    per_class: Sequence[Tensor]
    adjustment: Tensor | None = None
    tau: float | None = None
    mean_per_class: Tensor | None = None
    temperature: float = 1.0

    @torch.no_grad()
    def logits(self, images: Tensor, features: Forward | None = None) -> Tensor:
        """The mean of the networks' logits, (N, C), of images (N, channels, H, W), less the adjustment.

        features: a fast form of the network's, for many calls.
        """

        def classify(theta: Tensor, batch: Tensor) -> Tensor:
            of_batch = (features or self.network.features)(theta, batch)
            return F.linear(of_batch, *self.network.classifier_weights(theta))

        mean = torch.stack([in_test_batches(classify, theta, images) for theta in self.weights]).mean(dim=0)
        return mean if self.adjustment is None else mean - self.adjustment

    def label_logits(self, images: Tensor) -> Tensor:
        """Logits (N, C) whose softmax is stored as soft labels: above temperature 1 softer than the teacher is sure."""
        return self.logits(images) / self.temperature

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """What the first network's classifier sees of images (N, channels, H, W): (N, F)."""
        return in_test_batches(self.network.features, self.weights[0], images)

    def tested(self, images: Tensor, labels: Tensor) -> Teacher:
        """The teacher with the accuracy in percent of its logits on each class; NaN for a class without images."""
        if len(self.weights) == len(self.per_class) == 1 and self.adjustment is None:
            return replace(self, mean_per_class=self.per_class[0])
        right = (self.logits(images).argmax(dim=1) == labels).double().cpu()
        classes = self.network.num_classes
        hits = torch.zeros(classes, dtype=torch.float64).index_add_(0, labels.cpu(), right)
        return replace(self, mean_per_class=100 * hits / torch.bincount(labels.cpu(), minlength=classes))

    def adjusted(self, tau: float, class_counts: Sequence[int]) -> Teacher:
        """The teacher less tau * log(class share): labels that lean to the head by as much lean to no class."""
        counts = torch.tensor(class_counts, device=self.weights[0].device, dtype=self.weights[0].dtype)
        return replace(self, adjustment=tau * (counts / counts.sum()).log(), tau=tau, mean_per_class=None)


# ---- ADSA: how much of the class shares a teacher's logits still hold ----

TAU_BOUNDS = (-1.0, 3.0)
"""Where tau is searched: 1 takes the whole prior of a plain network away, a debiased one needs less, or below 0."""
_GRID = 41


def own_class_spread(logits: Tensor, classes: Tensor, log_share: Tensor, tau: float) -> float:
    """The standard deviation over classes of the mean probability, in percent, that a class's images give to it.

    logits (N, C) less tau * log_share (C,), of images of `classes` (N,). Classes without images are left out.
    """
    own = (logits - tau * log_share).softmax(dim=1).gather(1, classes[:, None]).flatten()
    images = torch.bincount(classes, minlength=logits.shape[1])
    total = torch.zeros_like(log_share).index_add_(0, classes, own)
    return float((100 * total / images)[images > 0].std(correction=0))


def search_tau(logits: Tensor, classes: Tensor, class_counts: Sequence[int]) -> float:
    """The tau of the smallest spread (ADSA, arXiv 2511.17914), by a grid and then Brent's method beside its best point.

    No test image has a part in it: logits (N, C) are those of the images that are labelled, `classes` (N,) theirs.
    """
    counts = torch.tensor(class_counts, dtype=torch.float64)
    double, on_cpu, log_share = logits.double().cpu(), classes.cpu(), (counts / counts.sum()).log()

    def spread(tau: float) -> float:
        return own_class_spread(double, on_cpu, log_share, tau)

    # The spread may have several valleys, of which Brent's method alone would find any.
    grid = torch.linspace(*TAU_BOUNDS, _GRID, dtype=torch.float64).tolist()
    best, step = min(grid, key=spread), grid[1] - grid[0]
    found = minimize_scalar(spread, bounds=(best - step, best + step), method="bounded", options={"xatol": 1e-6})
    return float(min(found.x, best, key=spread))
