"""One pass over batches: the same code for experts, classifier experts and evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from engine.training.gsam import Gsam

Forward = Callable[[Tensor, Tensor], Tensor]
"""Logits (B, C) at weights (P,) of images (B, ...)."""
Loss = Callable[[Tensor, Tensor], Tensor]
"""Scalar of logits (B, C) and targets, class indices (B,) or probabilities (B, C)."""


def train_epoch(
    theta: Tensor,
    optimizer: torch.optim.SGD,
    forward: Forward,
    loss: Loss,
    batches: Iterable[tuple[Tensor, Tensor]],
    gsam: Gsam | None = None,
) -> float:
    """Steps theta (P,), the optimizer's only parameter, once a batch (images, targets); returns the mean loss."""
    losses = []
    for images, targets in batches:

        def gradient_at(weights: Tensor, images: Tensor = images, targets: Tensor = targets) -> tuple[Tensor, Tensor]:
            leaf = weights.detach().requires_grad_()
            value = loss(forward(leaf, images), targets)
            return value.detach(), torch.autograd.grad(value, leaf)[0]

        value, theta.grad = gsam.gradient(theta.detach(), gradient_at) if gsam else gradient_at(theta)
        optimizer.step()
        losses.append(value)
    return float(torch.stack(losses).mean())
