"""The networks by name, each with a `classifier` (nn.Linear) on top of `features(x)`: (B, channels, H, W) -> (B, F)."""

from __future__ import annotations

from typing import cast, get_args

import torch
from torch import nn

from engine.nets.architectures import VGG11, AlexNet, ConvNet, ResNet18
from engine.run.errors import InputError
from engine.run.settings import NetworkName


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


def known_network(name: str) -> NetworkName:
    """A name from outside as that of a network; raises InputError, which lists the networks, for any other name."""
    known = get_args(NetworkName)
    if name not in known:
        raise InputError(f"there is no network {name!r}", "arch", f"the networks are {', '.join(known)}")
    return cast(NetworkName, name)
