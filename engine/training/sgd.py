"""One SGD step of several networks at once, optionally with GSAM: for experts, classifier experts and evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

Gradient = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Losses (G,) and gradients (G, P) at weights (G, P) of G networks, of images (G, B, ...) and targets (G, B, ...)."""
Batch = tuple[Tensor, Tensor]
"""Images (G, B, ...) and targets (G, B, ...) of one step of G networks."""

_TINY = 1e-12


@dataclass(frozen=True)
class Gsam:
    """Adaptive GSAM (Zhuang et al. 2022), which keeps expert trajectories flat, as FTD uses it.

    rho: the radius of the perturbation; alpha: the weight of the part of the plain gradient that is orthogonal to the
    perturbed one.
    """

    rho: float
    alpha: float

    def gradient(self, theta: Tensor, gradient_at: Callable[[Tensor], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Losses (G,) at the weights of G networks (G, P), and the gradients to step along (G, P).

        gradient_at: losses and gradients at given weights. The perturbation is rho * theta^2 * g / ||theta * g||, the
        adaptive form: larger weights are perturbed more.
        """
        losses, plain = gradient_at(theta)
        scale = self.rho / (_length(theta * plain) + _TINY)
        _, perturbed = gradient_at(theta + scale * theta.square() * plain)
        unit = perturbed / (_length(perturbed) + _TINY)
        orthogonal = plain - (plain * unit).sum(-1, keepdim=True) * unit
        return losses, perturbed - self.alpha * orthogonal


def _length(vectors: Tensor) -> Tensor:
    return vectors.norm(dim=-1, keepdim=True)


@dataclass(frozen=True)
class Sgd:
    """The settings of torch.optim.SGD beside its learning rate."""

    momentum: float
    weight_decay: float


@dataclass(frozen=True)
class TrainingState:
    """G networks in training, updated in place: weights and velocity (G, P), learning rates (G, 1)."""

    theta: Tensor
    velocity: Tensor
    rate: Tensor

    @staticmethod
    def started(weights: list[Tensor], rates: list[float]) -> TrainingState:
        """Copies of each network's weights (P,), with velocity 0."""
        theta = torch.stack(weights)
        return TrainingState(theta, torch.zeros_like(theta), theta.new_tensor(rates)[:, None])


@dataclass(frozen=True)
class Step:
    """One SGD step of `state` with a batch, as torch.optim.SGD makes it; returns the losses (G,) before the step."""

    state: TrainingState
    gradient: Gradient
    sgd: Sgd
    gsam: Gsam | None = None

    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        theta, velocity = self.state.theta, self.state.velocity

        def gradient_at(weights: Tensor) -> tuple[Tensor, Tensor]:
            return self.gradient(weights, images, targets)

        losses, direction = self.gsam.gradient(theta, gradient_at) if self.gsam else gradient_at(theta)
        if self.sgd.weight_decay:
            direction = direction.add(theta, alpha=self.sgd.weight_decay)
        if self.sgd.momentum:
            direction = velocity.mul_(self.sgd.momentum).add_(direction)
        # addcmul_ instead of add_: each network has a rate of its own.
        theta.addcmul_(self.state.rate, direction, value=-1)
        return losses


def train_epoch(step: Callable[[Tensor, Tensor], Tensor], batches: Iterable[Batch]) -> list[float]:
    """One step a batch; returns each network's mean loss (G,)."""
    # Read back once an epoch: on a GPU every read waits for all that was launched before.
    losses: list[float] = torch.stack([step(images, targets) for images, targets in batches]).mean(dim=0).tolist()
    return losses
