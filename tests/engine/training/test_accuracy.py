"""What is measured of a network on the test images."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from engine.run.recipes import NetworkResult
from engine.training.accuracy import class_figures, summary


class Readout:
    """A network whose logits are what the images hold."""

    num_classes = 3

    def __call__(self, theta: Tensor, images: Tensor) -> Tensor:
        return images.flatten(1)


def test_a_tested_network_has_confusion_accuracy_and_the_confidence_in_the_true_class():
    # More images than are tested at once, of two of three classes; each gives 0.7 to one class.
    labels = torch.tensor([0, 0, 1]).repeat(50)
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.1, 0.7, 0.2]]).repeat(50, 1)
    own = class_figures(Readout(), torch.zeros(0), probabilities.log().view(-1, 3, 1, 1), labels)
    assert own.confusion.tolist() == [[50, 0, 50], [0, 50, 0], [0, 0, 0]]
    assert own.per_class.tolist()[:2] == [50.0, 100.0]
    torch.testing.assert_close(own.confidence[:2], torch.tensor([40.0, 70.0], dtype=torch.float64))
    assert math.isnan(own.per_class[2]) and math.isnan(own.confidence[2])


def test_a_confidence_is_a_percentage_also_where_a_softmax_rounds_above_one():
    logits = torch.full((4, 3), -40.0)
    logits[:, 0] = 40.0
    own = class_figures(Readout(), torch.zeros(0), logits.view(-1, 3, 1, 1), torch.zeros(4, dtype=torch.int64))
    assert own.confidence[0] == 100.0


def test_a_summary_leaves_out_a_confidence_that_an_older_version_did_not_measure():
    old: NetworkResult = {"per_class": [50.0, 60.0], "norms": [1.0, 1.0]}
    new = NetworkResult(**old, confidence=[40.0, 30.0])
    of = ("final", 3, "convnet")
    assert summary(of, [new, new], ["many", "few"], "stored").confidence == [40.0, 30.0]
    assert summary(of, [old, new], ["many", "few"], "stored").confidence == []
