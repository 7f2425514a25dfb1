"""One student step's derivatives: its gradient, and the mixed derivative that carries it back to images and labels.

Two forms with one interface, proved equal: eager reverse-over-reverse, and forward-over-reverse compiled into one
kernel graph, whose extra cost for the derivative in the weights is nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import grad, jvp

StepLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The student's loss, a scalar, at weights (P,) on augmented images (B, channels, H, W) with label logits (B, C)."""


@dataclass(frozen=True)
class Student:
    """gradient(theta, images, labels) -> (P,); mixed(theta, direction, images, labels) -> d[direction . gradient] in
    images (B, ...), labels (B, C) and, where it was asked for, theta (P,)."""

    gradient: Callable[[Tensor, Tensor, Tensor], Tensor]
    mixed: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, ...]]


def eager_student(loss: StepLoss, with_theta: bool) -> Student:
    """The plain form: autograd, and autograd of autograd."""

    def gradient(theta: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        leaf = theta.detach().requires_grad_()
        return torch.autograd.grad(loss(leaf, images, labels), leaf)[0]

    def mixed(theta: Tensor, direction: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        weights, *leaves = (tensor.detach().requires_grad_() for tensor in (theta, images, labels))
        own = torch.autograd.grad(loss(weights, *leaves), weights, create_graph=True)[0]
        inputs = [*leaves, weights] if with_theta else leaves
        return torch.autograd.grad(torch.dot(direction, own), inputs, materialize_grads=True)

    return Student(gradient, mixed)


def compiled_student(loss: StepLoss, with_theta: bool) -> Student:
    """The same numbers up to rounding, from compiled graphs; needs a C++ compiler (CPU) or Triton (GPU)."""

    def mixed(theta: Tensor, direction: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        inputs = (1, 2, 0) if with_theta else (1, 2)

        def reverse(weights: Tensor) -> tuple[Tensor, ...]:
            gradients: tuple[Tensor, ...] = grad(loss, argnums=inputs)(weights, images, labels)
            return gradients

        tangents: tuple[Tensor, ...] = jvp(reverse, (theta,), (direction,))[1]
        return tangents

    # Batches that do not divide the set have two shapes at most, so each is compiled for itself.
    return Student(torch.compile(grad(loss), dynamic=False), torch.compile(mixed, dynamic=False))


def why_not_compile(device: torch.device) -> str | None:
    """What keeps torch.compile from working on this machine, found by compiling a line; None where it works."""
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.ones(2, device=device))
    except Exception as error:  # compilers fail in their own ways, and every one of them means the same here
        return str(error).strip().splitlines()[0][:200]
    return None
