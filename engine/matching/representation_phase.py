"""Phase rep without a graph over the steps: train the student forward, then go back over its steps one by one.

With a_t the derivative of the matching loss in the student's weights after step t, step t contributes
    d/d(x_t, y_t) [ -beta * a_t . g_t ]   to images and labels, and   -a_t . g_t   to beta,
where g_t is the gradient of the student's loss at step t. The `published` (TESLA) gradient holds a_t = a_T, so that its
steps are independent of each other; the `exact` one pulls it back through every step, a_(t-1) = a_t - beta *
d/dtheta [a_t . g_t], and equals unrolled autograd. Derivation: docs/method.md, section 6.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.cores import take_turn
from engine.matching.plain import PhaseGradient, loss_and_adjoint
from engine.matching.student import MixedVjp, SavedActivations, Student
from engine.matching.synthetic import StudentBatch, Synthetic


def match_representation(
    theta_start: Tensor,
    theta_target: Tensor,
    *,
    matched: slice,
    student: Student,
    synthetic: Synthetic,
    batches: Sequence[StudentBatch],
    exact: bool,
    saved_bytes: float = 0,
    steps_at_once: int = 1,
) -> PhaseGradient:
    """Matching loss over the `matched` weights and its gradient; the student moves all weights, (P,).

    Memory grows with the steps by weights and gradients alone, and by at most `saved_bytes` of saved activations.
    steps_at_once: how many steps of the published gradient go back together.
    """
    with torch.no_grad():
        path = _StudentPath(student, synthetic, batches, SavedActivations(saved_bytes), [theta_start])
        path.train()
        loss, adjoint = loss_and_adjoint(path.thetas[-1], theta_start, theta_target, matched)
    total = synthetic.map(by=torch.zeros_like)
    one_by_one = exact or steps_at_once == 1
    steps_back = path.back_one_by_one(adjoint, exact) if one_by_one else path.back_together(adjoint, steps_at_once)
    for step, vjp, adjoint_at_step in steps_back:
        indices = batches[step].indices
        total.beta.sub_(torch.dot(adjoint_at_step, path.gradients[step]))
        # An image may be in several steps: index_add_ sums what each contributes.
        total.images.index_add_(0, indices, -synthetic.beta * batches[step].backward(vjp.images))
        total.label_logits.index_add_(0, indices, -synthetic.beta * vjp.labels)
    return PhaseGradient(loss, total)


_StepsBack = Iterator[tuple[int, MixedVjp, Tensor]]
"""The number of a step, its mixed derivative, and the adjoint (P,) that it was taken along."""


@dataclass(frozen=True)
class _StudentPath:
    """The student's steps, forward and back: its weights (P,) before each and at the end, and its gradients (P,)."""

    student: Student
    synthetic: Synthetic
    batches: Sequence[StudentBatch]
    activations: SavedActivations
    thetas: list[Tensor]
    gradients: list[Tensor] = field(default_factory=list)

    def train(self) -> None:
        """All steps forward, from the first weights."""
        for step in range(len(self.batches)):
            take_turn()
            images = self._images(step)
            gradient, activations = self.student.gradient(self.thetas[-1], images, self._labels(step))
            self.activations.put(step, images, activations)
            self.gradients.append(gradient)
            self.thetas.append(self.thetas[-1] - self.synthetic.beta * gradient)

    def back_one_by_one(self, adjoint: Tensor, exact: bool) -> _StepsBack:
        """From the last step to the first, as the exact gradient needs."""
        for step in range(len(self.batches) - 1, -1, -1):
            take_turn()
            images, activations = self.activations.take(step) or (self._images(step), None)
            vjp = self.student.mixed_vjp(self.thetas[step], adjoint, images, self._labels(step), activations)
            yield step, vjp, adjoint
            if exact:
                assert vjp.theta is not None
                adjoint = adjoint - self.synthetic.beta * vjp.theta

    def back_together(self, adjoint: Tensor, steps_at_once: int) -> _StepsBack:
        """For the published gradient, whose steps are independent: `steps_at_once` of them in one call.

        Only steps with batches of one size can be stacked: the last batch of a pass over the set may be smaller.
        """
        by_size: dict[int, list[int]] = {}
        for step, batch in enumerate(self.batches):
            by_size.setdefault(len(batch.indices), []).append(step)
        for same_size in by_size.values():
            for first in range(0, len(same_size), steps_at_once):
                take_turn()
                steps = same_size[first : first + steps_at_once]
                thetas = torch.stack([self.thetas[step] for step in steps])
                images = torch.stack([self._images(step) for step in steps])
                labels = torch.stack([self._labels(step) for step in steps])
                vjps = self.student.mixed_vjps(thetas, adjoint, images, labels)
                for place, step in enumerate(steps):
                    yield step, MixedVjp(vjps.images[place], vjps.labels[place]), adjoint

    def _images(self, step: int) -> Tensor:
        return self.batches[step].images(self.synthetic.images)

    def _labels(self, step: int) -> Tensor:
        return self.synthetic.label_logits[self.batches[step].indices]
