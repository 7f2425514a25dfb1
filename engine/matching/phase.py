"""The matching loss of one phase and what its gradient is made of (method.md section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.matching.batches import Synthetic


@dataclass(frozen=True)
class PhaseGradient:
    """A phase's matching loss (a scalar; 1: the student came no closer) and its gradient in the synthetic set."""

    loss: Tensor
    gradient: Synthetic


def matching_loss(theta_end: Tensor, theta_start: Tensor, theta_target: Tensor) -> Tensor:
    """||theta_T - theta*||^2 / ||theta_0 - theta*||^2 over the matched weights (P,)."""
    return (theta_end - theta_target).square().sum() / (theta_start - theta_target).square().sum()


def loss_and_adjoint(
    theta_end: Tensor, theta_start: Tensor, theta_target: Tensor, matched: slice
) -> tuple[Tensor, Tensor]:
    """The matching loss over the `matched` weights, and its derivative in theta_T (P,), zero on the others."""
    end, start, target = theta_end[matched], theta_start[matched], theta_target[matched]
    adjoint = torch.zeros_like(theta_end)
    adjoint[matched] = 2 * (end - target) / (start - target).square().sum()
    return matching_loss(end, start, target), adjoint
