"""Phase cls in closed form: with the backbone frozen, the student's inner loop is softmax regression on its features.

For step t with features f (B, F), targets q, probabilities p at weights W_t and J_p u = p * (u - p.u):
    g_t = (p - q)^T f / B,
and for a direction a (C, F) the derivative of a . g_t is, with u_b = a f_b,
    in f_b: [a^T (p - q)_b + W_t^T J_p u_b] / B,   in the label logits: -J_q u_b / B,
    in W_t: sum_b (J_p u_b) f_b^T / B.
Bias terms follow with a constant feature 1. No double backward: one first-order pass through the backbone ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.losses import softmax_jacobian
from engine.matching.plain import PhaseGradient, loss_and_adjoint
from engine.matching.student import Tape, Tapes
from engine.matching.synthetic import StudentBatch, Synthetic
from engine.nets.convnet_derivatives import Block, ByHand
from engine.nets.functional import FlatNetwork


@dataclass(frozen=True)
class HeadGradient:
    """The classifier's matching loss and its derivative in each step's features (B, F), label logits (B, C), beta."""

    loss: Tensor
    features: list[Tensor]
    label_logits: list[Tensor]
    beta: Tensor


def match_head(
    start: Tensor,
    target: Tensor,
    features: Sequence[Tensor],
    label_logits: Sequence[Tensor],
    beta: Tensor,
    *,
    exact: bool,
    scale: float = 1.0,
) -> HeadGradient:
    """Softmax regression from `start` towards `target`, both (C, F + 1) with the bias last, and its derivatives.

    `scale` multiplies the student's loss. `exact`: back through all steps; otherwise with later weights held (TESLA).
    """
    inputs = [F.pad(f, (0, 1), value=1.0) for f in features]
    targets = [logits.softmax(dim=1) for logits in label_logits]
    path, errors, gradients = [start], [], []
    for f, q in zip(inputs, targets, strict=True):
        errors.append((f @ path[-1].T).softmax(dim=1) - q)
        gradients.append(scale / len(f) * errors[-1].T @ f)
        path.append(path[-1] - beta * gradients[-1])
    loss, adjoint = loss_and_adjoint(path[-1].flatten(), start.flatten(), target.flatten(), slice(None))
    adjoint = adjoint.view_as(start)
    in_features, in_labels, in_beta = [], [], torch.zeros_like(beta)
    for weights, f, q, error, gradient in zip(
        reversed(path[:-1]), reversed(inputs), reversed(targets), reversed(errors), reversed(gradients), strict=True
    ):
        in_beta = in_beta - (adjoint * gradient).sum()
        u = f @ adjoint.T  # (B, C)
        p_u = softmax_jacobian(error + q, u)
        step = -beta * scale / len(f)
        in_features.append(step * (error @ adjoint + p_u @ weights)[:, :-1])
        in_labels.append(-step * softmax_jacobian(q, u))
        if exact:
            adjoint = adjoint + step * p_u.T @ f
    return HeadGradient(loss, in_features[::-1], in_labels[::-1], in_beta)


@dataclass(frozen=True)
class Backbone:
    """features(theta (P,), images) -> features (B, F) and a tape (None: nothing worth keeping); back(theta, images,
    in_features, tape) -> the derivative in the images, without the tape (None) by going forward again.
    """

    features: Callable[[Tensor, Tensor], tuple[Tensor, Tape | None]]
    back: Callable[[Tensor, Tensor, Tensor, Tape | None], Tensor]


def autograd_backbone(features_of: Callable[[Tensor, Tensor], Tensor]) -> Backbone:
    """Any network's, from its features at weights theta of images, compiled or not."""

    def features(theta: Tensor, images: Tensor) -> tuple[Tensor, None]:
        with torch.no_grad():
            return features_of(theta, images), None

    def back(theta: Tensor, images: Tensor, in_features: Tensor, tape: Tape | None) -> Tensor:
        own = images.detach().requires_grad_()
        found: Tensor = torch.autograd.grad(features_of(theta, own), own, in_features)[0]
        return found

    return Backbone(features, back)


def backbone_by_hand(passes: ByHand) -> Backbone:
    """The ConvNet's, in its passes by hand."""

    @torch.no_grad()
    def features(theta: Tensor, images: Tensor) -> tuple[Tensor, list[Block]]:
        blocks, found = passes.forward(passes.layers(theta), images)
        return found.to(theta.dtype), blocks

    @torch.no_grad()
    def back(theta: Tensor, images: Tensor, in_features: Tensor, blocks: list[Block] | None) -> Tensor:
        layers = passes.layers(theta)
        blocks = blocks or passes.forward(layers, images)[0]
        found = passes.reverse(layers, blocks, passes.lower(in_features), images=True).images
        assert found is not None
        return found.to(theta.dtype)

    return Backbone(features, back)


def match_classifier(
    network: FlatNetwork,
    theta_start: Tensor,
    theta_target: Tensor,
    *,
    backbone: Backbone,
    synthetic: Synthetic,
    batches: Sequence[StudentBatch],
    exact: bool,
    scale: float = 1.0,
    room: float = 0,
) -> PhaseGradient:
    """Phase cls: matching loss and gradient in the synthetic set; the student's backbone stays at theta_start's.

    Memory does not grow with the steps, but for their features and the tapes of steps that fit in `room` bytes.
    """
    features, tapes = [], Tapes(room)
    with torch.no_grad():
        for step, batch in enumerate(batches):
            images = batch.images(synthetic.images)
            of_batch, tape = backbone.features(theta_start, images)
            features.append(of_batch)
            tapes.put(step, images, tape)
        start, target = (torch.cat([w, b[:, None]], 1) for w, b in map(network.head, (theta_start, theta_target)))
        labels = [synthetic.label_logits[batch.indices] for batch in batches]
        head = match_head(start, target, features, labels, synthetic.beta, exact=exact, scale=scale)
    total = Synthetic(torch.zeros_like(synthetic.images), torch.zeros_like(synthetic.label_logits), head.beta)
    for step in range(len(batches) - 1, -1, -1):
        batch = batches[step]
        images, tape = tapes.take(step) or (batch.images(synthetic.images), None)
        in_augmented = backbone.back(theta_start, images, head.features[step], tape)
        total.images.index_add_(0, batch.indices, batch.back(in_augmented))
        total.label_logits.index_add_(0, batch.indices, head.label_logits[step])
    return PhaseGradient(head.loss, total)
