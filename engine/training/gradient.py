"""Loss and gradient of several networks at once: one after another, vectorized, compiled, a few images at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad_and_value

Forward = Callable[[Tensor, Tensor], Tensor]
"""Logits (B, C) at weights (P,) of images (B, ...)."""
Loss = Callable[[Tensor, Tensor], Tensor]
"""Scalar, a mean over images, of logits (B, C) and targets, class indices (B,) or probabilities (B, C)."""
Gradient = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Losses (G,) and gradients (G, P) at weights (G, P) of G networks, of images (G, B, ...) and targets (G, B, ...)."""


def gradient_of(forward: Forward, loss: Loss, compiled: bool, images_at_once: int) -> Gradient:
    """The form that is fastest: compiled where that was decided, a few images at a time where a batch has more."""
    eager, vectorized = eager_gradient(forward, loss), vectorized_gradient(forward, loss, compiled)

    def gradient(theta: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return (eager if len(theta) == 1 and not compiled else vectorized)(theta, images, targets)

    return in_chunks(gradient, images_at_once)


def eager_gradient(forward: Forward, loss: Loss) -> Gradient:
    """The plain form: autograd at one network's weights, one network after another."""

    def one(theta: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        leaf = theta.detach().requires_grad_()
        value = loss(forward(leaf, images), targets)
        return value.detach(), torch.autograd.grad(value, leaf)[0]

    def gradient(theta: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if len(theta) == 1:
            value, own = one(theta[0], images[0], targets[0])
            return value[None], own[None]
        values, gradients = zip(*map(one, theta, images, targets), strict=True)
        return torch.stack(values), torch.stack(gradients)

    return gradient


def vectorized_gradient(forward: Forward, loss: Loss, compiled: bool) -> Gradient:
    """The same numbers up to rounding from one pass over all networks; `compiled` needs a compiler."""

    def one(theta: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        return loss(forward(theta, images), targets)

    def all_at_once(theta: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if len(theta) == 1:  # vmap would make a grouped convolution of one group
            gradients, values = grad_and_value(one)(theta[0], images[0], targets[0])
            return values[None], gradients[None]
        gradients, values = torch.vmap(grad_and_value(one))(theta, images, targets)
        return values, gradients

    # An epoch's last batch may be smaller: two shapes, each compiled for itself.
    return torch.compile(all_at_once, dynamic=False) if compiled else all_at_once


def in_chunks(gradient: Gradient, images_at_once: int) -> Gradient:
    """The gradient of a mean over a batch as the mean of its parts: what one part needs stays in the cache."""

    def summed(theta: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        count = images.shape[1]
        if count <= images_at_once:
            return gradient(theta, images, targets)
        values, total = theta.new_zeros(len(theta)), torch.zeros_like(theta)
        for part, wanted in zip(images.split(images_at_once, 1), targets.split(images_at_once, 1), strict=True):
            value, own = gradient(theta, part, wanted)
            share = part.shape[1] / count
            values.add_(value, alpha=share)
            total.add_(own, alpha=share)
        return values, total

    return summed
