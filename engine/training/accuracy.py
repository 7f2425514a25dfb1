"""Accuracy on the balanced test set, per class and over all of them, of one network and of several."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NotRequired, TypedDict

import torch
from torch import Tensor

from engine.nets.functional import FlatNetwork, Forward
from engine.run.events import Evaluated
from engine.run.metrics import group_means, sample_std
from engine.run.network_cost import TEST_IMAGES_AT_ONCE


class NetworkResult(TypedDict):
    """One trained network: test accuracy of each class in percent, and the L2 norm of each row of its classifier.

    `confusion`: test images by true (row) and predicted class, of a set that a run may end with. Not where there are
    very many classes, nor in a file of an older version.
    """

    per_class: list[float]
    norms: list[float]
    confusion: NotRequired[list[list[int]]]


@torch.no_grad()
def in_test_batches(forward: Forward, theta: Tensor, images: Tensor) -> Tensor:
    """forward(theta, images) at weights theta (P,) of images (N, channels, H, W), some images at a time."""
    return torch.cat([forward(theta, batch) for batch in images.split(TEST_IMAGES_AT_ONCE.get(images.device.type, 50))])


def predictions(network: FlatNetwork, theta: Tensor, images: Tensor) -> Tensor:
    """The predicted class of each image (N, channels, H, W), as (N,) int64."""
    return in_test_batches(lambda theta, batch: network(theta, batch).argmax(dim=1), theta, images)


def confusion_matrix(network: FlatNetwork, theta: Tensor, images: Tensor, labels: Tensor) -> Tensor:
    """How many images of each class (row) are taken for each class (column): (C, C) int64 on the CPU."""
    classes = network.num_classes
    pairs = labels * classes + predictions(network, theta, images)
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes).cpu()


def per_class(confusion: Tensor) -> Tensor:
    """Accuracy in percent for each class of a confusion matrix, (C,) float64; NaN for a class without test images."""
    return 100 * confusion.diagonal().double() / confusion.sum(dim=1)


def per_class_accuracy(network: FlatNetwork, theta: Tensor, images: Tensor, labels: Tensor) -> Tensor:
    """Accuracy in percent for each class, (C,) float64 on the CPU; NaN for a class without test images."""
    return per_class(confusion_matrix(network, theta, images, labels))


def balanced(per_class: Tensor) -> float:
    """Balanced accuracy in percent: the mean over classes (C,), which on a balanced test set is the plain accuracy.

    Classes without test images (NaN) are left out.
    """
    return float(per_class.nanmean())


def summary(
    of: tuple[str, int | None, str], results: Sequence[NetworkResult], groups: Sequence[str], labels: str
) -> Evaluated:
    """Mean and sample standard deviation over networks of the balanced accuracy, and means per class and group.

    of: subject, iteration and architecture of the event; groups: of the classes.
    """
    accuracies = [balanced(torch.tensor(result["per_class"], dtype=torch.float64)) for result in results]
    by_class = [statistics.fmean(column) for column in zip(*(row["per_class"] for row in results), strict=True)]
    return Evaluated(
        *of,
        len(results),
        statistics.fmean(accuracies),
        sample_std(accuracies),
        by_class,
        group_means(by_class, groups),
        [statistics.fmean(column) for column in zip(*(row["norms"] for row in results), strict=True)],
        labels,
    )
