"""Loss and gradient of several networks at once, in forms that are equal: by autograd, by transform, by hand.

The loss is the cross-entropy against class indices or class probabilities, the mean over a batch.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.func import grad_and_value
from torch.nn import functional as F

from engine.context import Context
from engine.cuda_graphs import Replayer
from engine.losses import one_hot
from engine.nets.architectures import ConvNet
from engine.nets.convnet_derivatives import ByHand
from engine.nets.functional import FlatNetwork
from engine.nets.native import native
from engine.nets.norm_pool import compiled as compiled_norm_pool
from engine.nets.norm_pool import written
from engine.run.events import Emit, Warned
from engine.run.network_cost import NetworkCost
from engine.run.settings import Precision

Forward = Callable[[Tensor, Tensor], Tensor]
"""Logits (B, C), or features (B, F), at weights (P,) of images (B, ...)."""
One = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Loss () and gradient (P,) at a network's weights (P,), of images (B, ...), targets (B,) or (B, C)."""
Gradient = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Losses (G,) and gradients (G, P) at weights (G, P) of G networks, of images (G, B, ...) and targets (G, B, ...)."""


def by_autograd(forward: Forward) -> One:
    """The plain form."""

    def one(theta: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        leaf = theta.detach().requires_grad_()
        loss = F.cross_entropy(forward(leaf, images), targets)
        return loss.detach(), torch.autograd.grad(loss, leaf)[0]

    return one


def by_transform(forward: Forward) -> One:
    """The same in a form that can be vectorized and compiled."""

    def loss(theta: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(forward(theta, images), targets)

    def one(theta: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        gradient, value = grad_and_value(loss)(theta, images, targets)
        return value, gradient

    return one


def by_hand(passes: ByHand, network: FlatNetwork) -> One:
    """The ConvNet's passes by hand, with the cross-entropy's own derivative."""

    @torch.no_grad()
    def one(theta: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        layers, (weight, bias) = passes.layers(theta), passes.head(theta)
        blocks, features = passes.forward(layers, images)
        log_p = ((features @ weight.T).to(theta.dtype) + bias).log_softmax(dim=1)
        q = _probabilities(targets, log_p)
        in_logits = (log_p.exp() - q) / len(q)
        low = passes.lower(in_logits)
        found = passes.reverse(layers, blocks, low @ weight, weights=True).by_name
        head = {"classifier.weight": (low.T @ features).to(theta.dtype), "classifier.bias": in_logits.sum(0)}
        return -(q * log_p).sum() / len(q), network.join(found | head)

    return one


def _probabilities(targets: Tensor, like: Tensor) -> Tensor:
    return targets if targets.dim() == 2 else one_hot(targets, like)


def one_by_one(one: One) -> Gradient:
    """Network after network."""

    def gradient(theta: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if len(theta) == 1:
            loss, own = one(theta[0], images[0], targets[0])
            return loss[None], own[None]
        losses, gradients = zip(*map(one, theta, images, targets), strict=True)
        return torch.stack(losses), torch.stack(gradients)

    return gradient


def all_at_once(one: One) -> Gradient:
    """All networks in one pass."""
    return torch.vmap(one)


# The precision in which experts are trained; their weights are float32 in every one of them.


def lowered(forward: Forward, precision: Precision, device: torch.device) -> Forward:
    """The forward pass with products of bfloat16 where that is the precision; logits are float32."""
    if precision != "bf16":
        return forward

    def in_bfloat16(theta: Tensor, images: Tensor) -> Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            return forward(theta, images).float()

    return in_bfloat16


@contextlib.contextmanager
def products(precision: Precision, device: torch.device) -> Iterator[None]:
    """Allows TF32 in a GPU's products and convolutions of float32, or forbids it; a CPU has none."""
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = precision != "float32"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


# In which form networks are trained: by device, network, precision, and what is compiled.
#
# A CPU trains one network after another: its cores are busy with one, and what is trained is on disk the sooner. A GPU
# would wait for launches, so there a gradient is replayed as one CUDA graph, and small networks share it.


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


# Networks in groups that are trained at once, smaller ones where a GPU's memory is too small for them.


Trained = TypeVar("Trained")


def in_groups(
    context: Context,
    networks: Sequence[int],
    group: int,
    train: Callable[[Sequence[int]], list[Trained]],
    release: Callable[[], object] = lambda: None,
) -> Iterator[tuple[Sequence[int], list[Trained]]]:
    """The numbers of each group and what `train` made of them; what does not fit is tried again, half at a time.

    `release` lets go of what was made for groups of the size that does not fit.
    """
    done = 0
    while done < len(networks):
        members = networks[done : done + group]
        trained = _tried(train, members)
        if trained is None:
            release()
            torch.cuda.empty_cache()
            group = len(members) // 2
            context.emit(Warned(f"the GPU's memory is full: {group} networks are trained at once from here on"))
            continue
        done += len(members)
        yield members, trained


def _tried(train: Callable[[Sequence[int]], list[Trained]], members: Sequence[int]) -> list[Trained] | None:
    """What became of them, or None where several do not fit; the error itself, and with it their memory, is let go."""
    try:
        return train(members)
    except torch.OutOfMemoryError:
        if len(members) == 1:
            raise
        return None
