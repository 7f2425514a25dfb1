"""A student's batch a part at a time, so that memory does not grow with it: its mean is the mean of its parts'."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from engine.matching.head import Backbone
from engine.matching.student import Mixed, Student, Tape


def student_in_parts(student: Student, most: int) -> Student:
    """The same student on `most` images at a time; several steps at once only where each is a single part."""

    def walk(theta: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, Tape | None]:
        if len(images) <= most:
            return student.walk(theta, images, labels)
        parts = _parts(most, images, labels)
        return torch.stack([share * student.walk(theta, *part)[0] for share, *part in parts]).sum(0), None

    def retrace(theta: Tensor, images: Tensor, labels: Tensor) -> Tape:
        # Of a batch in parts, each part's way is kept for its own turn alone.
        return student.retrace(theta, images, labels) if len(images) <= most else images

    def mixed(theta: Tensor, direction: Tensor, labels: Tensor, tape: Tape) -> Mixed:
        if len(labels) <= most:
            return student.mixed(theta, direction, labels, tape)
        return _together(
            [
                (share, student.mixed(theta, direction, of_part, student.retrace(theta, part, of_part)))
                for share, part, of_part in _parts(most, tape, labels)
            ]
        )

    return Student(walk, retrace, mixed, student.several)


def backbone_in_parts(backbone: Backbone, most: int) -> Backbone:
    """The same backbone on `most` images at a time."""

    def features(theta: Tensor, images: Tensor) -> tuple[Tensor, Tape | None]:
        if len(images) <= most:
            return backbone.features(theta, images)
        return torch.cat([backbone.features(theta, part)[0] for _, part in _parts(most, images)]), None

    def retrace(theta: Tensor, images: Tensor) -> Tape:
        return backbone.retrace(theta, images) if len(images) <= most else images

    def back(theta: Tensor, tape: Tape, in_features: Tensor) -> Tensor:
        if len(in_features) <= most:
            return backbone.back(theta, tape, in_features)
        parts = _parts(most, tape, in_features)
        return torch.cat([backbone.back(theta, backbone.retrace(theta, part), own) for _, part, own in parts])

    return Backbone(features, retrace, back)


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
