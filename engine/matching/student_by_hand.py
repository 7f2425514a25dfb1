"""The ConvNet student by hand: forward over reverse as engine/nets/by_hand.py has it, with DAM's own derivatives.

Half the work of autograd of autograd: pass 2 goes along the tangent alone where pass 1 kept its tape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import vmap

from engine.losses import StudentLoss, softmax_jacobian, target_probabilities
from engine.matching.student import Mixed, Student
from engine.nets.by_hand import Block, ByHand, Layer
from engine.nets.flat import FlatNetwork


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
