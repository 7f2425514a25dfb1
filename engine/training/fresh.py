"""Networks for a data set: fresh ones, their weights drawn from a named seed, and what they cost by their shape."""

from __future__ import annotations

from torch import Tensor

from engine.data.dataset import LongTailedData
from engine.nets import build_network
from engine.nets.flat import FlatNetwork
from engine.run.costs import NetworkCost, network_cost
from engine.run.settings import NetworkName, RunSettings
from engine.seeding import derived_seed


def fresh_network(
    settings: RunSettings, data: LongTailedData, arch: NetworkName, *names: str | int
) -> tuple[FlatNetwork, Tensor]:
    """The network and its weights (P,) on the data's device; the same names give the same weights."""
    module = build_network(
        arch,
        channels=data.channels,
        classes=data.num_classes,
        image_size=data.image_size,
        width=settings.experts.width,
        depth=settings.experts.depth,
        seed=derived_seed(settings.seed, *names, "weights"),
    )
    network = FlatNetwork(module)
    return network, network.flatten(module).to(data.train_images.device)


def cost_of(settings: RunSettings, data: LongTailedData, arch: NetworkName) -> NetworkCost:
    """Operations and activations of such a network on this data."""
    return network_cost(
        arch,
        channels=data.channels,
        classes=data.num_classes,
        image_size=data.image_size,
        width=settings.experts.width,
        depth=settings.experts.depth,
    )
