"""Loss and gradient of training, for one network or several at once: by autograd, by torch.func, or in closed form.

The loss is the mean over a batch, by default the cross-entropy against class indices or class probabilities. All forms
are tested to be equal; `training_gradient` picks the fastest for a device and network.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad_and_value
from torch.nn import functional as F

from engine.cuda_graphs import CudaGraphs
from engine.losses import CrossEntropy, TrainingLoss
from engine.nets.architectures import ConvNet
from engine.nets.convnet_derivatives import ConvNetDerivatives
from engine.nets.functional import FlatNetwork, Forward, in_precision
from engine.nets.norm_pool import compiled_norm_pool, eager_norm_pool
from engine.nets.norm_pool_cpp import cpp_norm_pool
from engine.run.events import Emit, Warned
from engine.run.fields import Precision
from engine.training.sgd import Gradient

NetworkGradient = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Loss () and gradient (P,) of one network at weights (P,), of images (B, ...) and targets (B, ...)."""

CROSS_ENTROPY = CrossEntropy()

# ---- One network ----


def autograd_gradient(forward: Forward, loss: TrainingLoss = CROSS_ENTROPY) -> NetworkGradient:
    """The plain form, which the others are tested against."""

    def gradient(theta: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        leaf = theta.detach().requires_grad_()
        value = loss(forward(leaf, images), targets)
        return value.detach(), torch.autograd.grad(value, leaf)[0]

    return gradient


def functional_gradient(forward: Forward, loss: TrainingLoss = CROSS_ENTROPY) -> NetworkGradient:
    """The same as a transform of torch.func, which vmap can vectorize and torch can compile."""

    def of_weights(theta: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        return loss(forward(theta, images), targets)

    def gradient(theta: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        of_theta, value = grad_and_value(of_weights)(theta, images, targets)
        return value, of_theta

    return gradient


def analytic_gradient(passes: ConvNetDerivatives, loss: TrainingLoss = CROSS_ENTROPY) -> NetworkGradient:
    """The ConvNet's own passes, with the derivative of the loss in the logits in closed form."""

    @torch.no_grad()
    def gradient(theta: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        blocks, (weight, bias) = passes.blocks(theta), passes.classifier(theta)
        saved, features = passes.forward(blocks, images)
        value, grad_logits = loss.with_derivative((features @ weight.T).to(theta.dtype) + bias, targets)
        low = passes.lower(grad_logits)
        backbone = passes.backward(blocks, saved, low @ weight, weights=True).weights
        classifier = {"classifier.weight": (low.T @ features).to(theta.dtype), "classifier.bias": grad_logits.sum(0)}
        return value, passes.network.join(backbone | classifier)

    return gradient


# ---- Several networks ----


def looped(gradient: NetworkGradient) -> Gradient:
    """One network after another."""

    def gradients(theta: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if len(theta) == 1:
            loss, of_theta = gradient(theta[0], images[0], targets[0])
            return loss[None], of_theta[None]
        losses, of_thetas = zip(*map(gradient, theta, images, targets), strict=True)
        return torch.stack(losses), torch.stack(of_thetas)

    return gradients


def vectorized(gradient: NetworkGradient) -> Gradient:
    """All networks in one pass."""
    return torch.vmap(gradient)


# ---- The fastest form ----
#
# A CPU trains one network after another: one keeps its cores busy, and finished ones are on disk sooner. A GPU would
# wait for kernel launches, so there a gradient is replayed as one CUDA graph, and small networks share it
# (docs/decisions/0005).


def training_gradient(
    network: FlatNetwork,
    group: int,
    device: torch.device,
    compiled: bool,
    precision: Precision = "float32",
    emit: Emit = lambda event: None,
    loss: TrainingLoss = CROSS_ENTROPY,
) -> Gradient:
    """The fastest form for groups of up to `group` networks. Make it once: it may be compiled at its first call.

    `emit` gets a warning where a GPU cannot replay it as a CUDA graph.
    """
    forward = in_precision(network, precision, device)
    if not compiled:
        of_one = (autograd_gradient if group == 1 else functional_gradient)(forward, loss)
        gradient = looped(of_one) if group == 1 else vectorized(of_one)
    elif network.architecture is ConvNet:
        low_dtype = torch.bfloat16 if precision == "bf16" else None
        if group > 1:
            # Several small networks: launches are the cost, and one CUDA graph has a single launch.
            gradient = vectorized(analytic_gradient(ConvNetDerivatives(network, eager_norm_pool(), low_dtype), loss))
        else:
            norm_pool = cpp_norm_pool() if device.type == "cpu" else compiled_norm_pool()
            gradient = looped(analytic_gradient(ConvNetDerivatives(network, norm_pool, low_dtype), loss))
    else:
        of_one = functional_gradient(forward, loss)
        # An epoch's last batch may be smaller: two shapes, each compiled for itself.
        gradient = torch.compile(looped(of_one) if group == 1 else vectorized(of_one), dynamic=False)
    return _replayed_on_gpu(gradient, device, emit)


def classifier_gradient(network: FlatNetwork, device: torch.device, emit: Emit = lambda event: None) -> Gradient:
    """The fastest form for classifiers alone, (G, C * F + C), on features (G, B, F)."""

    def classify(classifier: Tensor, features: Tensor) -> Tensor:
        return F.linear(features, *network.split_classifier(classifier))

    form = functional_gradient if device.type == "cuda" else autograd_gradient
    return _replayed_on_gpu(looped(form(classify)), device, emit)


def features_function(
    network: FlatNetwork, device: torch.device, compiled: bool, precision: Precision = "float32"
) -> Forward:
    """The fastest form of features (B, F) at weights (P,) of images (B, ...), without a gradient."""
    if not (compiled and device.type == "cpu" and network.architecture is ConvNet):
        return in_precision(network.features, precision, device)
    passes = ConvNetDerivatives(network, cpp_norm_pool(), torch.bfloat16 if precision == "bf16" else None)
    return lambda theta, images: passes.forward(passes.blocks(theta), images)[1].to(theta.dtype)


def _replayed_on_gpu(gradient: Gradient, device: torch.device, emit: Emit) -> Gradient:
    if device.type != "cuda":
        return gradient

    def warn(reason: str) -> None:
        message = "a training step cannot be captured as a CUDA graph, its kernels are launched one by one"
        emit(Warned(f"{message}: {reason}", "what is trained is the same, only slower"))

    return CudaGraphs(warn).replayed(gradient)
