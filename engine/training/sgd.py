"""One step of several networks at once, by SGD, optionally with GSAM, or by AdamW: for all training of networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.cores import take_turn
from engine.run.errors import RunFailed

Gradient = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Losses (G,) and gradients (G, P) at weights (G, P) of G networks, of images (G, B, ...) and targets (G, B, ...)."""
Batch = tuple[Tensor, Tensor]
"""Images (G, B, ...) and targets (G, B, ...) of one step of G networks."""

_TINY = 1e-12


def half_cosine(share: float) -> float:
    """A step size as a share of the first one, after this share of the steps: half a cosine, from 1 to 0."""
    return (1 + math.cos(math.pi * share)) / 2


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
class Sgd:
    """The update of torch.optim.SGD, with its settings beside the learning rate."""

    momentum: float
    weight_decay: float

    def update(self, state: TrainingState, direction: Tensor) -> None:
        """Moves the weights along gradients (G, P)."""
        if self.weight_decay:
            direction = direction.add(state.theta, alpha=self.weight_decay)
        if self.momentum:
            direction = state.velocity.mul_(self.momentum).add_(direction)
        # addcmul_ instead of add_: each network has a rate of its own.
        state.theta.addcmul_(state.rate, direction, value=-1)


@dataclass
class AdamW:
    """The update of torch.optim.AdamW (Loshchilov and Hutter, 2019) with its usual betas and eps; of one training.

    The velocity is its mean of gradients; the mean of their squares and the number of steps are its own.
    """

    weight_decay: float
    steps: int = 0
    squares: Tensor | None = None

    _BETA_1, _BETA_2, _EPS = 0.9, 0.999, 1e-8

    def update(self, state: TrainingState, direction: Tensor) -> None:
        """Moves the weights by gradients (G, P)."""
        theta, mean, rate = state.theta, state.velocity, state.rate
        if self.squares is None:
            self.squares = torch.zeros_like(theta)
        self.steps += 1
        theta.mul_(1 - rate * self.weight_decay)
        mean.lerp_(direction, 1 - self._BETA_1)
        self.squares.mul_(self._BETA_2).addcmul_(direction, direction, value=1 - self._BETA_2)
        root = (self.squares.sqrt() / math.sqrt(1 - self._BETA_2**self.steps)).add_(self._EPS)
        theta.addcmul_(mean / root, rate, value=-1 / (1 - self._BETA_1**self.steps))


@dataclass(frozen=True)
class Step:
    """One step of `state` with a batch, as torch.optim makes it; returns the losses (G,) before the step."""

    state: TrainingState
    gradient: Gradient
    optimizer: Sgd | AdamW
    gsam: Gsam | None = None

    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        take_turn()
        theta = self.state.theta

        def gradient_at(weights: Tensor) -> tuple[Tensor, Tensor]:
            return self.gradient(weights, images, targets)

        losses, direction = self.gsam.gradient(theta, gradient_at) if self.gsam else gradient_at(theta)
        self.optimizer.update(self.state, direction)
        return losses


def train_epoch(step: Callable[[Tensor, Tensor], Tensor], batches: Iterable[Batch]) -> list[float]:
    """One step a batch; returns each network's mean loss (G,)."""
    # Read back once an epoch: on a GPU every read waits for all that was launched before.
    losses: list[float] = torch.stack([step(images, targets) for images, targets in batches]).mean(dim=0).tolist()
    return losses


def refuse_divergence(losses: Sequence[float], theta: Tensor, where: str, setting: str) -> None:
    """Raises RunFailed where a loss of an epoch or the weights after it are not finite; `setting`: the step size."""
    if not (all(map(math.isfinite, losses)) and bool(theta.isfinite().all())):
        raise RunFailed("a training loss is not finite", where, f"lower {setting}")
