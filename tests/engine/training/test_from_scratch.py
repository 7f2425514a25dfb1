"""The training of an evaluation: a whole online training against a plain loop, and the schedule of each recipe."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from engine.context import generator
from engine.data.augment import CutMix, apply, draw
from engine.nets import build_network
from engine.nets.functional import FlatNetwork
from engine.run.events import StageProgress
from engine.run.recipes import Recipe
from engine.run.settings import Compile, LabelRegime, RunSettings
from engine.stages.evaluate import evaluate, random_target
from engine.teachers import Teacher
from engine.training import from_scratch
from engine.training.from_scratch import TrainingSet, fresh_network, train_from_scratch
from tests.engine.tiny_run import tiny_context, tiny_data, tiny_settings

EPOCHS, BATCH = 5, 8
ONLINE = {"epochs": EPOCHS, "batch_size": BATCH, "ema": 0.9, "cross_entropy_weight": 0.3, "decay_at": 0.4}


def teacher_of(settings: RunSettings) -> tuple[Teacher, list[torch.nn.Module]]:
    """Two untrained networks."""
    shape = {"channels": 1, "classes": 10, "image_size": 8, "width": 4, "depth": 2}
    members = [build_network("convnet", **shape, seed=seed) for seed in (7, 8)]
    network = FlatNetwork(members[0])
    return Teacher(network, [network.flatten(member) for member in members], []), members


def train_plainly(settings: RunSettings, training_set: TrainingSet, module: torch.nn.Module, members: list, draws):
    """Online training as one would write it down: nn.Module, torch.optim.AdamW, one batch after another."""
    optimizer = torch.optim.AdamW(module.parameters(), settings.online.learning_rate, weight_decay=0.01)
    averaged = copy.deepcopy(module)
    for epoch in range(EPOCHS):
        if epoch in (2, 4):  # ceil(0.4 * 5), ceil(0.7 * 5) and ceil(0.85 * 5) = 5, which is past the end
            for group in optimizer.param_groups:
                group["lr"] /= 2
        for chosen in torch.randperm(len(training_set.images), generator=draws).split(BATCH):
            images = apply(draw(settings.dataset.augmentation, len(chosen), 8, draws), training_set.images[chosen])
            cutmix = CutMix.draw(1.0, len(chosen), 8, draws)
            images, classes = cutmix.images(images), cutmix.targets(training_set.targets[chosen])
            with torch.no_grad():
                wanted = sum(member(images) for member in members) / len(members)
            logits = module(images)
            loss = ((logits - wanted) ** 2).mean() + 0.3 * -(classes * F.log_softmax(logits, 1)).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for average, weight in zip(averaged.parameters(), module.parameters(), strict=True):
                    average += 0.1 * (weight - average)
    return averaged


@pytest.mark.parametrize("compiled", [False, True])
def test_online_training_equals_the_plain_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: bool) -> None:
    settings = tiny_settings(online=ONLINE, compile="always" if compiled else "never")
    context, data = tiny_context(tmp_path, settings), tiny_data(settings)
    images = data.train_images[:20]
    training_set = TrainingSet(images, torch.eye(10).repeat(2, 1), settings.online.learning_rate)
    teacher, members = teacher_of(settings)
    names = ("online", 0)
    network, weights = train_from_scratch(context, data, [training_set], "convnet", [names], "online", teacher)
    module = build_network("convnet", channels=1, classes=10, image_size=8, width=4, depth=2, seed=0)
    start = fresh_network(settings, data, "convnet", *names)[1]
    module.load_state_dict(network.unflatten(start))
    draws = generator(settings.seed, *names, "order")
    expected = train_plainly(settings, training_set, module, members, draws)(data.test_images)
    # Logits, not weights: AdamW makes steps of the noise that is the gradient of a bias before a norm.
    moved = (expected - network(start, data.test_images)).norm()
    assert moved > 0.05 * expected.norm()
    assert (network(weights[0], data.test_images) - expected).norm() < 1e-4 * moved


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("regime", ["stored", "online"])
def test_bfloat16_trains_nearly_the_same_network(tmp_path: Path, regime: LabelRegime, compiled: bool) -> None:
    """The two differ, so the setting is not ignored, and by little beside what training moved; weights are float32."""
    logits = {}
    for precision in ("float32", "bf16"):
        evaluation = {"epochs": EPOCHS, "batch_size": BATCH, "precision": precision}
        form: Compile = "always" if compiled else "never"
        settings = tiny_settings(online=ONLINE, compile=form, evaluate=evaluation)
        context, data = tiny_context(tmp_path / precision, settings), tiny_data(settings)
        training_set = TrainingSet(data.train_images[:20], torch.eye(10).repeat(2, 1), settings.online.learning_rate)
        teacher = teacher_of(settings)[0] if regime == "online" else None
        network, weights = train_from_scratch(context, data, [training_set], "convnet", [("x",)], regime, teacher)
        assert weights.dtype == torch.float32
        logits[precision] = network(weights[0], data.test_images)
    moved = logits["float32"] - network(fresh_network(settings, data, "convnet", "x")[1], data.test_images)
    assert 0 < (logits["bf16"] - logits["float32"]).norm() < 0.1 * moved.norm()


def test_the_online_rate_falls_where_it_was_published_to() -> None:
    recipe = RunSettings().recipe("online")
    assert recipe.decay_epochs == [800, 900, 950]
    assert recipe.decay_factor == 0.5


def test_averaged_weights_are_those_of_a_sequence_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gradient that is always -1, made up: the weights are 0, 1, 2, 3 at rate 1, then 3.1 at a tenth of it."""
    settings = tiny_settings(compile="never")
    context, data = tiny_context(tmp_path, settings), tiny_data(settings)
    monkeypatch.setattr(from_scratch, "training_gradient", lambda *_, **more: lambda theta, *_: (None, -(theta**0)))
    monkeypatch.setattr(from_scratch, "fresh_network", lambda *_: (None, torch.zeros(3)))
    from_scratch.release_compiled_networks()
    training_set = TrainingSet(data.train_images[:20], torch.eye(10).repeat(2, 1), 1.0)
    results = []
    for ema in (0.5, 0.0):
        recipe = Recipe(4, 20, "sgd", 0.0, 0.0, (0.75,), 0.1, (), ema=ema)
        results.append(train_from_scratch(context, data, [training_set], "convnet", [("x",)], recipe=recipe)[1])
    from_scratch.release_compiled_networks()
    # 0 -> (0 + 1) / 2 = 0.5 -> (0.5 + 2) / 2 = 1.25 -> 2.125 -> (2.125 + 3.1) / 2 = 2.6125
    assert results[0][0].tolist() == pytest.approx([2.6125] * 3)
    assert results[1][0].tolist() == pytest.approx([3.1] * 3)


def test_a_long_training_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_scratch, "TOLD_EVERY_SECONDS", 0.0)
    context = tiny_context(tmp_path, tiny_settings(compile="never"), seen := [])
    data = tiny_data(context.settings)
    target = random_target(context, data)
    with context.stage("baselines", 2, "networks") as progress:
        evaluate(context, data, target, "convnet", 2, progress)
    told = [event.done for event in seen if isinstance(event, StageProgress)]
    assert told == [0.5, 1, 1, 1.5, 2, 2], "two epochs of one batch, then the network is tested"
