"""Phase rep without a graph over the steps: walk the student forward, then sweep back over its steps.

With a_t the derivative of the matching loss in the student's weights after step t, step t contributes
    d/d(x_t, y_t) [ -beta * a_t . g_t ]   to images and labels, and   -a_t . g_t   to beta,
where g_t is the gradient of the student's loss at step t. The `published` (TESLA) gradient keeps a_t = a_T, so that its
steps are independent of each other; the `exact` one pulls it back through every step, a_(t-1) = a_t - beta *
d/dtheta [a_t . g_t], and equals unrolled autograd.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.matching.plain import PhaseGradient, loss_and_adjoint
from engine.matching.student import Mixed, Student, Tapes
from engine.matching.synthetic import StudentBatch, Synthetic


def match_by_sweep(
    theta_start: Tensor,
    theta_target: Tensor,
    *,
    matched: slice,
    student: Student,
    synthetic: Synthetic,
    batches: Sequence[StudentBatch],
    exact: bool,
    room: float = 0,
    at_once: int = 1,
) -> PhaseGradient:
    """Matching loss and gradient of a phase in which the student moves all its weights.

    Memory does not grow with the steps, but for the student's weights and the tapes of steps that fit in `room` bytes.
    `at_once`: steps taken together on the way back, where they are independent.
    """
    with torch.no_grad():
        way = _walk(theta_start, student, synthetic, batches, room)
        value, adjoint = loss_and_adjoint(way.thetas[-1], theta_start, theta_target, matched)
    total = synthetic.map(by=torch.zeros_like)
    back = _step_by_step if exact or at_once == 1 else _several_at_once
    for step, mixed, along in back(way, adjoint, student, synthetic, batches, exact, at_once):
        indices = batches[step].indices
        total.beta.sub_(torch.dot(along, way.gradients[step]))
        in_images = batches[step].back(mixed.images)
        total.images.index_add_(0, indices, -synthetic.beta * in_images)
        total.label_logits.index_add_(0, indices, -synthetic.beta * mixed.labels)
    return PhaseGradient(value, total)


@dataclass(frozen=True)
class _Way:
    """The student's weights before each step and at the end, its gradients, and the tapes that are kept."""

    thetas: list[Tensor]
    gradients: list[Tensor]
    tapes: Tapes


def _walk(theta: Tensor, student: Student, synthetic: Synthetic, batches: Sequence[StudentBatch], room: float) -> _Way:
    way = _Way([theta], [], Tapes(room))
    for step, batch in enumerate(batches):
        images, labels = batch.images(synthetic.images), synthetic.label_logits[batch.indices]
        gradient, tape = student.walk(way.thetas[-1], images, labels)
        way.tapes.put(step, images, tape)
        way.gradients.append(gradient)
        way.thetas.append(way.thetas[-1] - synthetic.beta * gradient)
    return way


_Back = Iterator[tuple[int, Mixed, Tensor]]


def _step_by_step(
    way: _Way,
    adjoint: Tensor,
    student: Student,
    synthetic: Synthetic,
    batches: Sequence[StudentBatch],
    exact: bool,
    at_once: int,
) -> _Back:
    """Each step from the last to the first: its number, its mixed derivative, and the adjoint along which it is."""
    for step in range(len(batches) - 1, -1, -1):
        images, tape = way.tapes.take(step) or (batches[step].images(synthetic.images), None)
        labels = synthetic.label_logits[batches[step].indices]
        mixed = student.mixed(way.thetas[step], adjoint, images, labels, tape)
        yield step, mixed, adjoint
        if exact:
            assert mixed.theta is not None
            adjoint = adjoint - synthetic.beta * mixed.theta


def _several_at_once(
    way: _Way,
    adjoint: Tensor,
    student: Student,
    synthetic: Synthetic,
    batches: Sequence[StudentBatch],
    exact: bool,
    at_once: int,
) -> _Back:
    """The same for steps that are independent, `at_once` of them together where their batches are of one size."""
    for steps in _alike(batches, at_once):
        images = torch.stack([batches[step].images(synthetic.images) for step in steps])
        labels = torch.stack([synthetic.label_logits[batches[step].indices] for step in steps])
        thetas = torch.stack([way.thetas[step] for step in steps])
        together = student.several(thetas, adjoint, images, labels)
        for place, step in enumerate(steps):
            yield step, Mixed(together.images[place], together.labels[place], None), adjoint


def _alike(batches: Sequence[StudentBatch], at_once: int) -> Iterator[list[int]]:
    """The steps in groups of up to `at_once`, one size of batch a group."""
    by_size: dict[int, list[int]] = {}
    for step, batch in enumerate(batches):
        by_size.setdefault(len(batch.indices), []).append(step)
    for steps in by_size.values():
        for first in range(0, len(steps), at_once):
            yield steps[first : first + at_once]
