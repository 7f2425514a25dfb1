"""Every backend of a phase against the plain form: equal to 1e-10 in float64, and to 1e-4 in float32."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
import torch

from engine.compilation import why_not_compile
from engine.matching.backends import BackendBuilder
from engine.matching.classifier_phase import Backbone, analytic_backbone, autograd_backbone, match_classifier
from engine.matching.representation_phase import match_representation
from engine.matching.student import Student, analytic_student, autograd_student
from engine.matching.synthetic import Synthetic
from engine.nets.convnet_derivatives import ConvNetDerivatives
from engine.nets.norm_pool import NormPool, compiled_norm_pool, eager_norm_pool
from engine.nets.norm_pool_cpp import cpp_norm_pool, why_not_build
from tests.engine.matching.toy import ALL, AUGMENTATIONS, Toy, assert_equal, toy

needs_cpp = pytest.mark.skipif(why_not_build() is not None, reason=f"nothing can be built here: {why_not_build()}")
BACKENDS = ["autograd", "eager", pytest.param("cpp", marks=needs_cpp)]
GRADIENTS = pytest.mark.parametrize("exact", [False, True], ids=["published", "exact"])
every_augmentation = pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=lambda names: "+".join(names) or "none")


@pytest.fixture(autouse=True)
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def _norm_pool(name: str) -> NormPool:
    return {"eager": eager_norm_pool, "cpp": cpp_norm_pool, "compiled": compiled_norm_pool}[name]()


def _student(name: str, builder: BackendBuilder, exact: bool) -> Student:
    if name == "autograd":
        return autograd_student(builder.step_loss(), exact)
    passes, eager_passes = (ConvNetDerivatives(builder.network, norm) for norm in (_norm_pool(name), eager_norm_pool()))
    return analytic_student(passes, eager_passes, builder.loss, builder.learns_labels, exact)


def _backbone(name: str, small: Toy) -> Backbone:
    if name == "autograd":
        return autograd_backbone(small.network.features)
    return analytic_backbone(ConvNetDerivatives(small.network, _norm_pool(name)))


@functools.cache
def _plain_rep(augmentation, learns_labels, exact, whole=False, **shape):
    small = toy(augmentation, **shape)
    return small.plain_rep(small.network.everything if whole else small.network.backbone, learns_labels, exact)


def _match_rep(small: Toy, student: Student, exact: bool, matched: slice | None = None, **how):
    return match_representation(
        small.start,
        small.target,
        matched=matched or small.network.backbone,
        student=student,
        synthetic=small.synthetic,
        batches=small.batches,
        exact=exact,
        **how,
    )


@every_augmentation
@pytest.mark.parametrize("learns_labels", [True, False], ids=["soft", "hard"])
@GRADIENTS
@pytest.mark.parametrize("name", BACKENDS)
def test_phase_rep_equals_plain_autograd(name, augmentation, learns_labels, exact):
    small = toy(augmentation)
    student = _student(name, small.builder(learns_labels), exact)
    assert_equal(_match_rep(small, student, exact, saved_bytes=1e9), _plain_rep(augmentation, learns_labels, exact))


@GRADIENTS
@pytest.mark.parametrize("name", BACKENDS)
def test_all_weights_can_be_matched(name, exact):
    small = toy()
    fast_rep = _match_rep(small, _student(name, small.builder(), exact), exact, small.network.everything)
    assert_equal(fast_rep, _plain_rep(("scale",), True, exact, whole=True))


@GRADIENTS
@pytest.mark.parametrize("name", BACKENDS[1:])
@pytest.mark.parametrize("shape", [{"side": 7, "depth": 1}, {"side": 28, "depth": 3}], ids=["7", "28, 14, 7"])
def test_sides_that_do_not_halve_lose_their_last_row(name, exact, shape):
    small = toy((), **shape)
    assert_equal(_match_rep(small, _student(name, small.builder(), exact), exact), _plain_rep((), True, exact, **shape))


@every_augmentation
@GRADIENTS
@pytest.mark.parametrize("name", BACKENDS)
def test_phase_cls_equals_plain_autograd(name, exact, augmentation):
    small = toy(augmentation)
    assert_equal(_match_cls(small, _backbone(name, small), exact, saved_bytes=1e9), small.plain_cls(exact))


def _match_cls(small: Toy, backbone: Backbone, exact: bool, **how):
    return match_classifier(
        small.network,
        small.start,
        small.target,
        backbone=backbone,
        synthetic=small.synthetic,
        batches=small.batches,
        exact=exact,
        **how,
    )


@pytest.mark.parametrize("arch", [pytest.param("resnet18", marks=pytest.mark.long), "alexnet"])
def test_autograd_backends_of_other_networks_equal_plain_autograd(arch):
    small = toy(("flip",), arch=arch)
    backend = small.builder(compiled=False).build(batch_size=4, images_at_once=8)
    assert backend.steps_at_once == 2
    plain = small.plain_rep(small.network.backbone, True, False)
    assert_equal(_match_rep(small, backend.student, False), plain)
    assert_equal(_match_rep(small, backend.student, False, steps_at_once=2), plain)
    assert_equal(_match_cls(small, backend.backbone, False), small.plain_cls(False))


@needs_cpp
@GRADIENTS
def test_float32_stays_within_a_ten_thousandth(exact):
    double = toy(ALL)
    rep, cls = _plain_rep(ALL, True, exact), double.plain_cls(exact)
    small = double.to(torch.float32)
    for name in ("autograd", "eager", "cpp"):
        fast_rep = _match_rep(small, _student(name, small.builder(), exact), exact)
        fast_cls = _match_cls(small, _backbone(name, small), exact)
        for fast, reference in ((fast_rep, rep), (fast_cls, cls)):
            assert fast.gradient.images.dtype == torch.float32
            in_double = fast.gradient.map(by=torch.Tensor.double)
            assert_equal(type(fast)(fast.loss.double(), in_double), reference, within=1e-4)


@pytest.mark.parametrize("name", BACKENDS[1:])
def test_bfloat16_points_the_same_way_and_leaves_everything_else_float32(name):
    small = toy((), side=16, width=32).to(torch.float32)
    norm_pool, low = _norm_pool(name), torch.bfloat16
    passes, eager_passes = (
        ConvNetDerivatives(small.network, norm_pool, low),
        ConvNetDerivatives(small.network, eager_norm_pool(), low),
    )
    reference = _match_rep(small, _student(name, small.builder(), True), True)
    student = analytic_student(passes, eager_passes, small.loss, True, True)
    gradient, _ = student.gradient(small.start, small.synthetic.images, small.synthetic.label_logits)
    assert gradient.dtype == torch.float32
    low_rep = _match_rep(small, student, True)
    low_cls, plain_cls = (
        _match_cls(small, analytic_backbone(p), True) for p in (passes, ConvNetDerivatives(small.network, norm_pool))
    )
    for fast, plain in ((low_rep, reference), (low_cls, plain_cls)):
        for name in ("images", "label_logits"):
            a, b = getattr(fast.gradient, name), getattr(plain.gradient, name)
            assert a.dtype == torch.float32
            assert 0.98 < torch.cosine_similarity(a.flatten(), b.flatten(), dim=0) < 1 - 1e-7
        assert torch.allclose(fast.loss, plain.loss, rtol=5e-3)


def test_bfloat16_by_autograd_points_the_same_way():
    small = toy(()).to(torch.float32)
    low, one = (small.builder(compiled=False, precision=name).build(4, 4) for name in ("bf16", "float32"))
    reps = [_match_rep(small, backend.student, False) for backend in (low, one)]
    classifiers = [_match_cls(small, backend.backbone, False) for backend in (low, one)]
    for fast, plain in (reps, classifiers):
        a, b = fast.gradient.images, plain.gradient.images
        assert a.dtype == torch.float32
        assert 0.97 < torch.cosine_similarity(a.flatten(), b.flatten(), dim=0) < 1 - 1e-7


@GRADIENTS
def test_steps_compiled_by_torch_equal_plain_autograd(exact):
    if reason := why_not_compile(torch.device("cpu")):
        pytest.skip(f"nothing can be compiled here: {reason}")
    small = toy(batch_size=9)  # one shape: compiling takes seconds
    student = _student("compiled", small.builder(), exact)
    assert_equal(_match_rep(small, student, exact), _plain_rep(("scale",), True, exact, batch_size=9))


@pytest.mark.long
@pytest.mark.parametrize("arch", ["convnet", "alexnet"])
@GRADIENTS
def test_forward_over_reverse_compiled_by_torch_equals_plain_autograd(arch, exact):
    from engine.matching.student import compiled_student

    small = toy(batch_size=9, arch=arch)
    student = compiled_student(small.builder().step_loss(), exact)
    assert_equal(_match_rep(small, student, exact), small.plain_rep(small.network.backbone, True, exact))


def test_published_and_exact_differ_only_by_the_held_weights():
    small = toy()
    published, exact = (_match_rep(small, _student("eager", small.builder(), exact), exact) for exact in (False, True))
    assert not torch.allclose(published.gradient.images, exact.gradient.images, rtol=1e-3)
    last = small.batches[-1].indices  # nothing comes after the last step, so there is nothing to hold
    earlier = torch.cat([batch.indices for batch in small.batches[:-1]]).tolist()
    only_last = [index for index in last.tolist() if index not in earlier]
    assert torch.allclose(published.gradient.images[only_last], exact.gradient.images[only_last], rtol=1e-10)


def test_replicas_move_the_student_by_their_share():
    """R replicas: the student's displacement is 1/R, so pixel and label gradients fall near 1/R for small beta."""
    small = toy()
    still = Synthetic(small.synthetic.images, small.synthetic.label_logits, torch.tensor(1e-4))
    small = Toy(small.network, small.start, small.target, still, small.batches, small.loss)
    builders = [replace(small.builder(), loss=small.loss.scaled(1 / replicas)) for replicas in (1, 4)]
    one, four = (_match_rep(small, _student("eager", builder, False), False) for builder in builders)
    difference = one.gradient.images - 4 * four.gradient.images
    assert difference.norm() < 1e-2 * one.gradient.images.norm()


def test_a_student_that_stays_has_loss_one():
    small = toy()
    still = Synthetic(small.synthetic.images, small.synthetic.label_logits, torch.tensor(0.0))
    small = Toy(small.network, small.start, small.target, still, small.batches, small.loss)
    assert _match_rep(small, _student("eager", small.builder(), False), False).loss == 1
