"""Phase cls in closed form: with the backbone frozen, the student's inner loop is softmax regression on its features.

For step t with features f (B, F), targets q, probabilities p at weights W_t and J_p u = p * (u - p.u):
    g_t = (p - q)^T f / B,
and for a direction a (C, F) the derivative of a . g_t is, with u_b = a f_b,
    in f_b: [a^T (p - q)_b + W_t^T J_p u_b] / B,   in the label logits: -J_q u_b / B,
    in W_t: sum_b (J_p u_b) f_b^T / B.
A constant feature 1 gives the bias. No double backward: one first-order pass back through the backbone ends it.
Derivation: docs/method.md, section 9.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.cores import take_turn
from engine.losses import softmax_jacobian
from engine.matching.plain import PhaseGradient, loss_and_adjoint
from engine.matching.student import Activations, SavedActivations
from engine.matching.synthetic import StudentBatch, Synthetic
from engine.nets.convnet_derivatives import ConvNetDerivatives, SavedBlock
from engine.nets.functional import FlatNetwork


@dataclass(frozen=True)
class RegressionGradient:
    """The matching loss of softmax regression, and its derivative in each step's features (B, F) and label logits
    (B, C), and in beta.
    """

    loss: Tensor
    features: list[Tensor]
    label_logits: list[Tensor]
    beta: Tensor


def match_softmax_regression(
    start: Tensor,
    target: Tensor,
    features: Sequence[Tensor],
    label_logits: Sequence[Tensor],
    beta: Tensor,
    *,
    exact: bool,
    scale: float = 1.0,
) -> RegressionGradient:
    """Softmax regression from `start` towards `target`, both (C, F + 1) with the bias last, and its derivatives.

    `scale` multiplies the student's loss. `exact`: back through all steps; otherwise with later weights held (TESLA).
    """
    inputs = [F.pad(f, (0, 1), value=1.0) for f in features]
    targets = [logits.softmax(dim=1) for logits in label_logits]
    # Forward: p - q and the gradient of each step are kept; they are small, (B, C) and (C, F + 1).
    weights_at, errors, gradients = [start], [], []
    for f, q in zip(inputs, targets, strict=True):
        errors.append((f @ weights_at[-1].T).softmax(dim=1) - q)
        gradients.append(scale / len(f) * errors[-1].T @ f)
        weights_at.append(weights_at[-1] - beta * gradients[-1])
    loss, adjoint = loss_and_adjoint(weights_at[-1].flatten(), start.flatten(), target.flatten(), slice(None))
    adjoint = adjoint.view_as(start)
    # Back, with the letters of the formulas above; a is the adjoint.
    grad_features, grad_labels, grad_beta = [], [], torch.zeros_like(beta)
    steps = list(zip(weights_at[:-1], inputs, targets, errors, gradients, strict=True))
    for weights, f, q, error, gradient in reversed(steps):
        grad_beta = grad_beta - (adjoint * gradient).sum()
        u = f @ adjoint.T  # (B, C)
        p_u = softmax_jacobian(error + q, u)
        step = -beta * scale / len(f)
        grad_features.append(step * (error @ adjoint + p_u @ weights)[:, :-1])
        grad_labels.append(-step * softmax_jacobian(q, u))
        if exact:
            adjoint = adjoint + step * p_u.T @ f
    return RegressionGradient(loss, grad_features[::-1], grad_labels[::-1], grad_beta)


# ---- The frozen backbone ----


@dataclass(frozen=True)
class Backbone:
    """The backbone and its first derivative, from one backend. theta: (P,), images: (B, channels, H, W).

    features(theta, images) -> features (B, F), activations
    backward(theta, images, grad_features, activations) -> the derivative in images

    Activations are None if the backend saves none. Passing None makes backward repeat the forward pass.
    """

    features: Callable[[Tensor, Tensor], tuple[Tensor, Activations | None]]
    backward: Callable[[Tensor, Tensor, Tensor, Activations | None], Tensor]


def autograd_backbone(features_of: Callable[[Tensor, Tensor], Tensor]) -> Backbone:
    """The backbone of any network by autograd; features_of(theta, images), compiled or not, gives its features."""

    def features(theta: Tensor, images: Tensor) -> tuple[Tensor, None]:
        with torch.no_grad():
            return features_of(theta, images), None

    def backward(theta: Tensor, images: Tensor, grad_features: Tensor, activations: Activations | None) -> Tensor:
        leaf = images.detach().requires_grad_()
        grad_images: Tensor = torch.autograd.grad(features_of(theta, leaf), leaf, grad_features)[0]
        return grad_images

    return Backbone(features, backward)


def analytic_backbone(passes: ConvNetDerivatives) -> Backbone:
    """The ConvNet's backbone by its own passes."""

    @torch.no_grad()
    def features(theta: Tensor, images: Tensor) -> tuple[Tensor, list[SavedBlock]]:
        saved, of_images = passes.forward(passes.blocks(theta), images)
        return of_images.to(theta.dtype), saved

    @torch.no_grad()
    def backward(theta: Tensor, images: Tensor, grad_features: Tensor, saved: list[SavedBlock] | None) -> Tensor:
        blocks = passes.blocks(theta)
        saved = saved or passes.forward(blocks, images)[0]
        grad_images = passes.backward(blocks, saved, passes.lower(grad_features), images=True).images
        assert grad_images is not None
        return grad_images.to(theta.dtype)

    return Backbone(features, backward)


# ---- The phase ----


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
    saved_bytes: float = 0,
) -> PhaseGradient:
    """Matching loss over the classifier and its gradient; the student's backbone stays at theta_start's, (P,).

    Memory grows with the steps only by features, and by at most `saved_bytes` of saved activations.
    """
    features, activations = [], SavedActivations(saved_bytes)
    with torch.no_grad():
        # All features first: the backbone is frozen, so no step changes what a later one sees.
        for step, batch in enumerate(batches):
            take_turn()
            images = batch.images(synthetic.images)
            of_batch, of_step = backbone.features(theta_start, images)
            features.append(of_batch)
            activations.put(step, images, of_step)
        start, target = (
            torch.cat([weight, bias[:, None]], 1)
            for weight, bias in map(network.classifier_weights, (theta_start, theta_target))
        )
        labels = [synthetic.label_logits[batch.indices] for batch in batches]
        regression = match_softmax_regression(start, target, features, labels, synthetic.beta, exact=exact, scale=scale)
    total = Synthetic(torch.zeros_like(synthetic.images), torch.zeros_like(synthetic.label_logits), regression.beta)
    # From the last step to the first, so that saved activations, which are the latest, are freed soonest.
    for step in range(len(batches) - 1, -1, -1):
        take_turn()
        batch = batches[step]
        images, of_step = activations.take(step) or (batch.images(synthetic.images), None)
        grad_augmented = backbone.backward(theta_start, images, regression.features[step], of_step)
        total.images.index_add_(0, batch.indices, batch.backward(grad_augmented))
        total.label_logits.index_add_(0, batch.indices, regression.label_logits[step])
    return PhaseGradient(regression.loss, total)
