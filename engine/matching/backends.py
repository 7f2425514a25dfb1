"""The backend of the student and of its backbone: chosen by network, device, precision and whether to compile.

On top of the chosen one come CUDA graphs, and micro-batches if a whole batch would not fit in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.cores import take_turn
from engine.cuda_graphs import CudaGraphs
from engine.losses import StepLoss, StudentLoss, target_probabilities
from engine.matching.classifier_phase import Backbone, analytic_backbone, autograd_backbone
from engine.matching.student import (
    Activations,
    MixedVjp,
    Student,
    analytic_student,
    autograd_student,
    compiled_student,
    without_saved_activations,
)
from engine.nets.architectures import ConvNet
from engine.nets.convnet_derivatives import ConvNetDerivatives
from engine.nets.functional import FlatNetwork, Forward, in_precision
from engine.nets.norm_pool import compiled_norm_pool, eager_norm_pool
from engine.nets.norm_pool_cpp import cpp_norm_pool
from engine.run.events import Emit, Warned
from engine.run.network_cost import images_that_fit
from engine.run.settings import MatchingSettings

# Activations of the images in work at a time that keep a GPU busy.
_BUSY_ACTIVATIONS = 2**23


@dataclass(frozen=True)
class Backend:
    """The student of phase rep, the backbone of phase cls, and how many steps of the published gradient go together."""

    student: Student
    backbone: Backbone
    steps_at_once: int


@dataclass(frozen=True)
class BackendBuilder:
    """Everything that decides about the backend, except how many images are in work at a time."""

    network: FlatNetwork
    loss: StudentLoss
    learns_labels: bool
    settings: MatchingSettings
    device: torch.device
    compiled: bool
    emit: Emit = lambda event: None

    def build(self, batch_size: int, images_at_once: int) -> Backend:
        """The backend for batches of `batch_size`, in micro-batches if that exceeds `images_at_once`."""
        student, backbone = self._whole_batches()
        steps_at_once = max(1, images_at_once // batch_size)
        if steps_at_once > 1 and self.settings.gradient != "exact":
            # Steps that go back together repeat their forward pass. Saved activations would never be read, and a CUDA
            # graph would copy them out all the same.
            student = without_saved_activations(student)
        if self.compiled and self.device.type == "cuda":
            replayed = CudaGraphs(self._warn_not_captured).replayed
            student = Student(replayed(student.gradient), replayed(student.mixed_vjp), replayed(student.mixed_vjps))
            backbone = Backbone(replayed(backbone.features), replayed(backbone.backward))
        # Last, so that each micro-batch is one replayed graph.
        if images_at_once < batch_size:
            student = student_in_micro_batches(student, images_at_once)
            backbone = backbone_in_micro_batches(backbone, images_at_once)
        return Backend(student, backbone, steps_at_once)

    def images_at_once(self, batch_size: int, activations: int) -> int:
        """How many images are in work at a time: as the settings say, else what keeps the device busy and fits.

        activations: the numbers that the convolutions put out for one image.
        """
        from_settings = self.settings.images_at_once
        if from_settings != "auto":
            return from_settings
        fitting = max(1, int(images_that_fit(activations)))
        # Several steps at once only help a device that one step leaves waiting, and a CPU never waits.
        busy = batch_size if self.device.type == "cpu" else max(batch_size, _BUSY_ACTIVATIONS // activations)
        return min(fitting, busy)

    def backbone(self) -> Backbone:
        """The backbone alone, for batches of any size: neither captured as CUDA graphs nor in micro-batches."""
        return self._whole_batches()[1]

    def step_loss(self) -> StepLoss:
        """The student's loss as a function of weights, images and label logits, for autograd."""
        logits = self._in_precision(self.network)

        def loss(theta: Tensor, images: Tensor, label_logits: Tensor) -> Tensor:
            return self.loss(logits(theta, images), target_probabilities(label_logits, self.learns_labels))

        return loss

    def _whole_batches(self) -> tuple[Student, Backbone]:
        exact, features = self.settings.gradient == "exact", self._in_precision(self.network.features)
        if not self.compiled:
            return autograd_student(self.step_loss(), exact), autograd_backbone(features)
        if self.network.architecture is not ConvNet:
            compiled_features = torch.compile(features, dynamic=False)
            return compiled_student(self.step_loss(), exact), autograd_backbone(compiled_features)
        low_dtype = torch.bfloat16 if self.settings.precision == "bf16" else None
        on_cpu = self.device.type == "cpu"
        passes = ConvNetDerivatives(self.network, cpp_norm_pool() if on_cpu else compiled_norm_pool(), low_dtype)
        eager_passes = ConvNetDerivatives(self.network, eager_norm_pool(), low_dtype)
        student = analytic_student(passes, eager_passes, self.loss, self.learns_labels, exact)
        if not on_cpu:
            student = replace(student, mixed_vjps=torch.compile(student.mixed_vjps, dynamic=False))
        return student, analytic_backbone(passes)

    def _warn_not_captured(self, reason: str) -> None:
        message = f"a student step cannot be captured as a CUDA graph, its kernels are launched one by one: {reason}"
        self.emit(Warned(message, "compile=never does without compiled steps and graphs"))

    def _in_precision(self, forward: Forward) -> Forward:
        return in_precision(forward, self.settings.precision, self.device)


