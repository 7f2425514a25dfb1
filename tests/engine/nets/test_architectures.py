"""Every network: the field's sizes, any image size, weights from the seed alone, and a classifier that can be found."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from engine.nets import build_network
from engine.nets.functional import split_at_classifier
from engine.run.errors import InputError
from engine.run.settings import NetworkName

NAMES: list[NetworkName] = ["convnet", "resnet18", "vgg11", "alexnet"]
# channels and side of digits, Fashion-MNIST, CIFAR-10 and Tiny-ImageNet
IMAGES = [(1, 8), (1, 28), (3, 32), (3, 64)]


def build(name: NetworkName, channels: int = 3, size: int = 32, seed: int = 0, classes: int = 10) -> nn.Module:
    return build_network(name, channels=channels, classes=classes, image_size=size, width=128, depth=3, seed=seed)


def count(net: nn.Module, names: list[str]) -> int:
    parameters = dict(net.named_parameters())
    return sum(parameters[name].numel() for name in names)


def test_convnet_has_the_published_size() -> None:
    net = build("convnet")
    backbone, classifier = split_at_classifier(net)
    assert (count(net, backbone), count(net, classifier)) == (299_520, 20_490)


def test_resnet18_has_the_size_of_its_cifar_form() -> None:
    assert sum(p.numel() for p in build("resnet18").parameters()) == 11_173_962


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("channels", "size"), IMAGES)
def test_logits_have_one_column_a_class_and_come_from_the_features(name: NetworkName, channels: int, size: int) -> None:
    net = build(name, channels, size, classes=7)
    images = torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(1))
    features = net.features(images)
    logits = net(images)
    assert features.shape == (2, net.classifier.in_features)
    assert logits.shape == (2, 7)
    assert torch.equal(logits, net.classifier(features))
    # A norm over a single pixel would erase the image: two images, two answers.
    assert not torch.allclose(logits[0], logits[1])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("channels", "size"), IMAGES)
def test_every_weight_gets_a_gradient(name: NetworkName, channels: int, size: int) -> None:
    net = build(name, channels, size)
    images = torch.randn(4, channels, size, size, generator=torch.Generator().manual_seed(2))
    nn.functional.cross_entropy(net(images), torch.arange(4)).backward()
    # Instance norm subtracts what a bias before it adds, so that bias (and it alone) may stay without one.
    dead = [key for key, p in net.named_parameters() if p.dim() > 1 and (p.grad is None or not p.grad.abs().sum() > 0)]
    assert dead == []


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_alone_decides_the_weights(name: NetworkName) -> None:
    torch.manual_seed(3)
    first = build(name, size=8, seed=5).state_dict()
    torch.manual_seed(4)
    same = build(name, size=8, seed=5).state_dict()
    other = build(name, size=8, seed=6).state_dict()
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


@pytest.mark.parametrize("name", NAMES)
def test_the_global_random_state_is_untouched(name: NetworkName) -> None:
    before = torch.get_rng_state()
    build(name, size=8, seed=5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", NAMES)
def test_the_split_is_complete_and_the_classifier_is_the_last_layer(name: NetworkName) -> None:
    net = build(name, size=8)
    backbone, classifier = split_at_classifier(net)
    assert classifier == ["classifier.weight", "classifier.bias"]
    assert backbone + classifier == [key for key, _ in net.named_parameters()]
    # The definition of the split: features must not depend on the classifier.
    images = torch.randn(2, 3, 8, 8)
    before = net.features(images)
    with torch.no_grad():
        for key in classifier:
            net.get_parameter(key).zero_()
    assert torch.equal(net.features(images), before)


@pytest.mark.parametrize(("name", "size"), [("convnet", 7), ("resnet18", 4), ("vgg11", 4), ("alexnet", 4)])
def test_images_too_small_are_refused_with_a_hint(name: NetworkName, size: int) -> None:
    with pytest.raises(InputError, match="needs images of 8 pixels") as refused:
        build(name, size=size)
    assert "dataset.resolution" in refused.value.faults[0].hint
