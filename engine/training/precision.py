"""The precision in which experts are trained; their weights are float32 in every one of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from engine.run.settings import Precision
from engine.training.gradient import Forward


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