# ---- Micro-batches ----
#
# The student's loss is a mean over its batch, so gradients and mixed derivatives are the means of those of its
# micro-batches, weighted by their shares of the images. Every micro-batch repeats its forward pass on the way back:
# saved activations would grow with the batch again.


def student_in_micro_batches(student: Student, most: int) -> Student:
    """Runs the student in micro-batches of at most `most` images, freeing each one's activations."""

    def gradient(theta: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, Activations | None]:
        if len(images) <= most:
            return student.gradient(theta, images, labels)
        parts = _micro_batches(most, images, labels)
        return torch.stack([share * student.gradient(theta, x, y)[0] for share, x, y in parts]).sum(0), None

    def mixed_vjp(
        theta: Tensor, v: Tensor, images: Tensor, labels: Tensor, activations: Activations | None
    ) -> MixedVjp:
        if len(images) <= most:
            return student.mixed_vjp(theta, v, images, labels, activations)
        parts = [
            (share, student.mixed_vjp(theta, v, x, y, None)) for share, x, y in _micro_batches(most, images, labels)
        ]
        of_theta = [share * vjp.theta for share, vjp in parts if vjp.theta is not None]
        return MixedVjp(
            torch.cat([share * vjp.images for share, vjp in parts]),
            torch.cat([share * vjp.labels for share, vjp in parts]),
            torch.stack(of_theta).sum(0) if of_theta else None,
        )

    return Student(gradient, mixed_vjp, student.mixed_vjps)


def backbone_in_micro_batches(backbone: Backbone, most: int) -> Backbone:
    """Runs the backbone in micro-batches of at most `most` images, freeing each one's activations."""

    def features(theta: Tensor, images: Tensor) -> tuple[Tensor, Activations | None]:
        if len(images) <= most:
            return backbone.features(theta, images)
        return torch.cat([backbone.features(theta, part)[0] for _, part in _micro_batches(most, images)]), None

    def backward(theta: Tensor, images: Tensor, grad_features: Tensor, activations: Activations | None) -> Tensor:
        if len(images) <= most:
            return backbone.backward(theta, images, grad_features, activations)
        parts = _micro_batches(most, images, grad_features)
        return torch.cat([backbone.backward(theta, x, grad, None) for _, x, grad in parts])

    return Backbone(features, backward)


def _micro_batches(most: int, *tensors: Tensor) -> Iterator[tuple]:
    """Each micro-batch's share of the images, and its part of each tensor; sizes differ by one at most."""
    count = len(tensors[0])
    pieces = -(-count // most)
    for parts in zip(*(tensor.tensor_split(pieces) for tensor in tensors), strict=True):
        take_turn()
        yield len(parts[0]) / count, *parts
