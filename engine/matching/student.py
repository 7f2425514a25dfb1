"""Derivatives of one student step: its gradient, and the mixed derivative that carries it back to images and labels.

Matching needs, of the student's loss l(theta, x, y), the gradient g = dl/dtheta and, for a direction v, the
vector-Jacobian product d(v . g) in images x, label logits y and weights theta (docs/method.md, section 6). Three
backends compute both and are tested to be equal: autograd and autograd of autograd, for any network; forward over
reverse, compiled by torch, for any network; and the ConvNet's own derivatives, the fastest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import grad, jvp, vmap

from engine.losses import StepLoss, StudentLoss, softmax_jacobian, target_probabilities
from engine.nets.convnet_derivatives import ConvNetDerivatives, SavedBlock

Activations = Any
"""What `gradient` saves of its forward pass, so that `mixed_vjp` need not repeat it: tensors in tuples and lists."""


class MixedVjp(NamedTuple):
    """d(v . gradient) in images (B, channels, H, W), label logits (B, C) and, if asked for, weights (P,)."""

    images: Tensor
    labels: Tensor
    theta: Tensor | None = None


@dataclass(frozen=True)
class Student:
    """The derivatives of one student step, from one backend. images: (B, channels, H, W), labels: logits (B, C).

    gradient(theta (P,), images, labels) -> gradient (P,), activations
    mixed_vjp(theta, v (P,), images, labels, activations) -> MixedVjp
    mixed_vjps(thetas (n, P), v, images (n, B, ...), labels (n, B, C)) -> MixedVjp of n steps at once, without theta

    Activations are None if the backend saves none. Passing None makes mixed_vjp repeat the forward pass.
    """

    gradient: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Activations | None]]
    mixed_vjp: Callable[[Tensor, Tensor, Tensor, Tensor, Activations | None], MixedVjp]
    mixed_vjps: Callable[[Tensor, Tensor, Tensor, Tensor], MixedVjp]


def without_saved_activations(student: Student) -> Student:
    """The same student without saved activations; the mixed derivative recomputes the forward pass."""
    return replace(student, gradient=lambda theta, images, labels: (student.gradient(theta, images, labels)[0], None))


# ---- Any network ----


def autograd_student(loss: StepLoss, with_theta: bool) -> Student:
    """The backend without compiling: autograd, and autograd of autograd. `with_theta`: MixedVjp.theta is wanted."""

    @torch.enable_grad()
    def gradient(theta: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, None]:
        leaf = theta.detach().requires_grad_()
        return torch.autograd.grad(loss(leaf, images, labels), leaf)[0], None

    def mixed_vjp(
        theta: Tensor, v: Tensor, images: Tensor, labels: Tensor, activations: Activations | None
    ) -> MixedVjp:
        weights, *leaves = (tensor.detach().requires_grad_() for tensor in (theta, images, labels))
        step_gradient = torch.autograd.grad(loss(weights, *leaves), weights, create_graph=True)[0]
        inputs = [*leaves, weights] if with_theta else leaves
        # Hard labels have no influence on the loss that autograd could see: materialize_grads gives them zeros.
        return MixedVjp(*torch.autograd.grad(torch.dot(v, step_gradient), inputs, materialize_grads=True))

    return Student(gradient, mixed_vjp, _of_each_step(_forward_over_reverse(loss, with_theta=False)))


def compiled_student(loss: StepLoss, with_theta: bool) -> Student:
    """The same numbers up to rounding, compiled by torch; needs a C++ compiler (CPU) or Triton (GPU)."""
    # Batches that do not divide the set have two sizes at most. Each is compiled for itself, since kernels for any size
    # are a third slower.
    gradient = torch.compile(grad(loss), dynamic=False)
    mixed_vjp = torch.compile(_forward_over_reverse(loss, with_theta), dynamic=False)
    return Student(
        lambda theta, images, labels: (gradient(theta, images, labels), None),
        lambda theta, v, images, labels, activations: mixed_vjp(theta, v, images, labels),
        torch.compile(_of_each_step(_forward_over_reverse(loss, with_theta=False)), dynamic=False),
    )


_MixedVjpFunction = Callable[[Tensor, Tensor, Tensor, Tensor], MixedVjp]


def _forward_over_reverse(loss: StepLoss, with_theta: bool) -> _MixedVjpFunction:
    """d(v . dl/dtheta)/dx as the tangent of dl/dx along v: second derivatives commute, and a tangent keeps no graph."""
    argnums = (1, 2, 0) if with_theta else (1, 2)

    def mixed_vjp(theta: Tensor, v: Tensor, images: Tensor, labels: Tensor) -> MixedVjp:
        def gradients(weights: Tensor) -> tuple[Tensor, ...]:
            of_inputs: tuple[Tensor, ...] = grad(loss, argnums=argnums)(weights, images, labels)
            return of_inputs

        return MixedVjp(*jvp(gradients, (theta,), (v,))[1])

    return mixed_vjp


def _of_each_step(mixed_vjp: _MixedVjpFunction) -> _MixedVjpFunction:
    """`mixed_vjp` of several steps in one call: weights (n, P), images (n, B, ...), labels (n, B, C), one v (P,)."""
    # Without theta, which is None: vmap takes only tensors.
    of_each_step = vmap(lambda *inputs: tuple(mixed_vjp(*inputs)[:2]), in_dims=(0, None, 0, 0))
    return lambda *inputs: MixedVjp(*of_each_step(*inputs))


# ---- The ConvNet ----
#
# Forward over reverse with the passes of convnet_derivatives.py and the derivatives of the DAM loss in losses.py. Half
# the work of autograd of autograd: if `gradient` saved its activations, `mixed_vjp` only computes tangents.


class ConvNetActivations(NamedTuple):
    """Of one step: what each block saves, the derivatives in their outputs, features (B, F) and logits (B, C)."""

    blocks: list[SavedBlock]
    grad_pooled: list[Tensor]
    features: Tensor
    logits: Tensor


def analytic_student(
    passes: ConvNetDerivatives,
    eager_passes: ConvNetDerivatives,
    loss: StudentLoss,
    learns_labels: bool,
    with_theta: bool,
) -> Student:
    """The ConvNet's backend: steps through `passes`; several at once through `eager_passes`, which vmap can vectorize.

    `learns_labels`: labels are soft and learnt (else the class of the largest logit). `with_theta`: as above.
    """
    single = _AnalyticStudent(passes, loss, learns_labels, with_theta)
    vectorizable = _AnalyticStudent(eager_passes, loss, learns_labels, with_theta=False)
    mixed_vjps = _of_each_step(lambda theta, v, x, y: vectorizable.mixed_vjp(theta, v, x, y, None))
    return Student(torch.no_grad()(single.gradient), torch.no_grad()(single.mixed_vjp), torch.no_grad()(mixed_vjps))


@dataclass(frozen=True)
class _AnalyticStudent:
    passes: ConvNetDerivatives
    loss: StudentLoss
    learns_labels: bool
    with_theta: bool

    def gradient(self, theta: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, ConvNetActivations]:
        activations, backbone, grad_logits = self._forward_and_backward(theta, images, labels, weights=True)
        grad_weight = (self.passes.lower(grad_logits).T @ activations.features).to(theta.dtype)
        classifier = {"classifier.weight": grad_weight, "classifier.bias": grad_logits.sum(0)}
        return self.passes.network.join(backbone | classifier), activations

    def mixed_vjp(
        self, theta: Tensor, v: Tensor, images: Tensor, labels: Tensor, activations: ConvNetActivations | None
    ) -> MixedVjp:
        passes = self.passes
        activations = activations or self._forward_and_backward(theta, images, labels, weights=False)[0]
        saved, grad_pooled, features, logits = activations
        blocks, d_blocks = passes.blocks(theta), passes.blocks(v)
        (weight, _), (d_weight, d_bias) = passes.classifier(theta), passes.classifier(v)
        # Forward along v: through the blocks, the classifier and the loss.
        tangents, d_features = passes.forward_jvp(blocks, d_blocks, saved)
        d_logits = (d_features @ weight.T + features @ d_weight.T).to(theta.dtype) + d_bias
        targets = target_probabilities(labels, self.learns_labels)
        grad_logits = passes.lower(self.loss.grad_logits(logits, targets))
        d_grad_logits, vjp_targets = self.loss.tangent(logits, targets, d_logits)
        # And back: the tangents of the derivatives, down to the images.
        low = passes.lower(d_grad_logits)
        d_grad_features = low @ weight + grad_logits @ d_weight
        gradients = passes.backward_jvp(
            blocks, d_blocks, saved, tangents, grad_pooled, d_grad_features, weights=self.with_theta
        )
        vjp_labels = softmax_jacobian(targets, vjp_targets) if self.learns_labels else torch.zeros_like(labels)
        assert gradients.images is not None
        if not self.with_theta:
            return MixedVjp(gradients.images, vjp_labels)
        d_grad_weight = (low.T @ features + grad_logits.T @ d_features).to(theta.dtype)
        classifier = {"classifier.weight": d_grad_weight, "classifier.bias": d_grad_logits.sum(0)}
        return MixedVjp(gradients.images, vjp_labels, passes.network.join(gradients.weights | classifier))

    def _forward_and_backward(
        self, theta: Tensor, images: Tensor, labels: Tensor, *, weights: bool
    ) -> tuple[ConvNetActivations, dict[str, Tensor], Tensor]:
        """Activations, the backbone's gradient if `weights` asks for it, and the derivative in the logits (B, C)."""
        passes, blocks = self.passes, self.passes.blocks(theta)
        weight, bias = passes.classifier(theta)
        saved, features = passes.forward(blocks, images)
        # Logits and losses are in the type of theta, however low the type of the products is.
        logits = (features @ weight.T).to(theta.dtype) + bias
        grad_logits = self.loss.grad_logits(logits, target_probabilities(labels, self.learns_labels))
        gradients = passes.backward(blocks, saved, passes.lower(grad_logits) @ weight, weights=weights)
        return ConvNetActivations(saved, gradients.pooled, features, logits), gradients.weights, grad_logits


