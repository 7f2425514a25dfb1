"""One SGD step of several networks at once: the same code for experts, classifier experts and evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

Gradient = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Losses (G,) and gradients (G, P) at weights (G, P) of G networks, of images (G, B, ...) and targets (G, B, ...)."""

# GSAM: sharpness-aware training that keeps expert trajectories flat (Zhuang et al. 2022, as FTD uses it).


_TINY = 1e-12


@dataclass(frozen=True)
class Gsam:
    """Adaptive GSAM of radius `rho`; `alpha` weighs the part of the plain gradient orthogonal to the perturbed one."""

    rho: float
    alpha: float

    def gradient(self, theta: Tensor, gradient_at: Callable[[Tensor], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Losses (G,) at the weights of G networks (G, P), and the gradients to step along (G, P).

        `gradient_at` gives losses and gradients at such weights. The perturbation is rho * theta^2 * g / ||theta * g||,
        the adaptive form.
        """
        losses, plain = gradient_at(theta)
        scale = self.rho / (_length(theta * plain) + _TINY)
        _, perturbed = gradient_at(theta + scale * theta.square() * plain)
        unit = perturbed / (_length(perturbed) + _TINY)
        orthogonal = plain - (plain * unit).sum(-1, keepdim=True) * unit
        return losses, perturbed - self.alpha * orthogonal


def _length(vectors: Tensor) -> Tensor:
    return vectors.norm(dim=-1, keepdim=True)


Batch = tuple[Tensor, Tensor]
"""Images (G, B, ...) and targets (G, B, ...) of one step of G networks."""


StepFunction = Callable[[Tensor, Tensor], Tensor]
"""Makes one step with a batch; gives the losses (G,)."""


@dataclass(frozen=True)
class Sgd:
    """What torch.optim.SGD is given beside its rate."""

    momentum: float
    weight_decay: float


@dataclass(frozen=True)
class Trainees:
    """G networks in training, all stepped in place: weights and velocity (G, P), step sizes (G, 1)."""

    theta: Tensor
    velocity: Tensor
    rate: Tensor

    @staticmethod
    def started(weights: list[Tensor], rates: list[float]) -> Trainees:
        """Networks at rest with copies of these weights (P,)."""
        theta = torch.stack(weights)
        return Trainees(theta, torch.zeros_like(theta), theta.new_tensor(rates)[:, None])


@dataclass(frozen=True)
class Step:
    """Moves `trainees` by one SGD step, as torch.optim.SGD does it; called with a batch, it gives the losses (G,)."""

    trainees: Trainees
    gradient: Gradient
    sgd: Sgd
    gsam: Gsam | None = None

    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        theta, velocity = self.trainees.theta, self.trainees.velocity

        def at(weights: Tensor) -> tuple[Tensor, Tensor]:
            return self.gradient(weights, images, targets)

        losses, direction = self.gsam.gradient(theta, at) if self.gsam else at(theta)
        if self.sgd.weight_decay:
            direction = direction.add(theta, alpha=self.sgd.weight_decay)
        if self.sgd.momentum:
            direction = velocity.mul_(self.sgd.momentum).add_(direction)
        theta.addcmul_(self.trainees.rate, direction, value=-1)
        return losses


def train_epoch(step: StepFunction, batches: Iterable[Batch]) -> list[float]:
    """One step a batch; returns each network's mean loss."""
    losses: list[float] = torch.stack([step(images, targets) for images, targets in batches]).mean(dim=0).tolist()
    return losses
