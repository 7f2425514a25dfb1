"""The teacher's logits, and ADSA's tau against a grid."""

from __future__ import annotations

import pytest
import torch

from engine.nets import build_network
from engine.nets.functional import FlatNetwork
from engine.teachers import TAU_BOUNDS, Teacher, own_class_spread, search_tau

COUNTS = [500, 120, 40, 9, 3]
SHARES = torch.tensor(COUNTS, dtype=torch.float64) / sum(COUNTS)


@pytest.mark.parametrize("bias", [-0.4, 0.35])
def test_tau_is_the_best_of_a_fine_grid_and_undoes_a_prior(bias: float) -> None:
    classes = torch.arange(5).repeat_interleave(8)
    noise = torch.randn(40, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    logits = 2.0 * torch.eye(5, dtype=torch.float64)[classes] + 0.1 * noise + bias * SHARES.log()
    tau = search_tau(logits, classes, COUNTS)
    grid = torch.linspace(*TAU_BOUNDS, 1601).tolist()
    spreads = [own_class_spread(logits, classes, SHARES.log(), at) for at in grid]
    assert own_class_spread(logits, classes, SHARES.log(), tau) <= min(spreads) + 1e-9
    assert tau == pytest.approx(grid[spreads.index(min(spreads))], abs=2e-3)
    assert tau == pytest.approx(bias, abs=0.1)


def test_the_spread_is_over_classes_of_their_mean_own_probability() -> None:
    logits = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
    own = [(0.5 + float(torch.tensor(2.0).sigmoid())) / 2, float(torch.tensor(3.0).sigmoid())]
    wanted = 100 * abs(own[0] - own[1]) / 2
    found = own_class_spread(logits, torch.tensor([0, 0, 1]), torch.tensor([0.9, 0.1]).double().log(), 0.0)
    assert found == pytest.approx(wanted)


def test_a_teacher_gives_the_mean_logits_less_the_adjustment() -> None:
    modules = [build_network("convnet", channels=1, classes=5, image_size=8, width=4, depth=2, seed=s) for s in (0, 1)]
    network, images = FlatNetwork(modules[0]), torch.randn(7, 1, 8, 8)
    teacher = Teacher(network, [network.flatten(module) for module in modules], [])
    mean = (modules[0](images) + modules[1](images)) / 2
    torch.testing.assert_close(teacher.logits(images), mean)
    adjusted = teacher.adjusted(0.7, COUNTS)
    torch.testing.assert_close(adjusted.logits(images), mean - 0.7 * SHARES.log().float())
    labels = mean.argmax(dim=1)
    accuracy = teacher.tested(images, labels).mean_per_class
    assert accuracy is not None and adjusted.mean_per_class is None
    assert [float(accuracy[c]) for c in set(labels.tolist())] == [100.0] * len(set(labels.tolist()))
    assert accuracy.isnan().sum() == 5 - len(set(labels.tolist())), "a class without test images has no accuracy"
    stored = Teacher(network, teacher.weights, [], temperature=4.0)
    torch.testing.assert_close(stored.label_logits(images), mean / 4)
    torch.testing.assert_close(stored.logits(images), mean)  # what a student is shown is not softened
