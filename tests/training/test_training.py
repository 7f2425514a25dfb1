"""GSAM, sampling and the epoch against their definitions."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from engine.training.epoch import train_epoch
from engine.training.gsam import Gsam
from engine.training.sampling import class_aware_batches, shuffled_batches


def test_class_aware_batches_show_every_class_equally():
    labels = torch.tensor([0] * 37 + [1] * 9 + [2] * 2)
    drawn = torch.cat(list(class_aware_batches(labels, 3, 4, 16, torch.Generator().manual_seed(0))))
    assert torch.bincount(labels[drawn]).tolist() == [37, 37, 37]  # max n_c draws a class
    assert len(torch.unique(drawn)) == len(labels)  # and every image is seen


def test_class_aware_turns_stay_balanced_within_one_turn_of_every_class():
    labels = torch.tensor([0] * 40 + [1] * 8)
    drawn = labels[torch.cat(list(class_aware_batches(labels, 2, 4, 16, torch.Generator().manual_seed(0))))]
    for start in range(0, len(drawn), 8):
        assert torch.bincount(drawn[start : start + 8]).tolist() == [4, 4]


def test_shuffled_batches_show_every_image_once():
    batches = list(shuffled_batches(10, 4, torch.Generator().manual_seed(0)))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert sorted(torch.cat(batches).tolist()) == list(range(10))


def test_plain_epoch_equals_sgd_written_out():
    theta, data = torch.randn(6, dtype=torch.float64), torch.randn(8, 3, dtype=torch.float64)
    labels, expected, velocity = torch.randint(0, 2, (8,)), theta.clone(), torch.zeros(6, dtype=torch.float64)

    def forward(weights, x):
        return x @ weights.view(2, 3).T

    optimizer = torch.optim.SGD([theta], 0.1, 0.9, weight_decay=0.01)
    train_epoch(theta, optimizer, forward, F.cross_entropy, [(data[:4], labels[:4]), (data[4:], labels[4:])])
    for part in (slice(0, 4), slice(4, 8)):
        leaf = expected.clone().requires_grad_()
        gradient = torch.autograd.grad(F.cross_entropy(forward(leaf, data[part]), labels[part]), leaf)[0]
        velocity = 0.9 * velocity + gradient + 0.01 * expected
        expected = expected - 0.1 * velocity
    assert torch.allclose(theta, expected, rtol=1e-12)


def test_gsam_on_a_quadratic_equals_its_closed_form():
    theta, curvature = torch.tensor([1.0, -2.0], dtype=torch.float64), torch.tensor([3.0, 0.5], dtype=torch.float64)

    def gradient_at(weights):
        return (curvature * weights**2).sum() / 2, curvature * weights

    _, gradient = Gsam(rho=0.01, alpha=0.3).gradient(theta, gradient_at)
    g = curvature * theta
    perturbed = curvature * (theta + 0.01 * theta**2 * g / (theta * g).norm())
    orthogonal = g - (g @ perturbed) / (perturbed @ perturbed) * perturbed
    assert torch.allclose(gradient, perturbed - 0.3 * orthogonal, rtol=1e-9)


def test_gsam_without_radius_is_the_plain_gradient():
    theta = torch.tensor([1.0, -2.0], dtype=torch.float64)
    _, gradient = Gsam(rho=1e-12, alpha=0.3).gradient(theta, lambda w: ((w**4).sum(), 4 * w**3))
    assert torch.allclose(gradient, 4 * theta**3, rtol=1e-9)
