"""Each rule equals its definition, stated directly and slowly in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor

from engine.data.selection import select_real_images
from engine.run.methods import SelectionRule
from tests.engine.tiny_run import tiny_data, tiny_settings

RULES = get_args(SelectionRule)


def embeddings(features: Tensor, logits: Tensor, c: int) -> Tensor:
    """The gradient of the cross-entropy in the classifier's weight, by autograd, for each image: (n, C * F)."""
    rows = []
    for f, z in zip(features, logits, strict=True):
        weight = torch.zeros(len(z), len(f), dtype=torch.float64, requires_grad=True)
        loss = torch.nn.functional.cross_entropy(weight @ f + z, torch.tensor(c))
        rows.append(torch.autograd.grad(loss, weight)[0].flatten())
    return torch.stack(rows)


def by_definition(rule: SelectionRule, features: Tensor, logits: Tensor, c: int, count: int) -> list[int]:
    """The choice by O(n^2) loops over pairs of images."""
    n, mean = len(features), features.mean(dim=0)
    if rule == "confident":
        probability = logits.softmax(dim=1)[:, c].tolist()
        return sorted(range(n), key=lambda i: -probability[i])[:count]
    gradients = embeddings(features, logits, c)
    cosine = [[float(torch.cosine_similarity(a, b, dim=0)) for b in gradients] for a in gradients]
    taken: list[int] = []

    def badness(i: int) -> float:
        if rule == "herding":
            total = sum((features[j] for j in taken), torch.zeros_like(mean))
            return float(((len(taken) + 1) * mean - (total + features[i])).norm())
        if rule == "k-center":
            if not taken:
                return float((features[i] - mean).norm())
            return -min(float((features[i] - features[j]).norm()) for j in taken)
        return 2 * sum(cosine[i][j] for j in taken) - sum(cosine[i])

    while len(taken) < min(count, n):
        left = [i for i in range(n) if i not in taken]
        taken.append(min(left, key=badness))  # the first of equals
    return taken


def select(rule: SelectionRule, labels: Tensor, features: Tensor, logits: Tensor, ipc: int) -> Tensor:
    """The choice among images whose one pixel is their number, by which a teacher finds their features and logits."""
    images = torch.arange(len(labels))[:, None, None, None]
    names = [str(c) for c in labels.unique().tolist()]
    data = replace(tiny_data(tiny_settings()), train_images=images, train_labels=labels, class_names=names)
    return select_real_images(data, ipc, rule, lambda of: features[of.flatten()], lambda of: logits[of.flatten()])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("copies", [1, 2])
def test_a_rule_equals_its_definition_in_every_class(rule: SelectionRule, copies: int) -> None:
    draw = torch.Generator().manual_seed(3)
    labels = torch.tensor([0] * 16 + [1] * 4 + [2] * 12)
    features = torch.randn(32, 5, generator=draw, dtype=torch.float64).abs()
    logits = 3 * torch.randn(32, 3, generator=draw, dtype=torch.float64)
    # Every image as often as there are copies: which of two equal images comes first does not matter.
    labels, features, logits = (each.repeat_interleave(copies, dim=0) for each in (labels, features, logits))
    chosen = select(rule, labels, features, logits, 10)
    for c, own in enumerate(chosen.split(10)):
        members = torch.nonzero(labels == c).flatten()
        expected = members[by_definition(rule, features[members], logits[members], c, 10)].tolist()
        assert [i // copies for i in own.tolist()] == [i // copies for i in (expected * 4)[:10]], "few images repeat"
        assert len(set(own.tolist())) == min(10, len(members)), "and none before all are taken"
        assert expected != sorted(expected), "the order of the images themselves would prove nothing"


@pytest.mark.parametrize("rule", RULES)
def test_images_that_the_teacher_is_sure_of_are_told_apart(rule: SelectionRule) -> None:
    """Their probabilities are all 1 by rounding."""
    sure = torch.tensor([[300.0, 0.0, 0.0], [100.0, 1.0, 0.0], [200.0, 0.0, 1.0]]).double()
    chosen = select(rule, torch.zeros(3, dtype=torch.int64), torch.eye(3).double() + 1, sure, 3).tolist()
    assert sorted(chosen) == [0, 1, 2]
    if rule == "confident":
        assert chosen == [0, 2, 1]
    if rule == "graph-cut":
        # What little doubt there is lies between the other two classes for 0, with one of them for 1, the other for 2.
        assert chosen[0] == 0
