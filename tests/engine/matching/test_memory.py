"""What is in memory at a time: saved activations, micro-batches, several steps at once, and what a GPU refuses."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from engine.matching import backends as backends_module
from engine.matching import matcher as matcher_module
from engine.matching.backends import Backend, BackendBuilder
from engine.matching.classifier_phase import match_classifier
from engine.matching.matcher import Matcher
from engine.matching.representation_phase import match_representation
from engine.matching.student import SavedActivations, activation_bytes
from engine.run.errors import RunFailed
from engine.run.events import Warned
from engine.run.methods import METHODS
from engine.run.settings import MatchingSettings
from engine.trajectories import Trajectory
from tests.engine.matching.toy import ALL, CLASSES, Toy, assert_equal, toy


@pytest.fixture(autouse=True)
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def _both_phases(small: Toy, backend: Backend, exact: bool, saved_bytes: float = 0):
    shared = {"synthetic": small.synthetic, "batches": small.batches, "exact": exact, "saved_bytes": saved_bytes}
    rep = match_representation(
        small.start,
        small.target,
        matched=small.network.backbone,
        student=backend.student,
        steps_at_once=backend.steps_at_once,
        **shared,
    )
    return rep, match_classifier(small.network, small.start, small.target, backbone=backend.backbone, **shared)


@pytest.mark.parametrize("gradient", ["published", "exact"])
@pytest.mark.parametrize("images_at_once", [1, 3, 8, 100])
@pytest.mark.parametrize("arch", ["convnet", "alexnet"])
def test_the_gradient_does_not_depend_on_how_many_images_are_in_work(gradient, images_at_once, arch):
    """Micro-batches of 1 and 3 images of batches of 4, and 2 and 25 steps of 4 at once."""
    small, exact = toy(ALL, arch=arch), gradient == "exact"
    builder = small.builder(compiled=arch == "convnet", gradient=gradient)
    whole, other = (_both_phases(small, builder.build(4, at_once), exact) for at_once in (4, images_at_once))
    for one, same in zip(whole, other, strict=True):
        assert_equal(same, one)


def test_eager_steps_of_hard_labels_go_together_too():
    small = toy(ALL)
    one, two = (small.builder(False, False, gradient="published").build(4, at_once) for at_once in (4, 8))
    assert two.steps_at_once == 2
    assert_equal(_both_phases(small, two, False)[0], _both_phases(small, one, False)[0])


@pytest.mark.parametrize("gradient", ["published", "exact"])
def test_saved_activations_change_no_bytes(gradient):
    small, exact = toy(ALL), gradient == "exact"
    backend = small.builder(gradient=gradient).build(4, 4)
    one = activation_bytes(
        backend.student.gradient(small.start, small.synthetic.images[:4], small.synthetic.label_logits[:4])[1]
    )
    for saved_bytes in (1.5 * one, 1e9):
        for kept, again in zip(
            _both_phases(small, backend, exact, saved_bytes), _both_phases(small, backend, exact), strict=True
        ):
            for name in ("images", "label_logits", "beta"):
                assert torch.equal(getattr(kept.gradient, name), getattr(again.gradient, name))


@pytest.mark.parametrize(
    ("gradient", "at_once", "kept"), [("published", 8, False), ("published", 4, True), ("exact", 8, True)]
)
def test_activations_are_saved_where_the_way_back_reads_them(gradient, at_once, kept):
    small = toy()
    student = small.builder(compiled=True, gradient=gradient).build(4, at_once).student
    activations = student.gradient(small.start, small.synthetic.images[:4], small.synthetic.label_logits[:4])[1]
    assert (activations is not None) is kept


def test_the_latest_activations_are_saved_and_never_more_than_fit():
    saved, size = SavedActivations(3 * 80), 80
    for step in range(7):
        saved.put(step, torch.zeros(5), (torch.zeros(1), [torch.zeros(4)]))
        assert sum(saved.take(step) is not None for step in range(step - 2)) == 0
    assert activation_bytes(saved.take(6)) == size
    assert [saved.take(step) is not None for step in range(7)] == [False] * 4 + [True, True, False]
    saved.put(7, torch.zeros(5), torch.zeros(100))
    saved.put(8, torch.zeros(5), None)
    assert saved.take(7) is None and saved.take(8) is None


# Activations of a step are 2 MiB and its graph is more: the peak of the process tells how many were kept at a time.
PROGRAM = """
import sys, torch
from engine.matching.synthetic import Synthetic, student_batches
from engine.matching.plain import match_plainly
from engine.matching.representation_phase import match_representation
from tests.engine.matching.toy import toy
small, form, most = toy(side=32, width=64, depth=2), sys.argv[1], 0
for steps in (3, int(sys.argv[2])):
    draw = torch.Generator().manual_seed(0)
    batches = student_batches(steps, 9, 9, 32, (), draw, torch.device("cpu"))
    builder = small.builder(compiled=form == "fast")
    if form == "fast":
        student = builder.build(9, 9).student
        match_representation(small.start, small.target, matched=small.network.backbone, student=student,
                             synthetic=small.synthetic, batches=batches, exact=False, saved_bytes=8 * 2**20)
    else:
        match_plainly(small.start, small.target, moved=small.network.everything, matched=small.network.backbone,
                      loss=builder.step_loss(), synthetic=small.synthetic, batches=batches, hold_later_weights=True)
    # Not getrusage, which still counts the process that started this one.
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    before, most = most, int(peak.split()[1])
print((most - before) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
@pytest.mark.parametrize(("form", "low", "high"), [("fast", -1, 30), ("plain", 150, 10_000)])
def test_memory_is_flat_in_the_steps(form, low, high):
    """37 steps more: the fast form keeps their weights (0.3 MiB each) alone, the plain form their graphs."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, form, "40"], capture_output=True, text=True, timeout=120)
    assert low < float(done.stdout) < high, done.stdout + done.stderr[-2000:]


def _matcher(small: Toy, events: list, images_at_once=100, method="ltdd") -> Matcher:
    steps = torch.linspace(0, 1, 4)[:, None]
    weights = small.start + steps * (small.target - small.start)
    none = torch.zeros(CLASSES)
    settings = MatchingSettings(
        syn_steps=4, syn_steps_cls=4, batch_syn=4, max_start_epoch=2, images_at_once=images_at_once, emulate_replicas=2
    )
    experts, classifiers = (Trajectory(w, none, none) for w in (weights, weights[:, small.network.classifier]))
    return Matcher(
        settings,
        METHODS[method],
        small.network,
        [experts],
        [classifiers],
        small.loss,
        ALL,
        small.start.device,
        compiled=True,
        emit=events.append,
    )


def test_out_of_memory_halves_the_images_in_work_says_so_and_goes_on(monkeypatch):
    """Memory for three images, made up: 4 steps of 4 at once become 8, 4 and 2 images, and the gradient is the same."""
    small, events = toy(), []
    reference = _matcher(small, [], 4).gradient(small.synthetic, 0, torch.Generator().manual_seed(3))
    whole = BackendBuilder.build

    def with_little_memory(builder: BackendBuilder, batch: int, images_at_once: int) -> Backend:
        backend = whole(builder, batch, images_at_once)

        def gradient(*inputs):
            if images_at_once > 3:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return backend.student.gradient(*inputs)

        return replace(backend, student=replace(backend.student, gradient=gradient))

    monkeypatch.setattr(backends_module.BackendBuilder, "build", with_little_memory)
    matcher = _matcher(small, events)
    result = matcher.gradient(small.synthetic, 0, torch.Generator().manual_seed(3))
    assert torch.allclose(result.gradient.images, reference.gradient.images, rtol=1e-9, atol=1e-12)
    assert result.drawn == reference.drawn
    assert all(isinstance(event, Warned) for event in events)
    assert [event.message.split(" has ")[1].split()[0] for event in events] == ["8", "4", "2"]
    assert "images_at_once=2" in events[-1].hint
    matcher.gradient(small.synthetic, 1, torch.Generator().manual_seed(4))
    assert len(events) == 3


def test_out_of_memory_on_a_single_image_is_an_error(monkeypatch):
    small = toy()
    matcher = _matcher(small, [])

    def never(*inputs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(backends_module.BackendBuilder, "build", lambda builder, batch, at_once: never())
    with pytest.raises(torch.OutOfMemoryError):
        matcher.gradient(small.synthetic, 0, torch.Generator())


def test_out_of_memory_in_the_unrolled_gradient_is_told_at_once(monkeypatch):
    """Fewer images at a time change nothing of it, also where phase cls has already been in work."""
    small, events = toy(), []
    matcher = _matcher(small, events)
    matcher.settings = matcher.settings.model_copy(update={"gradient": "unrolled"})
    matcher.gradient(small.synthetic, 0, torch.Generator())
    tries = []

    def never(*inputs, **named):
        tries.append(1)
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(matcher_module, "match_plainly", never)
    with pytest.raises(RunFailed, match="gradient=exact"):
        matcher.gradient(small.synthetic, 1, torch.Generator())
    assert len(tries) == 1 and not events


@pytest.mark.parametrize(
    ("device", "batch", "activations", "expected"),
    [
        ("cpu", 100, 172_032, 100),  # the ConvNet on CIFAR-10: the whole batch of IPC 10,
        ("cpu", 1000, 172_032, 468),  # and parts of the batches of CIFAR-100
        ("cuda", 100, 172_032, 100),
        ("cuda", 20, 2_560, 3276),  # digits: all steps together
    ],
)
def test_images_in_work_fill_the_device_and_fit(device, batch, activations, expected):
    builder = replace(toy().builder(), device=torch.device(device))
    assert builder.images_at_once(batch, activations) == expected
    assert replace(builder, settings=MatchingSettings(images_at_once=7)).images_at_once(batch, activations) == 7


def test_activations_are_counted_without_weights():
    assert toy(side=8, width=4, depth=2).network.activations(torch.Size((2, 8, 8))) == 4 * (64 + 16)
