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

from engine.losses import StepLoss, StudentLoss, softmax_jacobian, target_probabilities
from engine.nets.convnet_derivatives import Block, ByHand, Layer
from engine.nets.functional import FlatNetwork

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


# The ConvNet student by hand: forward over reverse as engine/nets/convnet_derivatives.py has it,
# with DAM's own derivatives.
#
# Half the work of autograd of autograd: pass 2 goes along the tangent alone where pass 1 kept its tape.


class ByHandTape(NamedTuple):
    """A step's way: each block's, the derivatives in their pooled outputs, features (B, F) and logits (B, C)."""

    blocks: list[Block]
    in_pooled: list[Tensor]
    features: Tensor
    logits: Tensor


def student_by_hand(
    passes: ByHand, written: ByHand, network: FlatNetwork, loss: StudentLoss, learns_labels: bool, with_theta: bool
) -> Student:
    """Steps in `passes`; several at once in `written`, the same passes as torch operations, which vmap knows."""
    one = _ByHandStudent(passes, network, loss, learns_labels, with_theta)
    each = _ByHandStudent(written, network, loss, learns_labels, with_theta=False)

    def from_scratch(theta: Tensor, direction: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return each.mixed(theta, direction, images, labels, None)[:2]

    several = vmap(from_scratch, in_dims=(0, None, 0, 0))
    return Student(
        torch.no_grad()(one.walk),
        torch.no_grad()(one.mixed),
        torch.no_grad()(lambda *inputs: Mixed(*several(*inputs), None)),
    )


@dataclass(frozen=True)
class _ByHandStudent:
    passes: ByHand
    network: FlatNetwork
    loss: StudentLoss
    learns_labels: bool
    with_theta: bool

    def walk(self, theta: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, ByHandTape]:
        passes = self.passes
        layers, weight = passes.layers(theta), passes.head(theta)[0]
        blocks, features, logits, in_logits = self._forward(theta, layers, images, labels)
        low = passes.lower(in_logits)
        found = passes.reverse(layers, blocks, low @ weight, weights=True)
        head = {"classifier.weight": (low.T @ features).to(theta.dtype), "classifier.bias": in_logits.sum(0)}
        return self.network.join(found.by_name | head), ByHandTape(blocks, found.in_pooled, features, logits)

    def _retrace(self, theta: Tensor, images: Tensor, labels: Tensor) -> ByHandTape:
        layers = self.passes.layers(theta)
        blocks, features, logits, in_logits = self._forward(theta, layers, images, labels)
        found = self.passes.reverse(layers, blocks, self.passes.lower(in_logits) @ self.passes.head(theta)[0])
        return ByHandTape(blocks, found.in_pooled, features, logits)

    def mixed(self, theta: Tensor, direction: Tensor, images: Tensor, labels: Tensor, tape: ByHandTape | None) -> Mixed:
        passes = self.passes
        tape = tape or self._retrace(theta, images, labels)
        layers, d_layers = passes.layers(theta), passes.layers(direction)
        (weight, _), (d_weight, d_bias) = passes.head(theta), passes.head(direction)
        tangents, d_features = passes.tangent(layers, d_layers, tape.blocks)
        d_logits = (d_features @ weight.T + tape.features @ d_weight.T).to(theta.dtype) + d_bias
        targets = target_probabilities(labels, self.learns_labels)
        in_logits = passes.lower(self.loss.in_logits(tape.logits, targets))
        d_in_logits, in_targets = self.loss.tangent(tape.logits, targets, d_logits)
        low = passes.lower(d_in_logits)
        d_in_features = low @ weight + in_logits @ d_weight
        found = passes.tangent_reverse(
            layers, d_layers, tape.blocks, tangents, tape.in_pooled, d_in_features, weights=self.with_theta
        )
        in_labels = softmax_jacobian(targets, in_targets) if self.learns_labels else torch.zeros_like(labels)
        assert found.images is not None
        if not self.with_theta:
            return Mixed(found.images, in_labels, None)
        in_weight = (low.T @ tape.features + in_logits.T @ d_features).to(theta.dtype)
        head = {"classifier.weight": in_weight, "classifier.bias": d_in_logits.sum(0)}
        return Mixed(found.images, in_labels, self.network.join(found.by_name | head))

    def _forward(
        self, theta: Tensor, layers: list[Layer], images: Tensor, labels: Tensor
    ) -> tuple[list[Block], Tensor, Tensor, Tensor]:
        """What the blocks keep, features (B, F), logits and the loss's derivative in them (B, C)."""
        blocks, features = self.passes.forward(layers, images)
        weight, bias = self.passes.head(theta)
        logits = (features @ weight.T).to(theta.dtype) + bias
        return blocks, features, logits, self.loss.in_logits(logits, target_probabilities(labels, self.learns_labels))


# Tapes of student steps, kept for as long as there is room: what pass 2 finds there, it need not compute again.


class Tapes:
    """The tapes of the latest steps, in `room` bytes at most; how many fit follows from their sizes alone."""

    def __init__(self, room: float) -> None:
        self._room, self._used = room, 0
        self._kept: dict[int, tuple[tuple[Tensor, Tape], int]] = {}

    def put(self, step: int, images: Tensor, tape: Tape | None) -> None:
        """Keeps a step's augmented images with its tape, in the place of the earliest ones; without one, neither."""
        size = tape_bytes((images, tape))
        if tape is None or size > self._room:
            return
        self._kept[step] = (images, tape), size
        self._used += size
        while self._used > self._room:
            self.take(next(iter(self._kept)))

    def take(self, step: int) -> tuple[Tensor, Tape] | None:
        """Gives a step's images and tape away, None where they are not kept."""
        kept, size = self._kept.pop(step, (None, 0))
        self._used -= size
        return kept


def tape_bytes(tape: Tape | None) -> int:
    """The memory of a tape: of all tensors in its tuples and lists."""
    if isinstance(tape, Tensor):
        return tape.numel() * tape.element_size()
    return sum(map(tape_bytes, tape)) if isinstance(tape, tuple | list) else 0
