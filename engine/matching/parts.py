"""A student's batch a part at a time, so that memory does not grow with it: its mean is the mean of its parts'."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from engine.matching.head import Backbone
from engine.matching.student import Mixed, Student, Tape


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
