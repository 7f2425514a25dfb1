"""What follows the convolution in a ConvNet block: instance norm, ReLU and 2x2 mean pooling, with its derivatives.

The three operations are one function z -> pooled, written with three derivatives: backward, and the tangents (JVPs) of
forward and of backward. The formulas are derived in docs/method.md, section 8. This file is the PyTorch form;
norm_pool_cpp.py builds and calls the C++ form, norm_pool.cpp. Names are those of the derivation:

    u = z - mean                    z of one image and channel, centered
    k, h, r                         scale, shift, rstd = (variance + EPSILON)^(-1/2)
    o                               1 where the ReLU is open: k r u + h > 0
    open_count, open_sum            sums of o and of o u over the pixels of a 2x2 cell
    pooled = (k r open_sum + h open_count) / 4

A tensor `grad_x` is the derivative of the loss in x; `d_x` is the tangent of x along a direction in the weights.
Images are (B, H, W, C) in memory: convolutions on CPUs and on tensor cores are fastest with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.nets.architectures import EPSILON


class Saved(NamedTuple):
    """What forward saves for the other three: z (B, H, W, C), mean and rstd (B, C), sums a cell (B, H/2, W/2, C)."""

    z: Tensor
    mean: Tensor
    rstd: Tensor
    open_count: Tensor
    open_sum: Tensor


class SavedTangent(NamedTuple):
    """What forward_jvp saves for backward_jvp: d_z (B, H, W, C), d_mean, shrink (B, C), d_open_sum (B, H/2, W/2, C).

    `shrink` is minus the relative tangent of rstd: d_rstd = -rstd * shrink.
    """

    d_z: Tensor
    d_mean: Tensor
    shrink: Tensor
    d_open_sum: Tensor


@dataclass(frozen=True)
class NormPool:
    """One implementation of the four functions; all implementations are tested to be equal. scale, shift: (C,).

    forward(z, scale, shift) -> Saved, pooled (B, H/2, W/2, C)
    backward(saved, scale, shift, grad_pooled) -> grad_z, grad_scale, grad_shift
    forward_jvp(saved, scale, shift, d_scale, d_shift, d_z) -> SavedTangent, d_pooled
    backward_jvp(saved, saved_tangent, scale, shift, d_scale, grad_pooled, d_grad_pooled)
        -> grad_z, d_grad_z, d_grad_scale, d_grad_shift
    """

    forward: Callable[[Tensor, Tensor, Tensor], tuple[Saved, Tensor]]
    backward: Callable[[Saved, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
    forward_jvp: Callable[[Saved, Tensor, Tensor, Tensor, Tensor, Tensor], tuple[SavedTangent, Tensor]]
    backward_jvp: Callable[
        [Saved, SavedTangent, Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor, Tensor]
    ]


def eager_norm_pool() -> NormPool:
    """The formulas as PyTorch operations, one by one, on any device; the form that vmap can vectorize."""
    return NormPool(_forward, _backward, _forward_jvp, _backward_jvp)


def compiled_norm_pool() -> NormPool:
    """The same functions compiled by torch into a kernel or two for each shape; for GPUs."""
    # Each block has its own shape and batches have up to three sizes. At its limit torch would silently stop compiling.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)
    return NormPool(
        torch.compile(_forward, dynamic=False),
        torch.compile(_backward, dynamic=False),
        torch.compile(_forward_jvp, dynamic=False),
        torch.compile(_backward_jvp, dynamic=False),
    )


def _forward(z: Tensor, scale: Tensor, shift: Tensor) -> tuple[Saved, Tensor]:
    plane = _plane(z)
    variance, mean = torch.var_mean(plane, _PIXELS, correction=0)
    rstd = (variance + EPSILON).rsqrt()
    u = plane - _over_pixels(mean)
    is_open = _is_open(u, scale, shift, rstd)
    open_count, open_sum = _sum_cells(is_open.to(u.dtype)), _sum_cells(torch.where(is_open, u, 0))
    pooled = (_over_cells(scale * rstd) * open_sum + shift * open_count) / 4
    return Saved(z, mean, rstd, open_count, open_sum), pooled.to(z.dtype)


def _backward(saved: Saved, scale: Tensor, shift: Tensor, grad_pooled: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    z, mean, rstd, open_count, open_sum = saved
    # g: each pixel of a cell has a quarter of the derivative in the cell's mean.
    g, per_pixel = _in_sum_dtype(grad_pooled) / 4, _per_pixel(z)
    # Sums over the plane of g o and g o u. g is constant in a cell, so sums over cells do, and z is not read.
    g_count, g_sum = (g * open_count).sum((1, 2)), (g * open_sum).sum((1, 2))
    u = _plane(z) - _over_pixels(mean)
    # Which pixels are open is computed again from z: a mask saved by forward would cost more memory traffic.
    through_relu = torch.where(_is_open(u, scale, shift, rstd), _spread_cells(g, z.shape[1]), 0)
    centered = through_relu - _over_pixels(per_pixel * g_count) - u * _over_pixels(per_pixel * rstd.square() * g_sum)
    grad_z = _join_cells(_over_pixels(scale * rstd) * centered).to(z.dtype)
    return grad_z, (rstd * g_sum).sum(0), g_count.sum(0)


def _forward_jvp(
    saved: Saved, scale: Tensor, shift: Tensor, d_scale: Tensor, d_shift: Tensor, d_z: Tensor
) -> tuple[SavedTangent, Tensor]:
    z, mean, rstd, open_count, open_sum = saved
    per_pixel = _per_pixel(z)
    u, d_plane = _plane(z) - _over_pixels(mean), _plane(d_z)
    d_mean, shrink = per_pixel * d_plane.sum(_PIXELS), per_pixel * rstd.square() * (u * d_plane).sum(_PIXELS)
    # w: the tangent of the normalized plane is d(rstd u) = rstd w.
    w = d_plane - _over_pixels(d_mean) - u * _over_pixels(shrink)
    d_open_sum = _sum_cells(torch.where(_is_open(u, scale, shift, rstd), w, 0))
    moved = _over_cells(scale * rstd) * d_open_sum + _over_cells(d_scale * rstd) * open_sum
    d_pooled = (moved + d_shift * open_count) / 4
    return SavedTangent(d_z, d_mean, shrink, d_open_sum), d_pooled.to(z.dtype)


def _backward_jvp(
    saved: Saved,
    saved_tangent: SavedTangent,
    scale: Tensor,
    shift: Tensor,
    d_scale: Tensor,
    grad_pooled: Tensor,
    d_grad_pooled: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    (z, mean, rstd, open_count, open_sum), (d_z, d_mean, shrink, d_open_sum) = saved, saved_tangent
    g, d, per_pixel = _in_sum_dtype(grad_pooled) / 4, _in_sum_dtype(d_grad_pooled) / 4, _per_pixel(z)
    # G and D of the derivation: the scale is multiplied in before the sums, so that it needs no terms of its own.
    g_scaled, d_scaled = scale * g, scale * d + d_scale * g
    square = rstd.square()
    g_count = per_pixel * (g_scaled * open_count).sum((1, 2))
    g_sum = per_pixel * square * (g_scaled * open_sum).sum((1, 2))
    d_count = per_pixel * (d_scaled * open_count).sum((1, 2))
    d_sum = per_pixel * square * (g_scaled * d_open_sum + d_scaled * open_sum).sum((1, 2))
    u = _plane(z) - _over_pixels(mean)
    w = _plane(d_z) - _over_pixels(d_mean) - u * _over_pixels(shrink)
    is_open = _is_open(u, scale, shift, rstd)
    # grad_z and its tangent, both without their common factor rstd.
    grad = torch.where(is_open, _spread_cells(g_scaled, z.shape[1]), 0) - _over_pixels(g_count)
    grad = grad - u * _over_pixels(g_sum)
    d_grad = torch.where(is_open, _spread_cells(d_scaled, z.shape[1]), 0) - _over_pixels(d_count)
    d_grad = d_grad - w * _over_pixels(g_sum) - u * _over_pixels(d_sum) - _over_pixels(shrink) * grad
    grad_z, d_grad_z = (_join_cells(_over_pixels(rstd) * part).to(z.dtype) for part in (grad, d_grad))
    d_grad_scale = (rstd * (g * d_open_sum + d * open_sum).sum((1, 2))).sum(0)
    return grad_z, d_grad_z, d_grad_scale, (d * open_count).sum((0, 1, 2))


# ---- Planes seen as 2x2 cells ----
#
# A plane (B, H, W, C) is viewed as (B, H/2, 2, W/2, 2, C), so that pooling is a sum over two dimensions. Where the side
# is odd it is viewed as (B, H, 1, W, 1, C): the last row and column belong to no cell, as in F.avg_pool2d.

_PIXELS = (1, 2, 3, 4)


def _in_sum_dtype(x: Tensor) -> Tensor:
    """Sums are kept in float32 where images are stored in bfloat16: 1,024 pixels need more than its 8 bits."""
    return x.float() if x.dtype == torch.bfloat16 else x


def _plane(z: Tensor) -> Tensor:
    return _split_into_cells(_in_sum_dtype(z))


def _per_pixel(z: Tensor) -> float:
    return 1 / (z.shape[1] * z.shape[2])


def _is_open(u: Tensor, scale: Tensor, shift: Tensor, rstd: Tensor) -> Tensor:
    # One expression for every pass: another order of rounding could open another pixel in backward than in forward.
    return _over_pixels(scale * rstd) * u + shift > 0


def _split_into_cells(z: Tensor) -> Tensor:
    b, h, w, c = z.shape
    return z.reshape(b, h // 2, 2, w // 2, 2, c) if h % 2 == 0 else z.reshape(b, h, 1, w, 1, c)


def _join_cells(cells: Tensor) -> Tensor:
    b, h, part, w, _, c = cells.shape
    return cells.reshape(b, h * part, w * part, c)


def _sum_cells(cells: Tensor) -> Tensor:
    """Sums over the pixels of each cell, (B, H/2, W/2, C); the last row and column of an odd side are in none."""
    if cells.shape[2] == 1:
        cells = _split_into_cells(cells[:, :-1, 0, :-1, 0])
    return cells.sum((2, 4))


def _spread_cells(g: Tensor, side: int) -> Tensor:
    """The value of each cell (B, H/2, W/2, C) at its pixels, 0 at pixels in no cell; broadcasts over split planes."""
    cells = g[:, :, None, :, None]
    if side % 2 == 0:
        return cells
    b, h, w, c = g.shape
    return F.pad(_join_cells(cells.expand(b, h, 2, w, 2, c)), (0, 0, 0, 1, 0, 1))[:, :, None, :, None]


def _over_pixels(statistic: Tensor) -> Tensor:
    """A statistic (B, C) that broadcasts over a split plane."""
    return statistic[:, None, None, None, None]


def _over_cells(statistic: Tensor) -> Tensor:
    """A statistic (B, C) that broadcasts over cells (B, H/2, W/2, C)."""
    return statistic[:, None, None]
