"""GSAM: sharpness-aware training that keeps expert trajectories flat (Zhuang et al. 2022, as FTD uses it)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_TINY = 1e-12


@dataclass(frozen=True)
class Gsam:
    """Adaptive GSAM of radius `rho`; `alpha` weighs the part of the plain gradient orthogonal to the perturbed one."""

    rho: float
    alpha: float

    def gradient(self, theta: Tensor, gradient_at: Callable[[Tensor], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Loss at theta (P,) and the gradient to step along (P,); `gradient_at` gives loss and gradient at a vector.

        The perturbation is rho * theta^2 * g / ||theta * g||, the adaptive form.
        """
        loss, plain = gradient_at(theta)
        scale = self.rho / ((theta * plain).norm() + _TINY)
        _, perturbed = gradient_at(theta + scale * theta.square() * plain)
        unit = perturbed / (perturbed.norm() + _TINY)
        orthogonal = plain - torch.dot(plain, unit) * unit
        return loss, perturbed - self.alpha * orthogonal
