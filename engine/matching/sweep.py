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
from engine.matching.student import Student


def match_by_sweep(
    theta_start: Tensor,
    theta_target: Tensor,
    *,
    matched: slice,
    student: Student,
    synthetic: Synthetic,
    batches: Sequence[StudentBatch],
    exact: bool,
) -> PhaseGradient:
    """Matching loss and gradient of a phase in which the student moves all its weights; memory flat in its steps."""
    path, gradients = _walk(theta_start, student, synthetic, batches)
    value, adjoint = loss_and_adjoint(path[-1], theta_start, theta_target, matched)
    total = synthetic.map(by=torch.zeros_like)
    for theta, gradient, batch in zip(reversed(path[:-1]), reversed(gradients), reversed(batches), strict=True):
        total.beta.sub_(torch.dot(adjoint, gradient))
        own = synthetic.images[batch.indices].requires_grad_()
        augmented = batch.augmented(own)
        labels = synthetic.label_logits[batch.indices]
        in_augmented, in_labels, *in_theta = student.mixed(theta, adjoint, augmented.detach(), labels)
        in_images = torch.autograd.grad(augmented, own, in_augmented)[0]
        total.images.index_add_(0, batch.indices, -synthetic.beta * in_images)
        total.label_logits.index_add_(0, batch.indices, -synthetic.beta * in_labels)
        if exact:
            adjoint = adjoint - synthetic.beta * in_theta[0]
    return PhaseGradient(value, total)


def _walk(
    theta: Tensor, student: Student, synthetic: Synthetic, batches: Sequence[StudentBatch]
) -> tuple[list[Tensor], list[Tensor]]:
    """The student's weights before each step and at the end, and its gradients; no graph is kept."""
    path, gradients = [theta], []
    for batch in batches:
        labels = synthetic.label_logits[batch.indices]
        gradients.append(student.gradient(path[-1], batch.images(synthetic.images), labels))
        path.append(path[-1] - synthetic.beta * gradients[-1])
    return path, gradients
