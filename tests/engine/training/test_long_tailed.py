"""Training on all long-tailed images: the step sizes, the loss, the draws, and a kill after any epoch."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from engine.nets import build_network
from engine.nets.functional import FlatNetwork
from engine.run.events import Warned
from engine.training.from_scratch import fresh_network
from engine.training.gradients import autograd_gradient, looped
from engine.training.long_tailed import LongTailLoss, balanced_softmax, long_tailed_training, one_cycle
from engine.training.sgd import half_cosine
from tests.engine.tiny_run import tiny_data, tiny_settings


def scheduled(of: str, steps: int) -> list[float]:
    """The step sizes of one of torch's schedulers, of a peak or first one of 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    if of == "one_cycle":
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, steps, cycle_momentum=False)
    else:
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rates = []
    for _ in range(steps):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize("steps", [1, 7, 50])
def test_the_step_sizes_are_those_of_torch(steps: int) -> None:
    assert [one_cycle(step, steps) for step in range(steps)] == pytest.approx(scheduled("one_cycle", steps), abs=1e-12)
    assert [half_cosine(step / steps) for step in range(steps)] == pytest.approx(scheduled("cosine", steps), abs=1e-12)


def test_balanced_softmax_is_the_cross_entropy_of_logits_plus_the_log_prior() -> None:
    module = build_network("convnet", channels=1, classes=3, image_size=8, width=4, depth=2, seed=0).double()
    network, counts = FlatNetwork(module), [50, 9, 1]
    theta, images = network.flatten(module), torch.randn(6, 1, 8, 8, dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    leaf = theta.clone().requires_grad_()
    prior = torch.tensor(counts, dtype=torch.float64) / 60
    loss = F.cross_entropy(network(leaf, images) + prior.log(), labels)
    (wanted,) = torch.autograd.grad(loss, leaf)
    plain = looped(autograd_gradient(network))
    losses, found = balanced_softmax(plain, network, counts)(theta[None], images[None], labels[None])
    torch.testing.assert_close(losses[0], loss.detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(found[0], wanted, rtol=0, atol=1e-12)
    assert torch.equal(theta, network.flatten(module)), "the weights themselves stay as they are"


class Killed(Exception):
    """Ends a training as a signal would."""


@pytest.mark.parametrize(("loss", "cutmix"), [("plain", 0.0), ("class_balanced", 0.0), ("balanced_softmax", 1.0)])
def test_a_training_killed_after_an_epoch_goes_on_to_the_same_bytes(
    tmp_path: Path, loss: LongTailLoss, cutmix: float
) -> None:
    settings = tiny_settings(teacher={"cutmix": cutmix})
    data, told, warned = tiny_data(settings), list[int](), list[Warned]()

    def run(checkpoint: str, killed_after: int | None = None) -> torch.Tensor:
        network, start = fresh_network(settings, data, "convnet")
        gradient = looped(autograd_gradient(network))
        training = long_tailed_training(settings, data, network, start, gradient, loss, 3, ("a", 1))

        def epoch_done(epoch: int, mean_loss: float) -> None:
            told.append(epoch)
            if epoch == killed_after:
                raise Killed

        return training.run("a network", tmp_path / checkpoint, epoch_done, warned.append)

    whole = run("whole")
    with pytest.raises(Killed):
        run("parts", killed_after=2)
    assert torch.equal(run("parts"), whole)
    assert told == [1, 2, 3, 1, 2, 3], "no epoch is done twice"
    (tmp_path / "parts").write_bytes((tmp_path / "whole").read_bytes()[:-1])
    assert torch.equal(run("parts"), whole)
    assert told[6:] == [3], "the epoch before is kept"
    assert len(warned) == 1 and str(tmp_path / "parts") in warned[0].message


def test_class_balanced_batches_show_every_class_as_often() -> None:
    settings = tiny_settings()
    data, shown = tiny_data(settings), []
    network, start = fresh_network(settings, data, "convnet")
    gradient = looped(autograd_gradient(network))
    for loss in ("plain", "class_balanced"):
        training = long_tailed_training(settings, data, network, start, gradient, loss, 1, ("a",))
        seen = torch.cat([targets[0] for epoch in range(1, 21) for _, targets in training.batches(epoch)])
        shown.append(torch.bincount(seen, minlength=10) / 20)
    assert shown[0].tolist() == data.class_counts
    assert float(shown[1].sum()) == pytest.approx(sum(data.class_counts))
    # Of 20 epochs the count of a class has a standard deviation of 6 / sqrt(20) around its mean.
    assert (shown[1] - shown[1].mean()).abs().max() < 6


def test_cutmix_mixes_images_with_their_labels() -> None:
    settings = tiny_settings(teacher={"cutmix": 1.0}, dataset={"name": "digits", "augmentation": []})
    digits = tiny_data(settings)
    # Every pixel of an image is its class, so that its mean tells what it was mixed of.
    images = digits.train_labels[:, None, None, None].expand_as(digits.train_images).float()
    data = dataclasses.replace(digits, train_images=images)
    network, start = fresh_network(settings, data, "convnet")
    gradient = looped(autograd_gradient(network))
    training = long_tailed_training(settings, data, network, start, gradient, "balanced_softmax", 1, ("a",))
    mixed = 0
    for views, targets in training.batches(1):
        torch.testing.assert_close(views[0].flatten(1).mean(dim=1), targets[0] @ torch.arange(10.0))
        mixed += int(((targets > 0).sum(dim=2) == 2).sum())
    assert mixed > len(images) / 4
