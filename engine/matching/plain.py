"""The plain form of a phase: autograd through the student's steps, with everything kept in memory.

This is the definition that every faster form is tested against. Without `hold_later_weights` it is unrolled
back-propagation (MTT, DATM); with it, the weights of each step are constants, which is what the published (TESLA)
gradient computes. Why they differ: docs/method.md, section 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.cores import take_turn
from engine.losses import StepLoss
from engine.matching.synthetic import StudentBatch, Synthetic


@dataclass(frozen=True)
class PhaseGradient:
    """A phase's matching loss (a scalar; 1: the student came no closer) and its gradient in the synthetic set."""

    loss: Tensor
    gradient: Synthetic


@dataclass(frozen=True)
class IterationResult:
    """The weighted gradient of an iteration, its matching losses (scalars), and, for messages, what was drawn.

    `extra`: what the method carries on to the next iteration, by name.
    """

    gradient: Synthetic
    loss_rep: Tensor
    loss_cls: Tensor | None
    drawn: str
    extra: dict[str, Tensor] = field(default_factory=dict)


def matching_loss(theta_end: Tensor, theta_start: Tensor, theta_target: Tensor) -> Tensor:
    """||theta_T - theta*||^2 / ||theta_0 - theta*||^2 over the matched weights (P,) (docs/method.md, section 4)."""
    return (theta_end - theta_target).square().sum() / (theta_start - theta_target).square().sum()


def loss_and_adjoint(
    theta_end: Tensor, theta_start: Tensor, theta_target: Tensor, matched: slice
) -> tuple[Tensor, Tensor]:
    """The matching loss over the `matched` weights, and its derivative in theta_T (P,), zero on the other weights."""
    end, start, target = theta_end[matched], theta_start[matched], theta_target[matched]
    adjoint = torch.zeros_like(theta_end)
    adjoint[matched] = 2 * (end - target) / (start - target).square().sum()
    return matching_loss(end, start, target), adjoint


def match_plainly(
    theta_start: Tensor,
    theta_target: Tensor,
    *,
    moved: slice,
    matched: slice,
    loss: StepLoss,
    synthetic: Synthetic,
    batches: Sequence[StudentBatch],
    hold_later_weights: bool,
) -> PhaseGradient:
    """Matching loss and gradient of a phase from theta_start towards theta_target, (P,) both.

    moved: the weights that the student's steps change; matched: those in the matching loss.
    """
    leaves = synthetic.map(by=lambda tensor: tensor.detach().clone().requires_grad_())
    theta, displacement = theta_start, torch.zeros_like(theta_start)
    is_moved = torch.zeros_like(theta_start)
    is_moved[moved] = 1
    for batch in batches:
        take_turn()
        weights = (theta.detach() if hold_later_weights else theta).requires_grad_()
        value = loss(weights, batch.images(leaves.images), leaves.label_logits[batch.indices])
        gradient = torch.autograd.grad(value, weights, create_graph=True)[0]
        displacement = displacement + gradient * is_moved
        # theta_0 - beta * (sum of gradients), as in the published formula; the gradients keep their graphs.
        theta = theta_start.detach() - leaves.beta * displacement
    value = matching_loss(theta[matched], theta_start[matched].detach(), theta_target[matched])
    gradients = torch.autograd.grad(value, [leaves.images, leaves.label_logits, leaves.beta], materialize_grads=True)
    return PhaseGradient(value.detach(), Synthetic(*gradients))
