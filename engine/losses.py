"""The student's losses: DAM and its special cases, one function (method.md section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.run.methods import Method
from engine.run.settings import MatchingSettings


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


@dataclass(frozen=True)
class StudentLoss:
    """The loss that a student minimizes in phase rep, of logits (B, C) and target probabilities (B, C)."""

    weights: Tensor
    adjustment: Tensor

    @staticmethod
    def of(method: Method, settings: MatchingSettings, class_counts: list[int], like: Tensor) -> StudentLoss:
        """The loss of a method: DAM with its settings, or g = 1 and lambda = 0 (soft and hard cross-entropy)."""
        share = torch.tensor(class_counts, dtype=like.dtype, device=like.device) / sum(class_counts)
        weights, adjustment = torch.ones_like(share), torch.zeros_like(share)
        if method.student_loss == "dam":
            adjustment = settings.dam_smoothness * share.log()
            if settings.dam_weight == "share":
                weights = share * (len(class_counts) if settings.dam_weight_total == "classes" else 1)
        return StudentLoss(weights, adjustment)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        return dam_loss(logits, targets, self.weights, self.adjustment)
