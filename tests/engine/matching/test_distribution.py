"""DM and IDM: their gradients are those of plain autograd, and IDM's queue grows, learns and survives a kill."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.checkpoints import DistillState
from engine.context import Context
from engine.data.augment import Augmentation, apply, draw
from engine.data.dataset import LongTailedData
from engine.matching.distribution import DistributionMatcher, FeatureMatcher, QueueMatcher
from engine.matching.synthetic import Synthetic
from engine.nets.functional import FlatNetwork
from engine.run.errors import RunFailed, Stopped
from engine.run.events import Event, MatchingStep
from engine.run.settings import DistributionSettings, RunSettings
from engine.stages.distill import distill, distribution_matcher
from engine.training.from_scratch import fresh_network
from tests.engine.tiny_run import tiny_context, tiny_data, tiny_set, tiny_settings

ALL = ("color", "crop", "cutout", "flip", "scale", "rotate")


def settings_of(method: str, **more: object) -> RunSettings:
    few = {"real_batch": 5, "network_every": 2, "most_networks": 5, "training_steps": 2, "training_batch": 40}
    return tiny_settings(method, distribution=few, **{"compile": "never"} | more)


@pytest.fixture
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def feature_matcher(
    root: Path, settings: RunSettings
) -> tuple[FeatureMatcher, LongTailedData, FlatNetwork, Tensor, Synthetic]:
    """In the default type: a matcher, the digits, a network, its weights and a set."""
    data = tiny_data(settings)
    data = replace(data, train_images=data.train_images.to(torch.get_default_dtype()))
    network, theta = fresh_network(settings, data, "convnet", "own")
    matcher = distribution_matcher(tiny_context(root, settings), data, network).matcher
    synthetic = tiny_set(data, settings.ipc).map(by=lambda part: part.to(torch.get_default_dtype()))
    return matcher, data, network, theta.to(torch.get_default_dtype()), synthetic


def plain_loss(
    settings: RunSettings,
    data: LongTailedData,
    network: FlatNetwork,
    theta: Tensor,
    images: Tensor,
    generator: torch.Generator,
    weight: float,
) -> Tensor:
    """As the papers write it, class by class; `images` (S, ...) require a gradient."""

    def augmented(one: Augmentation, batch: Tensor) -> Tensor:
        return apply(Augmentation(one.name, one.amounts.repeat(len(batch), 1)), batch)

    augmentations = [draw(settings.dataset.augmentation, 1, data.image_size, generator) for _ in range(10)]
    loss = torch.zeros(())
    for c, one in enumerate(augmentations):
        members = torch.nonzero(data.train_labels == c).flatten()
        own = members[torch.randperm(len(members), generator=generator)[: settings.distribution.real_batch]]
        batch = augmented(one, images[settings.ipc * c : settings.ipc * (c + 1)])
        difference = network.features(theta, augmented(one, data.train_images[own])).mean(0)
        loss = loss + (difference - network.features(theta, batch).mean(0)).square().sum()
        loss = loss + weight * F.cross_entropy(network(theta, batch), torch.full((len(batch),), c))
    return loss


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("compiled", ["never", "always"])
@pytest.mark.parametrize("weight", [0.0, 3.0])
def test_the_gradient_is_that_of_plain_autograd(
    name: str, compiled: str, weight: float, tmp_path: Path, in_float64: None
) -> None:
    dataset = {"name": "digits", "imbalance_factor": 50.0, "augmentation": [name]}
    settings = settings_of("dm", compile=compiled, dataset=dataset)
    matcher, data, network, theta, synthetic = feature_matcher(tmp_path, settings)
    result = matcher.match(theta, synthetic, torch.Generator().manual_seed(7), weight, "")
    images = synthetic.images.clone().requires_grad_()
    loss = plain_loss(settings, data, network, theta, images, torch.Generator().manual_seed(7), weight)
    torch.testing.assert_close(result.loss_rep, loss.detach(), rtol=1e-10, atol=0)
    expected = torch.autograd.grad(loss, images)[0]
    torch.testing.assert_close(result.gradient.images, expected, rtol=1e-10, atol=1e-12)
    assert not result.gradient.label_logits.any() and not result.gradient.beta.any()


def test_dm_takes_a_new_random_network_in_every_iteration(tmp_path: Path) -> None:
    settings = settings_of("dm")
    data, context = tiny_data(settings), tiny_context(tmp_path, settings)
    matcher = distribution_matcher(context, data, fresh_network(settings, data, "convnet")[0])
    assert isinstance(matcher, DistributionMatcher)
    one, again, other = (matcher.fresh_weights(number) for number in (3, 3, 4))
    assert torch.equal(one, again) and not torch.equal(one, other)


def queue_matcher(root: Path) -> tuple[QueueMatcher, Context, Synthetic]:
    settings = settings_of("idm")
    data, context = tiny_data(settings), tiny_context(root, settings)
    matcher = distribution_matcher(context, data, fresh_network(settings, data, "convnet")[0])
    assert isinstance(matcher, QueueMatcher)
    return matcher, context, tiny_set(data, settings.ipc)


def test_the_queue_grows_loses_its_oldest_and_trains_two_networks(tmp_path: Path) -> None:
    matcher, _, synthetic = queue_matcher(tmp_path)
    extra: dict[str, Tensor] = {}
    sizes, trained = [], []
    for iteration in range(8):
        before = {name: tensor.clone() for name, tensor in extra.items()}
        extra = matcher.gradient(synthetic, iteration, torch.Generator().manual_seed(iteration), extra).extra
        sizes.append(len(extra["weights"]))
        if iteration % 2:  # no network is new
            trained.append(int((extra["weights"] != before["weights"]).any(dim=1).sum()))
    assert sizes == [4, 4, 5, 5, 5, 5, 5, 5] and trained == [2, 2, 2, 2]
    # Networks 0 to 2 began; 3, 4, 5 and 6 joined at iterations 0, 2, 4 and 6, where 0 and 1 went.
    assert torch.equal(extra["weights"][-1], matcher.fresh_weights(6))
    untouched = ~extra["velocities"].any(dim=1)
    for place in torch.nonzero(untouched).flatten().tolist():
        assert torch.equal(extra["weights"][place], matcher.fresh_weights(2 + place))
    accuracies = extra["accuracies"]
    assert (accuracies[untouched] == 0).all() and accuracies.max() > 10 and accuracies.max() <= 100


def test_a_network_counts_by_its_accuracy_alone(tmp_path: Path) -> None:
    matcher, _, synthetic = queue_matcher(tmp_path)
    weights = matcher.fresh_weights(0)[None]
    untrained = {"weights": weights, "velocities": torch.zeros_like(weights), "accuracies": torch.zeros(1)}
    idle = replace(matcher.matcher, settings=DistributionSettings(trained_networks=0, real_batch=5))
    one = replace(matcher, matcher=idle)

    def at(accuracy: float, iteration: int = 1) -> Tensor:
        extra = untrained | {"accuracies": torch.tensor([accuracy])}
        return one.gradient(synthetic, iteration, torch.Generator().manual_seed(5), extra).gradient.images

    first, second, third = at(0.0), at(40.0), at(80.0)
    torch.testing.assert_close(third - first, 2 * (second - first), rtol=1e-3, atol=1e-4)


def test_a_run_that_diverges_names_the_rate_of_the_method(tmp_path: Path) -> None:
    settings = settings_of("dm")
    data, context = tiny_data(settings), tiny_context(tmp_path, settings)
    matcher = distribution_matcher(context, data, fresh_network(settings, data, "convnet")[0])
    broken = tiny_set(data)._replace(images=torch.full((20, 1, 8, 8), torch.nan))
    with pytest.raises(RunFailed, match=r"not finite.*") as failure:
        list(distill(context, broken, matcher))
    assert failure.value.faults[0].hint.startswith("lower distribution.image_lr")


@pytest.mark.parametrize("method", ["dm", "idm"])
def test_a_killed_run_ends_in_the_same_bytes(method: str, tmp_path: Path) -> None:
    settings = settings_of(method, initialize={"partition": 2}, matching={"iterations": 5, "max_start_epoch": 1})
    data = tiny_data(settings)
    network, _ = fresh_network(settings, data, "convnet")
    start = tiny_set(data)._replace(label_logits=torch.eye(10).repeat_interleave(8, 0))

    def finish(context: Context) -> DistillState:
        *_, last = distill(context, start, distribution_matcher(context, data, network), data.partition)
        return last

    whole = finish(tiny_context(tmp_path / "whole", settings))
    events: list[Event] = []
    context = tiny_context(tmp_path / "run", settings, events)

    def stop() -> None:
        if sum(isinstance(event, MatchingStep) for event in events) == 3:
            raise Stopped("stopped on request")

    with pytest.raises(Stopped):
        finish(replace(context, check_stop=stop))
    resumed = finish(context)
    assert resumed.iteration == 5 and torch.equal(resumed.synthetic.images, whole.synthetic.images)
    assert not torch.equal(whole.synthetic.images, start.images)
    assert resumed.extra.keys() == whole.extra.keys() and bool(whole.extra) == (method == "idm")
    assert all(torch.equal(resumed.extra[name], whole.extra[name]) for name in whole.extra)
