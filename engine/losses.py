"""Losses with their derivatives in closed form: of the student (DAM), and of the training of other networks.

DAM's special cases are soft and hard cross-entropy. Formulas: docs/method.md, sections 4 and 5 (the losses) and section
7 (derivatives).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.run.methods import MethodTraits
from engine.run.settings import MatchingSettings

StepLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The student's loss, a scalar, at weights (P,) on augmented images (B, channels, H, W) with label logits (B, C)."""


def dam_loss(logits: Tensor, targets: Tensor, weights: Tensor, adjustment: Tensor) -> Tensor:
    """Distribution-agnostic matching loss, a scalar (LTDD, DAM).

    -(1/B) sum_b sum_c weights_c * targets_bc * log softmax(logits_b - adjustment)_c.
    logits, targets: (B, C), targets sum to 1 a row; weights = g(n_c), adjustment = lambda * log s_c: (C,).
    """
    log_probabilities = F.log_softmax(logits - adjustment, dim=1)
    return -(weights * targets * log_probabilities).sum() / logits.shape[0]


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy against class probabilities, a scalar: DAM with lambda 0 and g = 1. logits, targets: (B, C)."""
    return F.cross_entropy(logits, targets)


def target_probabilities(label_logits: Tensor, learns_labels: bool) -> Tensor:
    """What a network is trained to, (B, C): softmax of learnt label logits (B, C), else one-hot at their argmax."""
    if learns_labels:
        return label_logits.softmax(dim=1)
    return one_hot(label_logits.argmax(dim=1), label_logits)


def one_hot(labels: Tensor, like: Tensor) -> Tensor:
    """Class indices (B,) as one-hot rows, in the shape and type of `like` (B, C)."""
    # F.one_hot checks the range of the classes: vmap cannot do that, and a GPU would have to be waited for.
    return (labels[:, None] == torch.arange(like.shape[1], device=like.device)).to(like.dtype)


@dataclass(frozen=True)
class StudentLoss:
    """The student's loss in phase rep, of logits (B, C) and target probabilities (B, C); weights, adjustment: (C,)."""

    weights: Tensor
    adjustment: Tensor

    @staticmethod
    def of(method: MethodTraits, settings: MatchingSettings, class_counts: list[int], like: Tensor) -> StudentLoss:
        """The loss of a method, in the type and on the device of `like`: DAM with its settings, or g = 1, lambda = 0.

        Weights that sum to 1 are the paper's; that they may sum to C (`dam_weight_total: classes`) is ours.
        """
        share = torch.tensor(class_counts, dtype=like.dtype, device=like.device) / sum(class_counts)
        weights, adjustment = torch.ones_like(share), torch.zeros_like(share)
        if method.student_loss == "dam":
            adjustment = settings.dam_smoothness * share.log()
            if settings.dam_weight == "share":
                weights = share * (len(class_counts) if settings.dam_weight_total == "classes" else 1)
        return StudentLoss(weights, adjustment)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        return dam_loss(logits, targets, self.weights, self.adjustment)

    def scaled(self, factor: float) -> StudentLoss:
        """The loss times `factor`."""
        return replace(self, weights=factor * self.weights)

    def grad_logits(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The derivative in the logits z, (B, C): (t p - w q) / B with p = softmax(z - adjustment), t = sum_c w q."""
        p, weighted = self._probabilities(logits), self.weights * targets
        # t is not 1: weighted targets do not sum to 1 a row, unlike plain cross-entropy's.
        return (weighted.sum(dim=1, keepdim=True) * p - weighted) / len(logits)

    def tangent(self, logits: Tensor, targets: Tensor, d_logits: Tensor) -> tuple[Tensor, Tensor]:
        """Two derivatives along a tangent u = d_logits (B, C), both (B, C).

        - the tangent of `grad_logits`: t J_p u / B
        - the derivative, in the targets q, of the loss's tangent: w (p.u - u) / B
        """
        p, total = self._probabilities(logits), (self.weights * targets).sum(dim=1, keepdim=True)
        mean = (p * d_logits).sum(dim=1, keepdim=True)
        count = len(logits)
        return total * softmax_jacobian(p, d_logits) / count, self.weights * (mean - d_logits) / count

    def _probabilities(self, logits: Tensor) -> Tensor:
        return (logits - self.adjustment).softmax(dim=1)


def softmax_jacobian(p: Tensor, u: Tensor) -> Tensor:
    """J_p u by rows, (B, C): p * (u - p.u), the tangent of a softmax of value p along u, and its own transpose."""
    return p * (u - (p * u).sum(dim=1, keepdim=True))


# ---- Losses of ordinary training ----


class TrainingLoss(Hashable, Protocol):
    """A loss of logits (B, C) and targets (B, ...), the mean over the batch."""

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss, a scalar, which autograd can differentiate."""

    def with_derivative(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, and its derivative in the logits (B, C) in closed form."""


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy to class indices (B,) or class probabilities (B, C)."""

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets)

    def with_derivative(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The derivative is (p - q) / B."""
        log_p = logits.log_softmax(dim=1)
        q = targets if targets.dim() == 2 else one_hot(targets, log_p)
        grad_logits = (log_p.exp() - q) / len(q)
        return -(q * log_p).sum() / len(q), grad_logits


@dataclass(frozen=True)
class TeacherLoss:
    """Mean squared error to a teacher's logits t, plus `weight` * cross-entropy to class probabilities q (RLDD).

    Targets are both side by side, (B, 2 C): t, then q.
    """

    weight: float

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        wanted, q = targets.chunk(2, dim=1)
        return F.mse_loss(logits, wanted) + self.weight * F.cross_entropy(logits, q)

    def with_derivative(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The derivative is 2 (z - t) / (B C) + weight * (p - q) / B."""
        wanted, q = targets.chunk(2, dim=1)
        difference = logits - wanted
        cross_entropy, grad_logits = CrossEntropy().with_derivative(logits, q)
        loss = difference.square().mean() + self.weight * cross_entropy
        return loss, 2 / difference.numel() * difference + self.weight * grad_logits
