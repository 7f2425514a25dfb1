"""On a GPU: the same equalities, with kernels compiled by torch and replayed as CUDA graphs."""

from __future__ import annotations

import pytest
import torch

from engine.cuda_graphs import CudaGraphs
from engine.matching.backends import Backend
from engine.matching.classifier_phase import match_classifier
from engine.matching.plain import PhaseGradient
from engine.matching.representation_phase import match_representation
from engine.matching.synthetic import student_batches
from engine.nets.functional import matmul_precision
from tests.engine.matching.toy import ALL, AUGMENTATIONS, Toy, assert_equal, toy

pytestmark = pytest.mark.cuda
DEVICE = "cuda"
GRADIENTS = pytest.mark.parametrize("gradient", ["published", "exact"])


@pytest.fixture(autouse=True)
def plain_float32():
    with matmul_precision("float32", torch.device(DEVICE)):
        yield


def _rep(small: Toy, backend: Backend, exact: bool) -> PhaseGradient:
    return match_representation(
        small.start,
        small.target,
        matched=small.network.backbone,
        student=backend.student,
        synthetic=small.synthetic,
        batches=small.batches,
        exact=exact,
        saved_bytes=1e9,
        steps_at_once=backend.steps_at_once,
    )


def _cls(small: Toy, backend: Backend, exact: bool) -> PhaseGradient:
    return match_classifier(
        small.network,
        small.start,
        small.target,
        backbone=backend.backbone,
        synthetic=small.synthetic,
        batches=small.batches,
        exact=exact,
        saved_bytes=1e9,
    )


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=lambda names: "+".join(names) or "none")
@pytest.mark.parametrize("learns_labels", [True, False], ids=["soft", "hard"])
@GRADIENTS
def test_both_phases_equal_plain_autograd(augmentation, learns_labels, gradient):
    """Batches of 4, 4 and 1 of nine images; phase cls is for learnt labels alone."""
    small, exact = toy(augmentation).to(torch.float64, DEVICE), gradient == "exact"
    backend = small.builder(learns_labels, gradient=gradient).build(4, 4)
    assert_equal(_rep(small, backend, exact), small.plain_rep(small.network.backbone, learns_labels, exact))
    if learns_labels:
        assert_equal(_cls(small, backend, exact), small.plain_cls(exact))


@pytest.mark.parametrize("images_at_once", [4, 3, 8])
@GRADIENTS
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 1e-4)], ids=str)
@pytest.mark.parametrize("arch", ["convnet", "resnet18"])
def test_both_phases_in_micro_batches_and_several_steps_at_once_equal_plain_autograd(
    arch, dtype, bound, gradient, images_at_once
):
    small, exact = toy(ALL, arch=arch).to(dtype, DEVICE), gradient == "exact"
    backend = small.builder(gradient=gradient).build(4, images_at_once)
    assert_equal(_rep(small, backend, exact), small.plain_rep(small.network.backbone, True, exact), bound)
    assert_equal(_cls(small, backend, exact), small.plain_cls(exact), bound)


def test_a_later_replay_does_not_overwrite_what_an_earlier_one_returned():
    refused: list[str] = []
    doubled = CudaGraphs(refused.append).replayed(lambda pair, x: (pair[0] + 2 * x, [x.sum()]))
    one, two = (torch.full((3,), value, device="cuda") for value in (1.0, 2.0))
    first = doubled((one, None), one)
    second = doubled((two, None), two)
    assert first[0].tolist() == [3.0] * 3 and second[0].tolist() == [6.0] * 3 and float(second[1][0]) == 6.0
    assert not refused


def test_a_function_that_cannot_be_captured_is_called_as_it_is_with_a_warning():
    refused: list[str] = []
    waits = CudaGraphs(refused.append).replayed(lambda x: x * float(x.sum()))
    x, stream = torch.ones(3, device="cuda"), torch.cuda.current_stream()
    assert waits(x).tolist() == waits(x).tolist() == [3.0] * 3
    assert len(refused) == 1
    assert torch.cuda.current_stream() == stream
    torch.cuda.empty_cache()
    assert CudaGraphs(refused.append).replayed(lambda x: 2 * x)(x).tolist() == [2.0] * 3 and len(refused) == 1


@pytest.mark.parametrize("kind", ALL)
def test_augmentation_never_waits_for_the_gpu(kind):
    """All numbers of a phase are moved at once: replaying them, and their derivatives, does not synchronize."""
    small = toy(ALL).to(torch.float32, "cuda")
    batches = student_batches(3, 9, 4, 8, [kind], torch.Generator().manual_seed(0), torch.device("cuda"))
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches:
            batch.backward(batch.images(small.synthetic.images))
    finally:
        torch.cuda.set_sync_debug_mode("default")
