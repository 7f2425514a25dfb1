"""The networks by name, each with a `classifier` (nn.Linear) on top of `features(x)`: (B, channels, H, W) -> (B, F)."""

from __future__ import annotations

import torch
from torch import nn

from engine.nets.architectures import VGG11, AlexNet, ConvNet, ResNet18
from engine.run.errors import InputError
from engine.run.fields import NetworkName


def build_network(
    name: NetworkName, *, channels: int, classes: int, image_size: int, width: int, depth: int, seed: int
) -> nn.Module:
    """A network on the CPU, its weights drawn from `seed` alone; `width` and `depth` are the ConvNet's.

    Raises InputError where the images are too small for the network.
    """
    smallest = 2**depth if name == "convnet" else 8
    if image_size < smallest:
        what = f"{name} needs images of {smallest} pixels or more, these have {image_size}"
        raise InputError(what, hint="raise dataset.resolution, or lower experts.depth")
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would also reseed every GPU, which fork_rng(devices=[]) does not put back.
        torch.default_generator.manual_seed(seed)
        match name:
            case "convnet":
                return ConvNet(channels, classes, image_size, width, depth)
            case "resnet18":
                return ResNet18(channels, classes, image_size)
            case "vgg11":
                return VGG11(channels, classes, image_size)
            case "alexnet":
                return AlexNet(channels, classes, image_size)
