"""GLMC: its loss by hand, the fast gradient against the plain one, and what a batch of two mixed views is."""

from __future__ import annotations

import dataclasses

import torch
from torch.nn import functional as F

from engine.nets import build_network
from engine.nets.convnet_derivatives import ConvNetDerivatives
from engine.nets.functional import FlatNetwork
from engine.nets.norm_pool import eager_norm_pool
from engine.training.from_scratch import fresh_network
from engine.training.glmc import Glmc, _box, analytic_glmc, autograd_glmc, glmc_training
from tests.engine.tiny_run import tiny_data, tiny_settings

COUNTS = [50, 9, 1]


def small() -> tuple[FlatNetwork, Glmc, torch.Tensor]:
    """A network, GLMC's loss on it, and weights of both, in float64."""
    module = build_network("convnet", channels=1, classes=3, image_size=8, width=4, depth=2, seed=0).double()
    network = FlatNetwork(module)
    glmc = Glmc(network, COUNTS, seed=3)
    return network, glmc, torch.cat([network.flatten(module), glmc.heads.double()])


def test_the_gradient_by_the_networks_own_passes_is_that_of_autograd() -> None:
    network, glmc, theta = small()
    images, targets = torch.randn(1, 10, 1, 8, 8).double(), torch.rand(1, 5, 3).double().softmax(dim=2)
    plain = autograd_glmc(glmc, network, network.features, 0.3)(theta[None], images, targets)
    passes = ConvNetDerivatives(network, eager_norm_pool())
    for wanted, found in zip(plain, analytic_glmc(glmc, passes, 0.3)(theta[None], images, targets), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)


def test_the_loss_is_two_cross_entropies_and_how_far_the_views_are_apart() -> None:
    network, glmc, theta = small()
    features, targets = torch.randn(4, 16).double(), torch.tensor([[1.0, 0, 0], [0, 0.25, 0.75]]).double()
    above = theta[network.backbone.stop :]
    (weight, bias), heads = network.split_classifier(above[: 3 * 17]), above[3 * 17 :]
    plain_weight, plain_bias = heads[:48].view(3, 16), heads[48:51]
    projection = features @ heads[51 : 51 + 2048].view(128, 16).T + heads[2099:2227]
    predicted = projection @ heads[2227 : 2227 + 128**2].view(128, 128).T + heads[-128:]
    label_weights = torch.tensor(COUNTS).double() ** -0.8
    label_weights = 3 * label_weights / label_weights.sum()
    wanted = torch.zeros((), dtype=torch.float64)
    for view in (0, 1):
        own = features[2 * view : 2 * view + 2]
        plain = F.cross_entropy(own @ plain_weight.T + plain_bias, targets)
        balanced = F.cross_entropy(own @ weight.T + bias, targets, label_weights, reduction="sum") / 2
        wanted += 0.7 * plain + 0.3 * balanced
        other = projection[2 - 2 * view : 4 - 2 * view]
        wanted += 1 - F.cosine_similarity(predicted[2 * view : 2 * view + 2], other).mean()
    torch.testing.assert_close(glmc.loss(features, above, targets, 0.7), wanted)


def test_both_views_of_a_batch_mix_the_same_images_by_the_same_share() -> None:
    settings = tiny_settings(
        teacher={"kind": "glmc", "batch_size": 64},
        dataset={"name": "digits", "imbalance_factor": 50.0, "augmentation": ["flip", "color"]},
    )
    digits = tiny_data(settings)
    # Every pixel of an image is its class, so that what is seen tells what was mixed.
    classes = digits.train_labels[:, None, None, None].expand_as(digits.train_images).float()
    data = dataclasses.replace(digits, train_images=classes)
    network, start = fresh_network(settings, data, "convnet")
    training = glmc_training(settings, data, network, start, ("teacher", 0), compiled=False)
    batches = list(training.batches(1))
    assert [views.shape[1] for views, _ in batches] == [128] * 5 + [102] and training.steps == 6
    for (views, targets), (same_views, same_targets) in zip(batches, training.batches(1), strict=True):
        assert torch.equal(views, same_views) and torch.equal(targets, same_targets)
        whole, boxed = views[0].flatten(1).chunk(2)
        torch.testing.assert_close(whole, (targets[0] @ torch.arange(10.0))[:, None].expand_as(whole))
        for pixels, label in zip(boxed, targets[0], strict=True):
            mixed = set(label.nonzero().flatten().tolist())
            assert set(pixels.int().tolist()) <= mixed and len(mixed) <= 2


def test_the_box_of_cutmix_has_the_other_images_share_of_the_sides() -> None:
    draws, heights = torch.Generator().manual_seed(0), []
    for share in torch.linspace(0, 1, 21).tolist():
        for _ in range(20):
            box = _box(32, share, draws)
            rows, columns = box.any(dim=1), box.any(dim=0)
            assert torch.equal(box, rows[:, None] & columns)
            side = 32 * (1 - share) ** 0.5
            assert max(rows.sum(), columns.sum()) <= side + 1, "it may be cut off at the border"
            heights.append(int(rows.sum()) / max(side, 1))
    assert sum(height > 0.9 for height in heights) > len(heights) / 4
