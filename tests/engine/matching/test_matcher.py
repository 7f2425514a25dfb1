"""A whole outer iteration against its plain form: the same experts, batches, weights of the phases, and numbers."""

from __future__ import annotations

import pytest
import torch

from engine.matching.matcher import Matcher, PlainMatcher
from engine.run.methods import METHODS
from engine.run.settings import MatchingSettings
from engine.trajectories import Trajectory
from tests.engine.matching.toy import ALL, CLASSES, toy


@pytest.fixture(autouse=True)
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("method", ["ltdd", "datm", "mtt"])
@pytest.mark.parametrize("gradient", ["published", "exact"])
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "cpp"])
def test_an_iteration_equals_its_plain_twin(method, gradient, compiled):
    small = toy()
    steps = torch.linspace(0, 1, 6)[:, None]
    weights = small.start + steps * (small.target - small.start)
    none = torch.zeros(CLASSES)
    experts, classifiers = (Trajectory(own, none, none) for own in (weights, weights[:, small.network.classifier]))
    settings = MatchingSettings(
        syn_steps=4, syn_steps_cls=3, batch_syn=4, max_start_epoch=3, gradient=gradient, emulate_replicas=2
    )
    arguments = (
        settings,
        METHODS[method],
        small.network,
        [experts],
        [classifiers],
        small.loss,
        ALL,
        small.start.device,
    )
    fast, plain = (kind(*arguments, compiled) for kind in (Matcher, PlainMatcher))
    for iteration in range(2):
        result, twin = (
            matcher.gradient(small.synthetic, iteration, torch.Generator().manual_seed(iteration))
            for matcher in (fast, plain)
        )
        assert result.drawn == twin.drawn
        assert torch.allclose(result.loss_rep, twin.loss_rep, rtol=1e-10)
        assert (result.loss_cls is None) is (method != "ltdd")
        for name in ("images", "label_logits", "beta"):
            a, b = getattr(result.gradient, name), getattr(twin.gradient, name)
            assert torch.allclose(a, b, rtol=1e-10, atol=1e-13)
