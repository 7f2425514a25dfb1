"""Accuracy on the balanced test set, per class and over all of them, of one network and of several."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from engine.context import warning_of_damage
from engine.cores import take_turn
from engine.nets.functional import FlatNetwork, Forward
from engine.run.checksums import DamagedFile
from engine.run.events import Emit, Evaluated
from engine.run.folder import read_sealed_json
from engine.run.metrics import group_means, sample_std
from engine.run.network_cost import TEST_IMAGES_AT_ONCE
from engine.run.recipes import NetworkResult, network_results


def read_network_results(path: Path, classes: int, emit: Emit) -> list[NetworkResult]:
    """The results in a file; none, with a Warned, of one that is damaged or holds something else."""
    try:
        if results := network_results(read_sealed_json(path), classes):
            return results
        raise DamagedFile(f"it holds no results of networks for {classes} classes")
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        emit(warning_of_damage(path, error, "these networks are trained again"))
        return []


@torch.no_grad()
def in_test_batches(forward: Forward, theta: Tensor, images: Tensor) -> Tensor:
    """forward(theta, images) at weights theta (P,) of images (N, channels, H, W), some images at a time."""
    results = []
    for batch in images.split(TEST_IMAGES_AT_ONCE.get(images.device.type, 50)):
        take_turn()
        results.append(forward(theta, batch))
    return torch.cat(results)


def predictions(network: FlatNetwork, theta: Tensor, images: Tensor) -> Tensor:
    """The predicted class of each image (N, channels, H, W), as (N,) int64."""
    return in_test_batches(lambda theta, batch: network(theta, batch).argmax(dim=1), theta, images)


class ClassFigures(NamedTuple):
    """One network on the test images, on the CPU: (C, C) int64 how many of each class (row) are taken for each class.

    confidence: (C,) float64, the mean probability that images of a class give that class, in percent; NaN for a class
    without test images. right: (N,) bool, which images are put into their class.
    """

    confusion: Tensor
    confidence: Tensor
    right: Tensor

    @property
    def per_class(self) -> Tensor:
        """Accuracy in percent of each class, (C,) float64; NaN for a class without test images."""
        return per_class(self.confusion)


@torch.no_grad()
def class_figures(network: FlatNetwork, theta: Tensor, images: Tensor, labels: Tensor) -> ClassFigures:
    """Tests a network of weights theta (P,) on images (N, channels, H, W) of classes labels (N,)."""
    logits, classes = in_test_batches(network, theta, images), network.num_classes
    given = logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]
    predicted = logits.argmax(dim=1)
    pairs = labels * classes + predicted
    confusion = torch.bincount(pairs, minlength=classes**2).view(classes, classes).cpu()
    # On the CPU, where sums always come in the same order.
    summed = torch.bincount(labels.cpu(), weights=given.double().cpu(), minlength=classes)
    # A softmax of float32 may lie a little above 1.
    confidence = (100 * summed / confusion.sum(dim=1)).clamp(max=100)
    return ClassFigures(confusion, confidence, (predicted == labels).cpu())


def per_class(confusion: Tensor) -> Tensor:
    """Accuracy in percent for each class of a confusion matrix, (C,) float64; NaN for a class without test images."""
    return 100 * confusion.diagonal().double() / confusion.sum(dim=1)


def per_class_accuracy(network: FlatNetwork, theta: Tensor, images: Tensor, labels: Tensor) -> Tensor:
    """Accuracy in percent for each class, (C,) float64 on the CPU; NaN for a class without test images."""
    return class_figures(network, theta, images, labels).per_class


def balanced(per_class: Tensor) -> float:
    """Balanced accuracy in percent: the mean over classes (C,), which on a balanced test set is the plain accuracy.

    Classes without test images (NaN) are left out.
    """
    return float(per_class.nanmean())


def has_diverged(result: NetworkResult) -> bool:
    """Whether the network ended with weights that are not finite, with which it puts all images into one class."""
    # Of a class without test images the confidence is NaN as well.
    tested = [
        own
        for own, accuracy in zip(result.get("confidence", []), result["per_class"], strict=False)
        if math.isfinite(accuracy)
    ]
    return not all(map(math.isfinite, [*result["norms"], *tested]))


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
        # Of networks that an older version tested there are none.
        confidence=[
            statistics.fmean(column) for column in zip(*(row.get("confidence", []) for row in results), strict=False)
        ],
        diverged=sum(map(has_diverged, results)),
    )
