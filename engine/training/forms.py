"""In which form networks are trained: by device, network, precision, and what is compiled.

A CPU trains one network after another: its cores are busy with one, and what is trained is on disk the sooner. A GPU
would wait for launches, so there a gradient is replayed as one CUDA graph, and small networks share it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.matching.replay import Replayer
from engine.nets.by_hand import ByHand
from engine.nets.convnet import ConvNet
from engine.nets.flat import FlatNetwork
from engine.nets.native import native
from engine.nets.norm_pool import compiled as compiled_norm_pool
from engine.nets.norm_pool import written
from engine.run.costs import NetworkCost
from engine.run.events import Emit, Warned
from engine.run.settings import Precision
from engine.training.gradient import Forward, Gradient, all_at_once, by_autograd, by_hand, by_transform, one_by_one
from engine.training.precision import lowered

_KEPT_BUSY_FLOPS = 50e9
"""Of a gradient that keeps a GPU busy by itself: some tenths of a millisecond."""
_MOST_AT_ONCE = 16
_TRAINING_PASSES = 3


def group_size(networks: int, cost: NetworkCost, batch: int, device: torch.device) -> int:
    """How many of `networks` alike are trained at once, on batches of `batch` images."""
    if device.type == "cpu":
        return 1
    wanted = math.ceil(_KEPT_BUSY_FLOPS / (_TRAINING_PASSES * cost.flops * batch))
    return max(1, min(networks, wanted, _MOST_AT_ONCE))


def training_gradient(
    network: FlatNetwork,
    group: int,
    device: torch.device,
    compiled: bool,
    precision: Precision = "float32",
    emit: Emit = lambda event: None,
) -> Gradient:
    """The form that is fastest for groups of up to `group` networks; make it once, it may be compiled once.

    `emit` is told where a GPU has to do without replaying it.
    """
    if not compiled:
        forward = lowered(network, precision, device)
        gradient = one_by_one(by_autograd(forward)) if group == 1 else all_at_once(by_transform(forward))
    elif network.architecture is ConvNet:
        gradient = _by_hand(network, group, device, precision)
    else:
        one = by_transform(lowered(network, precision, device))
        whole = one_by_one(one) if group == 1 else all_at_once(one)
        # An epoch's last batch may be smaller: two shapes, each compiled for itself.
        gradient = torch.compile(whole, dynamic=False)
    return Replayer(_teller(emit)).replayed(gradient) if device.type == "cuda" else gradient


def classifier_gradient(network: FlatNetwork, device: torch.device, emit: Emit = lambda event: None) -> Gradient:
    """That of classifiers alone (C * F + C,) on features (B, F)."""

    def classify(classifier: Tensor, features: Tensor) -> Tensor:
        return F.linear(features, *network.split_head(classifier))

    if device.type == "cuda":
        return Replayer(_teller(emit)).replayed(one_by_one(by_transform(classify)))
    return one_by_one(by_autograd(classify))


def features_form(network: FlatNetwork, device: torch.device, compiled: bool) -> Forward:
    """What a classifier sees, (B, F), of images (B, ...) at weights (P,), without a gradient."""
    if not (compiled and device.type == "cpu" and network.architecture is ConvNet):
        return network.features
    passes = ByHand(network, native())
    return lambda theta, images: passes.forward(passes.layers(theta), images)[1]


def _by_hand(network: FlatNetwork, group: int, device: torch.device, precision: Precision) -> Gradient:
    low = torch.bfloat16 if precision == "bf16" else None

    if group > 1:
        # Several small networks: launches are what costs, and replaying takes care of those.
        return all_at_once(by_hand(ByHand(network, written(), low), network))
    norm_pool = native() if device.type == "cpu" else compiled_norm_pool()
    return one_by_one(by_hand(ByHand(network, norm_pool, low), network))


def _teller(emit: Emit) -> Callable[[str], None]:
    def told(reason: str) -> None:
        message = "a training step cannot be captured as a CUDA graph, its kernels are launched one by one"
        emit(Warned(f"{message}: {reason}", "what is trained is the same, only slower"))

    return told
