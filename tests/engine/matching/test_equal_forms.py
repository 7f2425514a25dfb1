"""Every form of a phase against the plain one, in float64 to 1e-10 and in float32 to 1e-4: what is equal to what."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
import torch

from engine.compilation import why_not_compile
from engine.matching.backends import Kind
from engine.matching.classifier_phase import Backbone, autograd_backbone, backbone_by_hand, match_classifier
from engine.matching.representation_phase import match_by_sweep
from engine.matching.student import Student, eager_student, student_by_hand
from engine.matching.synthetic import Synthetic
from engine.nets.convnet_derivatives import ByHand
from engine.nets.native import native, why_not_build
from engine.nets.norm_pool import NormPool, compiled, written
from tests.engine.matching.toy import ALL, AUGMENTATIONS, Toy, assert_equal, toy

needs_cpp = pytest.mark.skipif(why_not_build() is not None, reason=f"nothing can be built here: {why_not_build()}")
FORMS = ["autograd", "written", pytest.param("cpp", marks=needs_cpp)]
GRADIENTS = pytest.mark.parametrize("exact", [False, True], ids=["published", "exact"])
every_augmentation = pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=lambda names: "+".join(names) or "none")


@pytest.fixture(autouse=True)
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def _norm_pool(form: str) -> NormPool:
    return {"written": written, "cpp": native, "compiled": compiled}[form]()


def _student(form: str, kind: Kind, exact: bool) -> Student:
    if form == "autograd":
        return eager_student(kind.step_loss(), exact)
    passes, as_written = (ByHand(kind.network, norm) for norm in (_norm_pool(form), written()))
    return student_by_hand(passes, as_written, kind.network, kind.loss, kind.learns_labels, exact)


def _backbone(form: str, small: Toy) -> Backbone:
    if form == "autograd":
        return autograd_backbone(small.network.features)
    return backbone_by_hand(ByHand(small.network, _norm_pool(form)))


@functools.cache
def _plain_rep(augmentation, learns_labels, exact, whole=False, **shape):
    small = toy(augmentation, **shape)
    return small.plain_rep(small.network.everything if whole else small.network.backbone, learns_labels, exact)


def _sweep(small: Toy, student: Student, exact: bool, matched: slice | None = None, **how):
    return match_by_sweep(
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
@pytest.mark.parametrize("form", FORMS)
def test_phase_rep_equals_plain_autograd(form, augmentation, learns_labels, exact):
    small = toy(augmentation)
    student = _student(form, small.kind(learns_labels), exact)
    assert_equal(_sweep(small, student, exact, room=1e9), _plain_rep(augmentation, learns_labels, exact))


@GRADIENTS
@pytest.mark.parametrize("form", FORMS)
def test_all_weights_can_be_matched(form, exact):
    small = toy()
    swept = _sweep(small, _student(form, small.kind(), exact), exact, small.network.everything)
    assert_equal(swept, _plain_rep(("scale",), True, exact, whole=True))


@GRADIENTS
@pytest.mark.parametrize("form", FORMS[1:])
@pytest.mark.parametrize("shape", [{"side": 7, "depth": 1}, {"side": 28, "depth": 3}], ids=["7", "28, 14, 7"])
def test_sides_that_do_not_halve_lose_their_last_row(form, exact, shape):
    small = toy((), **shape)
    assert_equal(_sweep(small, _student(form, small.kind(), exact), exact), _plain_rep((), True, exact, **shape))


@every_augmentation
@GRADIENTS
@pytest.mark.parametrize("form", FORMS)
def test_phase_cls_equals_plain_autograd(form, exact, augmentation):
    small = toy(augmentation)
    assert_equal(_head(small, _backbone(form, small), exact, room=1e9), small.plain_cls(exact))


def _head(small: Toy, backbone: Backbone, exact: bool, **how):
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
def test_networks_without_derivatives_by_hand_have_the_same_forms(arch):
    small = toy(("flip",), arch=arch)
    forms = small.kind(compiled=False).forms(batch=4, images_at_once=8)
    assert forms.steps_at_once == 2
    plain = small.plain_rep(small.network.backbone, True, False)
    assert_equal(_sweep(small, forms.student, False), plain)
    assert_equal(_sweep(small, forms.student, False, at_once=2), plain)
    assert_equal(_head(small, forms.backbone, False), small.plain_cls(False))


@needs_cpp
@GRADIENTS
def test_float32_stays_within_a_ten_thousandth(exact):
    double = toy(ALL)
    rep, cls = _plain_rep(ALL, True, exact), double.plain_cls(exact)
    small = double.to(torch.float32)
    for form in ("autograd", "written", "cpp"):
        swept = _sweep(small, _student(form, small.kind(), exact), exact)
        head = _head(small, _backbone(form, small), exact)
        for found, reference in ((swept, rep), (head, cls)):
            assert found.gradient.images.dtype == torch.float32
            in_double = found.gradient.map(by=torch.Tensor.double)
            assert_equal(type(found)(found.loss.double(), in_double), reference, within=1e-4)


@pytest.mark.parametrize("form", FORMS[1:])
def test_bfloat16_points_the_same_way_and_leaves_everything_else_float32(form):
    small = toy((), side=16, width=32).to(torch.float32)
    norm_pool, low = _norm_pool(form), torch.bfloat16
    passes, as_written = ByHand(small.network, norm_pool, low), ByHand(small.network, written(), low)
    reference = _sweep(small, _student(form, small.kind(), True), True)
    student = student_by_hand(passes, as_written, small.network, small.loss, True, True)
    gradient, _ = student.walk(small.start, small.synthetic.images, small.synthetic.label_logits)
    assert gradient.dtype == torch.float32
    found = _sweep(small, student, True)
    head, plain_head = (_head(small, backbone_by_hand(p), True) for p in (passes, ByHand(small.network, norm_pool)))
    for low_one, one in ((found, reference), (head, plain_head)):
        for name in ("images", "label_logits"):
            a, b = getattr(low_one.gradient, name), getattr(one.gradient, name)
            assert a.dtype == torch.float32
            assert 0.98 < torch.cosine_similarity(a.flatten(), b.flatten(), dim=0) < 1 - 1e-7
        assert torch.allclose(low_one.loss, one.loss, rtol=5e-3)


def test_bfloat16_by_autograd_points_the_same_way():
    small = toy(()).to(torch.float32)
    low, one = (small.kind(compiled=False, precision=name).forms(4, 4) for name in ("bf16", "float32"))
    pairs = [_sweep(small, forms.student, False) for forms in (low, one)]
    heads = [_head(small, forms.backbone, False) for forms in (low, one)]
    for found, reference in (pairs, heads):
        a, b = found.gradient.images, reference.gradient.images
        assert a.dtype == torch.float32
        assert 0.97 < torch.cosine_similarity(a.flatten(), b.flatten(), dim=0) < 1 - 1e-7


@GRADIENTS
def test_steps_compiled_by_torch_equal_plain_autograd(exact):
    if reason := why_not_compile(torch.device("cpu")):
        pytest.skip(f"nothing can be compiled here: {reason}")
    small = toy(batch_size=9)  # one shape: compiling takes seconds
    student = _student("compiled", small.kind(), exact)
    assert_equal(_sweep(small, student, exact), _plain_rep(("scale",), True, exact, batch_size=9))


@pytest.mark.long
@pytest.mark.parametrize("arch", ["convnet", "alexnet"])
@GRADIENTS
def test_forward_over_reverse_compiled_by_torch_equals_plain_autograd(arch, exact):
    from engine.matching.student import compiled_student

    small = toy(batch_size=9, arch=arch)
    student = compiled_student(small.kind().step_loss(), exact)
    assert_equal(_sweep(small, student, exact), small.plain_rep(small.network.backbone, True, exact))


def test_published_and_exact_differ_only_by_the_held_weights():
    small = toy()
    published, exact = (_sweep(small, _student("written", small.kind(), exact), exact) for exact in (False, True))
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
    kinds = [replace(small.kind(), loss=small.loss.scaled(1 / replicas)) for replicas in (1, 4)]
    one, four = (_sweep(small, _student("written", kind, False), False) for kind in kinds)
    difference = one.gradient.images - 4 * four.gradient.images
    assert difference.norm() < 1e-2 * one.gradient.images.norm()


def test_a_student_that_stays_has_loss_one():
    small = toy()
    still = Synthetic(small.synthetic.images, small.synthetic.label_logits, torch.tensor(0.0))
    small = Toy(small.network, small.start, small.target, still, small.batches, small.loss)
    assert _sweep(small, _student("written", small.kind(), False), False).loss == 1
