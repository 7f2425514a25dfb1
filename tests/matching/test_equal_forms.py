"""Every form of a phase against the plain one, in float64: what is equal to what, and no more."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from engine.losses import dam_loss, soft_cross_entropy, target_probabilities
from engine.matching.batches import Synthetic, student_batches
from engine.matching.head import match_classifier
from engine.matching.plain import match_plainly
from engine.matching.student import compiled_student, eager_student, why_not_compile
from engine.matching.sweep import match_by_sweep
from engine.nets import build_network
from engine.nets.flat import FlatNetwork

CLASSES, IPC, SIZE, STEPS = 3, 3, 8, 4
AUGMENTATIONS = [
    (),
    ("color",),
    ("crop",),
    ("cutout",),
    ("flip",),
    ("scale",),
    ("rotate",),
    ("color", "crop", "cutout", "flip", "scale", "rotate"),
]


@pytest.fixture(autouse=True)
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def _setting(augmentation=("scale",), batch_size=4):
    """A tiny network, a synthetic set, start and target weights, and batches of 4 and 4 and 1 of nine images."""
    module = build_network("convnet", channels=2, classes=CLASSES, image_size=SIZE, width=4, depth=2, seed=0).double()
    network = FlatNetwork(module)
    draw = torch.Generator().manual_seed(1)
    start = network.flatten(module)
    target = start + 0.1 * torch.randn(start.shape, generator=draw)
    synthetic = Synthetic(
        torch.randn(CLASSES * IPC, 2, SIZE, SIZE, generator=draw),
        torch.randn(CLASSES * IPC, CLASSES, generator=draw),
        torch.tensor(0.3),
    )
    batches = student_batches(STEPS, CLASSES * IPC, batch_size, SIZE, augmentation, draw, torch.device("cpu"))
    return network, start, target, synthetic, batches


def _loss(network, learns_labels=True, classifier_only_at=None):
    weights, adjustment = torch.tensor([1.8, 0.9, 0.3]), torch.tensor([-0.5, -1.0, -2.0])

    def dam(theta, images, label_logits):
        return dam_loss(network(theta, images), target_probabilities(label_logits, learns_labels), weights, adjustment)

    return dam


def _assert_equal(one, other):
    for name in ("images", "label_logits", "beta"):
        a, b = getattr(one.gradient, name), getattr(other.gradient, name)
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-12), (name, (a - b).abs().max())
    assert torch.allclose(one.loss, other.loss, rtol=1e-12)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=lambda names: "+".join(names) or "none")
@pytest.mark.parametrize("learns_labels", [True, False], ids=["soft", "hard"])
@pytest.mark.parametrize("exact", [False, True], ids=["published", "exact"])
def test_the_sweep_equals_plain_autograd(augmentation, learns_labels, exact):
    network, start, target, synthetic, batches = _setting(augmentation)
    loss, everything = _loss(network, learns_labels), slice(0, network.num_parameters)
    for matched in (network.backbone, everything):
        plain = match_plainly(
            start,
            target,
            moved=everything,
            matched=matched,
            loss=loss,
            synthetic=synthetic,
            batches=batches,
            hold_later_weights=not exact,
        )
        swept = match_by_sweep(
            start,
            target,
            matched=matched,
            student=eager_student(loss, exact),
            synthetic=synthetic,
            batches=batches,
            exact=exact,
        )
        _assert_equal(plain, swept)


@pytest.mark.parametrize("exact", [False, True], ids=["published", "exact"])
@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=lambda names: "+".join(names) or "none")
def test_the_analytic_head_equals_plain_autograd(exact, augmentation):
    network, start, target, synthetic, batches = _setting(augmentation)
    target = torch.cat([start[network.backbone], target[network.classifier]])

    def loss(theta, images, label_logits):
        return soft_cross_entropy(network(theta, images), label_logits.softmax(dim=1))

    plain = match_plainly(
        start,
        target,
        moved=network.classifier,
        matched=network.classifier,
        loss=loss,
        synthetic=synthetic,
        batches=batches,
        hold_later_weights=not exact,
    )
    _assert_equal(
        plain,
        match_classifier(
            network, start, target, features_of=network.features, synthetic=synthetic, batches=batches, exact=exact
        ),
    )


@pytest.mark.parametrize("exact", [False, True], ids=["published", "exact"])
def test_the_compiled_student_equals_the_eager_one(exact):
    if reason := why_not_compile(torch.device("cpu")):
        pytest.skip(f"nothing can be compiled here: {reason}")
    network, start, target, synthetic, batches = _setting()
    loss = _loss(network)
    eager, compiled = (
        match_by_sweep(
            start,
            target,
            matched=network.backbone,
            student=make(loss, exact),
            exact=exact,
            synthetic=synthetic,
            batches=batches,
        )
        for make in (eager_student, compiled_student)
    )
    _assert_equal(eager, compiled)


def test_published_and_exact_differ_only_by_the_held_weights():
    network, start, target, synthetic, batches = _setting()
    loss = _loss(network)
    published, exact = (
        match_by_sweep(
            start,
            target,
            matched=network.backbone,
            student=eager_student(loss, exact),
            synthetic=synthetic,
            batches=batches,
            exact=exact,
        )
        for exact in (False, True)
    )
    assert not torch.allclose(published.gradient.images, exact.gradient.images, rtol=1e-3)
    last = batches[-1].indices  # nothing comes after the last step, so there is nothing to hold
    only_last = [index for index in last.tolist() if all(index not in b.indices.tolist() for b in batches[:-1])]
    assert torch.allclose(published.gradient.images[only_last], exact.gradient.images[only_last], rtol=1e-10)


def test_float32_stays_within_a_ten_thousandth():
    torch.set_default_dtype(torch.float64)
    network, start, target, synthetic, batches = _setting()
    loss = _loss(network)
    reference = match_by_sweep(
        start,
        target,
        matched=network.backbone,
        student=eager_student(loss, False),
        synthetic=synthetic,
        batches=batches,
        exact=False,
    )
    torch.set_default_dtype(torch.float32)
    single = match_by_sweep(
        start.float(),
        target.float(),
        matched=network.backbone,
        student=eager_student(_loss(network), False),
        synthetic=synthetic.map(by=lambda tensor: tensor.float()),
        batches=batches,
        exact=False,
    )
    error = (single.gradient.images - reference.gradient.images).norm() / reference.gradient.images.norm()
    assert error < 1e-4


def test_replicas_move_the_student_by_their_share():
    """R replicas: the student's displacement is 1/R, so pixel and label gradients fall near 1/R for small beta."""
    network, start, target, synthetic, batches = _setting()
    synthetic = Synthetic(synthetic.images, synthetic.label_logits, torch.tensor(1e-4))
    whole = _loss(network)
    one, four = (
        match_by_sweep(
            start,
            target,
            matched=network.backbone,
            synthetic=synthetic,
            batches=batches,
            exact=False,
            student=eager_student(lambda *inputs, r=r: whole(*inputs) / r, False),
        )
        for r in (1, 4)
    )
    difference = one.gradient.images - 4 * four.gradient.images
    assert difference.norm() < 1e-2 * one.gradient.images.norm()


def test_a_student_that_stays_has_loss_one():
    network, start, target, synthetic, batches = _setting()
    still = Synthetic(synthetic.images, synthetic.label_logits, torch.tensor(0.0))
    result = match_by_sweep(
        start,
        target,
        matched=network.backbone,
        student=eager_student(_loss(network), False),
        synthetic=still,
        batches=batches,
        exact=False,
    )
    assert result.loss == 1


def test_dam_with_lambda_zero_and_unit_weights_is_soft_cross_entropy():
    logits, targets = torch.randn(5, 4), torch.randn(5, 4).softmax(dim=1)
    assert torch.allclose(
        dam_loss(logits, targets, torch.ones(4), torch.zeros(4)), soft_cross_entropy(logits, targets), rtol=1e-12
    )
    classes = torch.tensor([0, 3, 1, 1, 2])
    assert torch.allclose(
        dam_loss(logits, F.one_hot(classes, 4).double(), torch.ones(4), torch.zeros(4)),
        F.cross_entropy(logits, classes),
        rtol=1e-12,
    )
