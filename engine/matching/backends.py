"""Which form of the student and its backbone a run uses: by network, device, precision and what is compiled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.cuda_graphs import Replayer
from engine.losses import StepLoss, StudentLoss, target_probabilities
from engine.matching.classifier_phase import Backbone, autograd_backbone, backbone_by_hand
from engine.matching.student import (
    Mixed,
    Student,
    Tape,
    compiled_student,
    eager_student,
    student_by_hand,
    without_tapes,
)
from engine.nets.architectures import ConvNet
from engine.nets.convnet_derivatives import ByHand
from engine.nets.functional import FlatNetwork, Forward, in_precision
from engine.nets.native import native
from engine.nets.norm_pool import compiled, written
from engine.run.events import Emit, Warned
from engine.run.settings import MatchingSettings

# A student's batch a part at a time, so that memory does not grow with it: its mean is the mean of its parts'.


def student_in_parts(student: Student, most: int) -> Student:
    """The same student on `most` images at a time; the way of a part is gone when its turn is over."""

    def walk(theta: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, Tape | None]:
        if len(images) <= most:
            return student.walk(theta, images, labels)
        parts = _parts(most, images, labels)
        return torch.stack([share * student.walk(theta, x, y)[0] for share, x, y in parts]).sum(0), None

    def mixed(theta: Tensor, direction: Tensor, images: Tensor, labels: Tensor, tape: Tape | None) -> Mixed:
        if len(images) <= most:
            return student.mixed(theta, direction, images, labels, tape)
        parts = _parts(most, images, labels)
        return _together([(share, student.mixed(theta, direction, x, y, None)) for share, x, y in parts])

    return Student(walk, mixed, student.several)


def backbone_in_parts(backbone: Backbone, most: int) -> Backbone:
    """The same backbone on `most` images at a time."""

    def features(theta: Tensor, images: Tensor) -> tuple[Tensor, Tape | None]:
        if len(images) <= most:
            return backbone.features(theta, images)
        return torch.cat([backbone.features(theta, part)[0] for _, part in _parts(most, images)]), None

    def back(theta: Tensor, images: Tensor, in_features: Tensor, tape: Tape | None) -> Tensor:
        if len(images) <= most:
            return backbone.back(theta, images, in_features, tape)
        return torch.cat([backbone.back(theta, x, f, None) for _, x, f in _parts(most, images, in_features)])

    return Backbone(features, back)


def _parts(most: int, *tensors: Tensor) -> Iterator[tuple]:
    """Each part's share of the images, and its part of each tensor; parts are as even as can be."""
    count = len(tensors[0])
    pieces = -(-count // most)
    for parts in zip(*(tensor.tensor_split(pieces) for tensor in tensors), strict=True):
        yield len(parts[0]) / count, *parts


def _together(found: list[tuple[float, Mixed]]) -> Mixed:
    images = torch.cat([share * mixed.images for share, mixed in found])
    labels = torch.cat([share * mixed.labels for share, mixed in found])
    of_theta = [share * mixed.theta for share, mixed in found if mixed.theta is not None]
    return Mixed(images, labels, torch.stack(of_theta).sum(0) if of_theta else None)


_GIB = 2**30
# In work at a time: about what a device keeps busy with, and far below what any has.
_WORKING_BYTES, _KEPT_BUSY = 1.5 * _GIB, 2**23
# Numbers that a student step has in memory at its fullest, for each output of a convolution.
_COPIES = 5


@dataclass(frozen=True)
class Forms:
    """The student's step, its backbone for phase cls, and how many steps of the published gradient go together."""

    student: Student
    backbone: Backbone
    steps_at_once: int


@dataclass(frozen=True)
class Kind:
    """What decides about the forms, apart from how many images are in work at a time."""

    network: FlatNetwork
    loss: StudentLoss
    learns_labels: bool
    settings: MatchingSettings
    device: torch.device
    compiled: bool
    emit: Emit = lambda event: None

    def forms(self, batch: int, images_at_once: int) -> Forms:
        """The forms for batches of `batch`, in parts where they are larger than `images_at_once`."""
        student, backbone = self._whole()
        steps_at_once = max(1, images_at_once // batch)
        if steps_at_once > 1 and self.settings.gradient != "exact":
            # Steps that are taken together on the way back start anew, and a replayed one would copy its tape.
            student = without_tapes(student)
        if self.compiled and self.device.type == "cuda":
            replayed = Replayer(self._told).replayed
            student = Student(replayed(student.walk), replayed(student.mixed), replayed(student.several))
            backbone = Backbone(replayed(backbone.features), replayed(backbone.back))
        if images_at_once < batch:
            student, backbone = student_in_parts(student, images_at_once), backbone_in_parts(backbone, images_at_once)
        return Forms(student, backbone, steps_at_once)

    def images_at_once(self, batch: int, activations: int) -> int:
        """As the settings say, or what fills the device and fits; `activations` is convolutions' outputs an image."""
        asked = self.settings.images_at_once
        if asked != "auto":
            return asked
        fitting = max(1, int(_WORKING_BYTES / (4 * _COPIES * activations)))
        # Several steps at once only help a device that one step leaves waiting, which no CPU does.
        busy = batch if self.device.type == "cpu" else max(batch, _KEPT_BUSY // activations)
        return min(fitting, busy)

    def step_loss(self) -> StepLoss:
        """The student's loss as a function of weights, images and labels, for autograd."""
        logits = self._in_precision(self.network)

        def loss(theta: Tensor, images: Tensor, label_logits: Tensor) -> Tensor:
            return self.loss(logits(theta, images), target_probabilities(label_logits, self.learns_labels))

        return loss

    def _whole(self) -> tuple[Student, Backbone]:
        exact = self.settings.gradient == "exact"
        if not self.compiled:
            return eager_student(self.step_loss(), exact), autograd_backbone(self._in_precision(self.network.features))
        if self.network.architecture is not ConvNet:
            features = torch.compile(self._in_precision(self.network.features), dynamic=False)
            return compiled_student(self.step_loss(), exact), autograd_backbone(features)
        low = torch.bfloat16 if self.settings.precision == "bf16" else None
        on_cpu = self.device.type == "cpu"
        passes = ByHand(self.network, native() if on_cpu else compiled(), low)
        as_written = ByHand(self.network, written(), low)
        student = student_by_hand(passes, as_written, self.network, self.loss, self.learns_labels, exact)
        if not on_cpu:
            student = replace(student, several=torch.compile(student.several, dynamic=False))
        return student, backbone_by_hand(passes)

    def _told(self, reason: str) -> None:
        message = f"a student step cannot be captured as a CUDA graph, its kernels are launched one by one: {reason}"
        self.emit(Warned(message, "compile=never does without compiled steps and graphs"))

    def _in_precision(self, forward: Forward) -> Forward:
        return in_precision(forward, self.settings.precision, self.device)