# ---- Saved activations of a phase's steps ----


class SavedActivations:
    """Activations of the latest steps, at most `limit_bytes` of them; the others are recomputed.

    The latest, because the backward sweep begins with them and frees each as it goes.
    """

    def __init__(self, limit_bytes: float) -> None:
        self._limit_bytes, self._used_bytes = limit_bytes, 0
        self._saved: dict[int, tuple[tuple[Tensor, Activations], int]] = {}

    def put(self, step: int, images: Tensor, activations: Activations | None) -> None:
        """Saves a step's augmented images with its activations, in place of the earliest ones if they do not fit."""
        size = activation_bytes((images, activations))
        if activations is None or size > self._limit_bytes:
            return
        self._saved[step] = (images, activations), size
        self._used_bytes += size
        while self._used_bytes > self._limit_bytes:
            self.take(next(iter(self._saved)))

    def take(self, step: int) -> tuple[Tensor, Activations] | None:
        """Removes and returns a step's images and activations; None if they were not saved."""
        saved, size = self._saved.pop(step, (None, 0))
        self._used_bytes -= size
        return saved


def activation_bytes(activations: Activations | None) -> int:
    """The memory of all tensors in nested tuples and lists."""
    if isinstance(activations, Tensor):
        return activations.numel() * activations.element_size()
    return sum(map(activation_bytes, activations)) if isinstance(activations, tuple | list) else 0
