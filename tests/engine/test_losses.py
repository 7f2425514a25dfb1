"""DAM, its special cases, and its derivatives in closed form against autograd's."""

from __future__ import annotations

import torch
from torch.func import grad, jvp
from torch.nn import functional as F

from engine.losses import StudentLoss, dam_loss, soft_cross_entropy

DRAW = torch.Generator().manual_seed(0)
LOGITS, LABELS, ALONG = (torch.randn(5, 4, generator=DRAW, dtype=torch.float64) for _ in range(3))
LOSS = StudentLoss(torch.rand(4, generator=DRAW).double(), torch.randn(4, generator=DRAW).double())


def test_dam_with_lambda_zero_and_unit_weights_is_soft_cross_entropy():
    targets, one, zero = LABELS.softmax(dim=1), torch.ones(4), torch.zeros(4)
    assert torch.allclose(dam_loss(LOGITS, targets, one, zero), soft_cross_entropy(LOGITS, targets), rtol=1e-12)
    classes = torch.tensor([0, 3, 1, 1, 2])
    hard = F.one_hot(classes, 4).double()
    assert torch.allclose(dam_loss(LOGITS, hard, one, zero), F.cross_entropy(LOGITS, classes), rtol=1e-12)


def test_the_closed_form_derivative_equals_autograds():
    targets = LABELS.softmax(dim=1)
    assert torch.allclose(LOSS.grad_logits(LOGITS, targets), grad(LOSS.__call__)(LOGITS, targets), rtol=1e-12)


def test_the_tangent_equals_autograds():
    targets = LABELS.softmax(dim=1)
    moved, grad_targets = LOSS.tangent(LOGITS, targets, ALONG)
    assert torch.allclose(moved, jvp(lambda z: LOSS.grad_logits(z, targets), (LOGITS,), (ALONG,))[1], rtol=1e-12)
    along = grad(lambda q: (LOSS.grad_logits(LOGITS, q) * ALONG).sum())(targets)
    assert torch.allclose(grad_targets, along, rtol=1e-12)


def test_a_scaled_loss_is_scaled():
    targets = LABELS.softmax(dim=1)
    assert torch.allclose(LOSS.scaled(0.25)(LOGITS, targets), LOSS(LOGITS, targets) / 4, rtol=1e-12)
