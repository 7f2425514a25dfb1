"""Networks trained at once: how many, what is done where they do not fit, and that it changes nothing of them."""

from __future__ import annotations

import sys
import weakref

import pytest
import torch

from engine.run.events import Warned
from engine.run.network_cost import network_cost
from engine.stages import evaluate as stage
from engine.stages import experts as experts_stage
from engine.stages.evaluate import evaluate, synthetic_target
from engine.training import from_scratch, gradients
from engine.training.from_scratch import fresh_network
from engine.training.groups import group_size, in_groups
from tests.engine.tiny_run import tiny_context, tiny_data, tiny_set, tiny_settings

CIFAR = network_cost("convnet", channels=3, classes=10, image_size=32, width=128, depth=3)
DIGITS = network_cost("convnet", channels=1, classes=10, image_size=8, width=32, depth=2)


def test_a_cpu_trains_one_and_a_gpu_as_many_as_it_takes_to_be_busy():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert {group_size(100, cost, 256, cpu) for cost in (CIFAR, DIGITS)} == {1}
    assert group_size(100, CIFAR, 256, cuda) == 1
    assert group_size(5, CIFAR, 100, cuda) == 2
    assert group_size(8, DIGITS, 32, cuda) == 8
    assert group_size(100, DIGITS, 32, cuda) == 16


@pytest.mark.parametrize(("fitting", "sizes"), [(8, [7]), (3, [3, 3, 1]), (1, [1] * 7)])
def test_groups_that_do_not_fit_are_halved_and_a_warning_says_so(tmp_path, fitting, sizes):
    events, tried, released = [], [], []

    def train(numbers):
        tried.append(len(numbers))
        assert sys.exc_info()[0] is None, "the error would keep what did not fit"
        if len(numbers) > fitting:
            raise torch.OutOfMemoryError("too much")
        return [10 * number for number in numbers]

    context = tiny_context(tmp_path / "run", tiny_settings(), events)
    done = list(in_groups(context, range(7), 7, train, lambda: released.append(tried[-1])))
    assert released == [size for size in tried if size > fitting]
    assert [len(numbers) for numbers, _ in done] == sizes
    assert [result for _, trained in done for result in trained] == [10 * number for number in range(7)]
    assert len(events) == len(tried) - len(sizes) and all(isinstance(event, Warned) for event in events)


def test_one_network_that_does_not_fit_is_an_error(tmp_path):
    def train(numbers):
        raise torch.OutOfMemoryError("too much")

    with pytest.raises(torch.OutOfMemoryError):
        list(in_groups(tiny_context(tmp_path / "run", tiny_settings()), range(2), 2, train))


def test_the_gradient_of_the_larger_group_is_freed(tmp_path, monkeypatch):
    """Memory for one network, made up: those of two are gone when one is tried, in evaluations and of experts."""
    settings = tiny_settings(evaluate={"epochs": 1, "repeats": 2}, experts={"num_experts": 2, "epochs": 2, "width": 4})
    data, alive = tiny_data(settings), weakref.WeakSet()
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "cache"))

    class Gradient:
        def __init__(self, network, group, *rest, **more):
            alive.add(self)
            assert len(alive) == 1
            self.group, self.whole = group, whole(network, group, *rest, **more)

        def __call__(self, theta, images, targets):
            assert self.group == len(theta)
            if len(theta) > 1:
                raise torch.OutOfMemoryError("too much")
            return self.whole(theta, images, targets)

    whole = gradients.training_gradient
    for module in (stage, experts_stage):
        monkeypatch.setattr(module, "networks_at_once" if module is stage else "group_size", lambda *_: 2)
    for module in (from_scratch, experts_stage):
        monkeypatch.setattr(module, "training_gradient", Gradient)
    from_scratch.release_compiled_networks()
    context = tiny_context(tmp_path / "run", settings)
    network, _ = fresh_network(settings, data, "convnet")
    assert len(experts_stage.train_experts(context, data, network)) == 2
    assert not alive
    target = synthetic_target(context, data, "final", "set", 3, tiny_set(data, settings.ipc))
    evaluate(context, data, target, "convnet", 2)
    from_scratch.release_compiled_networks()


def test_networks_of_an_evaluation_are_the_same_at_once_and_an_interrupted_group_is_done_again(tmp_path, monkeypatch):
    settings = tiny_settings()
    data = tiny_data(settings)
    results, stop_after = {}, None

    def run(name: str, group: int):
        monkeypatch.setattr(stage, "networks_at_once", lambda *_: group)
        context = tiny_context(tmp_path / name, settings)
        target = synthetic_target(context, data, "final", "set", 3, tiny_set(data, settings.ipc))
        done = []

        def progress():
            done.append(1)
            if len(done) == stop_after:
                raise KeyboardInterrupt

        return evaluate(context, data, target, "convnet", 4, progress)

    for group in (1, 3):
        results[group] = run(f"groups-of-{group}", group)
    stop_after = 2
    with pytest.raises(KeyboardInterrupt):
        run("interrupted", 3)
    stop_after = None
    assert run("interrupted", 3) == results[3]
    assert results[3].classifier_norms == pytest.approx(results[1].classifier_norms, rel=1e-4)
    assert results[3].accuracy_mean == pytest.approx(results[1].accuracy_mean, abs=0.5)
