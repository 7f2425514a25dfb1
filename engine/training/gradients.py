"""Loss and gradient of several networks at once, in forms that are equal: by autograd, by transform, by hand.

The loss is the cross-entropy against class indices or class probabilities, the mean over a batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad_and_value
from torch.nn import functional as F

from engine.cuda_graphs import Replayer
from engine.losses import one_hot
from engine.nets.architectures import ConvNet
from engine.nets.convnet_derivatives import ByHand
from engine.nets.functional import FlatNetwork, Forward, in_precision
from engine.nets.native import native
from engine.nets.norm_pool import compiled as compiled_norm_pool
from engine.nets.norm_pool import written
from engine.run.events import Emit, Warned
from engine.run.settings import Precision
from engine.training.sgd import Gradient

One = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Loss () and gradient (P,) at a network's weights (P,), of images (B, ...), targets (B,) or (B, C)."""


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


# In which form networks are trained: by device, network, precision, and what is compiled.
#
# A CPU trains one network after another: its cores are busy with one, and what is trained is on disk the sooner. A GPU
# would wait for launches, so there a gradient is replayed as one CUDA graph, and small networks share it.


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
        forward = in_precision(network, precision, device)
        gradient = one_by_one(by_autograd(forward)) if group == 1 else all_at_once(by_transform(forward))
    elif network.architecture is ConvNet:
        gradient = _by_hand(network, group, device, precision)
    else:
        one = by_transform(in_precision(network, precision, device))
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
