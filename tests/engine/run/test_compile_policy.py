"""What is compiled is told from settings and shapes alone."""

from __future__ import annotations

import pytest

from engine.run.compile_policy import (
    compiled_backend,
    may_compile_by_torch,
    should_compile_experts,
    should_compile_student,
)
from engine.run.network_cost import network_cost
from engine.run.presets import load_preset
from engine.run.settings import RunSettings

DIGITS = {"channels": 1, "classes": 10, "image_size": 8, "width": 32, "depth": 2}
CIFAR = {"channels": 3, "classes": 10, "image_size": 32, "width": 32, "depth": 3}


def compiled(settings: RunSettings, device: str = "cpu", shape: dict[str, int] = CIFAR) -> bool:
    return should_compile_student(settings, network_cost(settings.experts.network, **shape), device)


@pytest.mark.parametrize(
    ("preset", "changes", "device", "expected"),
    [
        ("cifar10-lt-if100-ipc10-small", [], "cpu", True),
        ("cifar10-lt-if100-ipc10-small", ["matching.iterations=1", "matching.syn_steps=1"], "cpu", False),
        ("cifar10-lt-if100-ipc10-small", ["compile=never"], "cpu", False),
        ("cifar10-lt-if100-ipc10-small", ["method=random", "compile=always"], "cpu", False),
        # A minute of torch's compiler needs more work to be worth it than three seconds of a C++ compiler.
        ("cifar10-lt-if100-ipc10-small", ["matching.iterations=5"], "cpu", True),
        ("cifar10-lt-if100-ipc10-small", ["matching.iterations=5"], "cuda", False),
        ("cifar10-lt-if100-ipc10-small", ["matching.iterations=5", "compile=always"], "cuda", True),
        ("cifar10-lt-if100-ipc10", [], "cuda", True),
        # On a GPU the same eager steps are over before a minute is.
        ("cifar10-lt-if100-ipc10", ["matching.iterations=20"], "cuda", False),
    ],
)
def test_the_student_is_compiled_where_that_saves_time(
    preset: str, changes: list[str], device: str, expected: bool
) -> None:
    assert compiled(load_preset(preset, changes), device) is expected


def test_the_quickstart_is_compiled_and_runs_of_seconds_are_not() -> None:
    assert compiled(load_preset("quickstart"), shape=DIGITS)
    assert not compiled(load_preset("quickstart", ["matching.iterations=10"]), shape=DIGITS)


@pytest.mark.parametrize(("images", "expected"), [(400, True), (10, False)])
def test_the_number_of_experts_does_not_change_how_they_are_trained(images: int, expected: bool) -> None:
    for count in (1, 2, 8, 100):
        settings = load_preset("quickstart", [f"experts.num_experts={count}"])
        assert should_compile_experts(settings, network_cost("convnet", **DIGITS), images, "cpu") is expected


def test_an_eager_epoch_on_a_gpu_is_over_before_compiling_it_would_be() -> None:
    settings, cost = load_preset("cifar10-lt-if100-ipc10-small", ["experts.network=alexnet"]), CIFAR
    images = network_cost("alexnet", **cost)
    assert should_compile_experts(settings, images, 400, "cpu")
    assert not should_compile_experts(settings, images, 400, "cuda")


def test_only_the_convnet_is_in_cpp_and_only_on_a_cpu() -> None:
    convnet, alexnet = RunSettings(), load_preset("quickstart", ["experts.network=alexnet"])
    assert compiled_backend("convnet", "cpu") == "cpp"
    assert compiled_backend("convnet", "cuda:0") == compiled_backend("alexnet", "cpu") == "torch"
    assert may_compile_by_torch(alexnet, "cpu") and may_compile_by_torch(convnet, "cuda")
    assert not may_compile_by_torch(convnet, "cpu")
