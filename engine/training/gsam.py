"""GSAM: sharpness-aware training that keeps expert trajectories flat (Zhuang et al. 2022, as FTD uses it)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

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
