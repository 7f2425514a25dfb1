"""One student step's derivatives: its gradient, and the mixed derivative that carries it back to images and labels.

Three forms with one interface, proved equal: autograd and autograd of autograd, for any network; the same as forward
over reverse, compiled by torch; and the ConvNet's by hand (student_by_hand.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import grad, jvp, vmap

StepLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The student's loss, a scalar, at weights (P,) on augmented images (B, channels, H, W) with label logits (B, C)."""
Tape = Any
"""What a form keeps of a step so that its mixed derivative need not go forward again: tensors in tuples and lists."""


class Mixed(NamedTuple):
    """d[direction . gradient] in images (B, channels, H, W), labels (B, C) and, where asked for, theta (P,)."""

    images: Tensor
    labels: Tensor
    theta: Tensor | None


@dataclass(frozen=True)
class Student:
    """walk(theta, images, labels) -> gradient (P,) and a tape (None: there is nothing worth keeping);
    mixed(theta, direction, images, labels, tape) -> Mixed, without the tape (None) by going forward again;
    several(thetas (n, P), direction, images (n, B, ...), labels (n, B, C)) -> Mixed of n steps at once, without theta.
    """

    walk: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tape | None]]
    mixed: Callable[[Tensor, Tensor, Tensor, Tensor, Tape | None], Mixed]
    several: Callable[[Tensor, Tensor, Tensor, Tensor], Mixed]


def without_tapes(student: Student) -> Student:
    """The same student, whose way leaves nothing behind."""
    return replace(student, walk=lambda theta, images, labels: (student.walk(theta, images, labels)[0], None))


def eager_student(loss: StepLoss, with_theta: bool) -> Student:
    """Autograd, and autograd of autograd."""

    @torch.enable_grad()
    def walk(theta: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, None]:
        leaf = theta.detach().requires_grad_()
        return torch.autograd.grad(loss(leaf, images, labels), leaf)[0], None

    def mixed(theta: Tensor, direction: Tensor, images: Tensor, labels: Tensor, tape: Tape | None) -> Mixed:
        weights, *leaves = (tensor.detach().requires_grad_() for tensor in (theta, images, labels))
        own = torch.autograd.grad(loss(weights, *leaves), weights, create_graph=True)[0]
        inputs = [*leaves, weights] if with_theta else leaves
        found = torch.autograd.grad(torch.dot(direction, own), inputs, materialize_grads=True)
        return Mixed(found[0], found[1], found[2] if with_theta else None)

    return Student(walk, mixed, _several(loss))


def compiled_student(loss: StepLoss, with_theta: bool) -> Student:
    """The same numbers up to rounding, from compiled graphs; needs a C++ compiler (CPU) or Triton (GPU)."""
    # Batches that do not divide the set have two shapes at most, so each is compiled for itself.
    gradient = torch.compile(grad(loss), dynamic=False)
    mixed = torch.compile(_forward_over_reverse(loss, with_theta), dynamic=False)
    return Student(
        lambda theta, images, labels: (gradient(theta, images, labels), None),
        lambda theta, direction, images, labels, tape: mixed(theta, direction, images, labels),
        torch.compile(_several(loss), dynamic=False),
    )


def _several(loss: StepLoss) -> Callable[[Tensor, Tensor, Tensor, Tensor], Mixed]:
    mixed = _forward_over_reverse(loss, False)
    of_each = vmap(lambda *inputs: tuple(mixed(*inputs)[:2]), in_dims=(0, None, 0, 0))

    def several(thetas: Tensor, direction: Tensor, images: Tensor, labels: Tensor) -> Mixed:
        in_images, in_labels = of_each(thetas, direction, images, labels)
        return Mixed(in_images, in_labels, None)

    return several


def _forward_over_reverse(loss: StepLoss, with_theta: bool) -> Callable[[Tensor, Tensor, Tensor, Tensor], Mixed]:
    inputs = (1, 2, 0) if with_theta else (1, 2)

    def mixed(theta: Tensor, direction: Tensor, images: Tensor, labels: Tensor) -> Mixed:
        def reverse(weights: Tensor) -> tuple[Tensor, ...]:
            gradients: tuple[Tensor, ...] = grad(loss, argnums=inputs)(weights, images, labels)
            return gradients

        tangents: tuple[Tensor, ...] = jvp(reverse, (theta,), (direction,))[1]
        return Mixed(tangents[0], tangents[1], tangents[2] if with_theta else None)

    return mixed


def why_not_compile(device: torch.device) -> str | None:
    """What keeps torch.compile from working on this machine, found by compiling a line; None where it works."""
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.ones(2, device=device))
    except Exception as error:  # compilers fail in their own ways, and every one of them means the same here
        return str(error).strip().splitlines()[0][:200]
    return None
