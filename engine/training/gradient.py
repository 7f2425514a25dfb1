"""Loss and gradient of several networks at once, in forms that are equal: by autograd, by transform, by hand.

The loss is the cross-entropy against class indices or class probabilities, the mean over a batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad_and_value
from torch.nn import functional as F

from engine.losses import one_hot
from engine.nets.by_hand import ByHand
from engine.nets.flat import FlatNetwork

Forward = Callable[[Tensor, Tensor], Tensor]
"""Logits (B, C), or features (B, F), at weights (P,) of images (B, ...)."""
One = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Loss () and gradient (P,) at a network's weights (P,), of images (B, ...), targets (B,) or (B, C)."""
Gradient = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Losses (G,) and gradients (G, P) at weights (G, P) of G networks, of images (G, B, ...) and targets (G, B, ...)."""


def by_autograd(forward: Forward) -> One:
    """The plain form."""

    def one(theta: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        leaf = theta.detach().requires_grad_()
        loss = F.cross_entropy(forward(leaf, images), targets)
        return loss.detach(), torch.autograd.grad(loss, leaf)[0]

    return one


def by_transform(forward: Forward) -> One:
    """The same in a form that can be vectorized and compiled."""

    def loss(theta: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(forward(theta, images), targets)

    def one(theta: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        gradient, value = grad_and_value(loss)(theta, images, targets)
        return value, gradient

    return one


def by_hand(passes: ByHand, network: FlatNetwork) -> One:
    """The ConvNet's passes by hand, with the cross-entropy's own derivative."""

    @torch.no_grad()
    def one(theta: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        layers, (weight, bias) = passes.layers(theta), passes.head(theta)
        blocks, features = passes.forward(layers, images)
        log_p = ((features @ weight.T).to(theta.dtype) + bias).log_softmax(dim=1)
        q = _probabilities(targets, log_p)
        in_logits = (log_p.exp() - q) / len(q)
        low = passes.lower(in_logits)
        found = passes.reverse(layers, blocks, low @ weight, weights=True).by_name
        head = {"classifier.weight": (low.T @ features).to(theta.dtype), "classifier.bias": in_logits.sum(0)}
        return -(q * log_p).sum() / len(q), network.join(found | head)

    return one


def _probabilities(targets: Tensor, like: Tensor) -> Tensor:
    return targets if targets.dim() == 2 else one_hot(targets, like)


def one_by_one(one: One) -> Gradient:
    """Network after network."""

    def gradient(theta: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if len(theta) == 1:
            loss, own = one(theta[0], images[0], targets[0])
            return loss[None], own[None]
        losses, gradients = zip(*map(one, theta, images, targets), strict=True)
        return torch.stack(losses), torch.stack(gradients)

    return gradient


def all_at_once(one: One) -> Gradient:
    """All networks in one pass."""
    return torch.vmap(one)
