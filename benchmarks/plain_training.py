"""Plain training, the slow side of the benchmarks: nn.Module, torch.optim.SGD, and GSAM weight by weight.

Without a data loader, and with one augmentation for a whole batch, as the engine has it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.data.augment import apply, draw
from engine.run.settings import AugmentationName
from engine.training.sgd import Gsam

DSA: tuple[AugmentationName, ...] = ("color", "crop", "cutout", "flip", "scale", "rotate")


def shuffled(
    images: Tensor, targets: Tensor, batch_size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Augmented batches of one pass over the images."""
    for indices in torch.randperm(len(images), generator=generator).split(batch_size):
        own = indices.to(images.device)
        yield apply(draw(DSA, len(own), images.shape[-1], generator), images[own]), targets[own]


def step(net: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, targets: Tensor, gsam: Gsam | None) -> None:
    """One step of SGD, or of GSAM on top of it (Zhuang et al., as the field's code has it)."""
    optimizer.zero_grad()
    F.cross_entropy(net(images), targets).backward()
    if gsam:
        _sharpen(net, images, targets, gsam)
    optimizer.step()


def _sharpen(net: nn.Module, images: Tensor, targets: Tensor, gsam: Gsam) -> None:
    """Replaces the gradients by GSAM's: at perturbed weights, less alpha times the plain ones' orthogonal part."""
    parameters = list(net.parameters())
    before = [(p.detach().clone(), p.grad.clone()) for p in parameters]
    with torch.no_grad():
        length = torch.stack([(p * p.grad).norm() for p in parameters]).norm()
        for p in parameters:
            p.add_(gsam.rho / (length + 1e-12) * p.square() * p.grad)
    net.zero_grad()
    F.cross_entropy(net(images), targets).backward()
    with torch.no_grad():
        inner = sum((g * p.grad).sum() for p, (_, g) in zip(parameters, before, strict=True))
        square = sum(p.grad.square().sum() for p in parameters)
        for p, (weights, g) in zip(parameters, before, strict=True):
            p.grad.sub_(gsam.alpha * (g - inner / square * p.grad))
            p.copy_(weights)
