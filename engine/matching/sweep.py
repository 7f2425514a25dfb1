"""Phase rep without a graph over the steps: walk the student forward, then sweep back over its steps one at a time.

With a_t the derivative of the matching loss in the student's weights after step t, step t contributes
    d/d(x_t, y_t) [ -beta * a_t . g_t ]   to images and labels, and   -a_t . g_t   to beta,
where g_t is the gradient of the student's loss at step t. The `published` (TESLA) gradient keeps a_t = a_T; the `exact`
one pulls it back through every step, a_(t-1) = a_t - beta * d/dtheta [a_t . g_t], and equals unrolled autograd.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.matching.batches import StudentBatch, Synthetic
from engine.matching.phase import PhaseGradient, loss_and_adjoint
from engine.matching.plain import StepLoss


def match_by_sweep(theta_start: Tensor, theta_target: Tensor, *, matched: slice, loss: StepLoss,
                   synthetic: Synthetic, batches: Sequence[StudentBatch], exact: bool) -> PhaseGradient:
    """Matching loss and gradient of a phase in which the student moves all its weights; memory flat in its steps."""
    path, gradients = _walk(theta_start, loss, synthetic, batches)
    value, adjoint = loss_and_adjoint(path[-1], theta_start, theta_target, matched)
    total = synthetic.map(by=torch.zeros_like)
    for theta, gradient, batch in zip(reversed(path[:-1]), reversed(gradients), reversed(batches), strict=True):
        total.beta.sub_(torch.dot(adjoint, gradient))
        images, labels, pulled = _mixed_derivative(theta, adjoint, loss, synthetic, batch, with_theta=exact)
        total.images.index_add_(0, batch.indices, images, alpha=-float(synthetic.beta))
        total.label_logits.index_add_(0, batch.indices, labels, alpha=-float(synthetic.beta))
        if pulled is not None:
            adjoint = adjoint - synthetic.beta * pulled
    return PhaseGradient(value, total)


def _walk(theta: Tensor, loss: StepLoss, synthetic: Synthetic,
          batches: Sequence[StudentBatch]) -> tuple[list[Tensor], list[Tensor]]:
    """The student's weights before each step and at the end, and its gradients; no graph is kept."""
    path, gradients = [theta], []
    for batch in batches:
        leaf = path[-1].detach().requires_grad_()
        value = loss(leaf, batch.images(synthetic.images), synthetic.label_logits[batch.indices])
        gradients.append(torch.autograd.grad(value, leaf)[0])
        path.append(path[-1] - synthetic.beta * gradients[-1])
    return path, gradients


def _mixed_derivative(theta: Tensor, direction: Tensor, loss: StepLoss, synthetic: Synthetic, batch: StudentBatch,
                      with_theta: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """d/d(images, labels, theta) of direction . grad_theta loss, for one step's own images and labels."""
    images = synthetic.images[batch.indices].requires_grad_()
    labels = synthetic.label_logits[batch.indices].requires_grad_()
    weights = theta.detach().requires_grad_()
    value = loss(weights, batch.augmented(images), labels)
    gradient = torch.autograd.grad(value, weights, create_graph=True)[0]
    leaves = [images, labels, weights] if with_theta else [images, labels]
    pulled = torch.autograd.grad(torch.dot(direction, gradient), leaves, materialize_grads=True)
    return pulled[0], pulled[1], pulled[2] if with_theta else None
