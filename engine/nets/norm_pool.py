"""What follows the convolution in a ConvNet block -- instance norm, ReLU, mean pooling -- and its derivatives by hand.

On a plane z of one image and channel, with mean m, rate r = (var + eps)^(-1/2), u = z - m, scale k and shift h:
    o = [k r u + h > 0],  on = sum o,  mass = sum o u  over a 2x2 cell,  pooled = (k r mass + h on) / 4.
With M the mean over the plane, and g a quarter of the loss's derivative in `pooled`, constant over a cell:
    in z: k r (o g - M[g o] - u r^2 M[g o u]),   in k: r sum g mass,   in h: sum g on.
M[g o] and M[g o u] are sums over cells of g on and g mass: the plane itself is read once, and no mask is kept.
Along dz (and dk, dh), with lean c = r^2 M[u dz] and w = dz - M[dz] - u c, so that d(r u) = r w:
    d_mass = sum o w,   d_pooled = (k r d_mass + dk r mass + dh on) / 4,
and the derivative in z moves, with d as g but along the tangent and G = k g, D = k d + dk g, a = in z / r, by
    r (o D - M[o D] - w r^2 M[u o G] - u r^2 (M[w o G] + M[u o D]) - c a).
Images are (B, H, W, C) in memory, which convolutions on CPUs and tensor cores are fastest with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.nets.architectures import EPSILON


class Passed(NamedTuple):
    """What a block keeps of its way forward: z (B, H, W, C), mean and rate (B, C), on and mass (B, H/2, W/2, C)."""

    z: Tensor
    mean: Tensor
    rate: Tensor
    on: Tensor
    mass: Tensor


class Leaned(NamedTuple):
    """What it keeps of its way along a tangent: dz (B, H, W, C), mean of dz and lean (B, C), d_mass as mass."""

    d_z: Tensor
    d_mean: Tensor
    lean: Tensor
    d_mass: Tensor


@dataclass(frozen=True)
class NormPool:
    """The four functions, in one of their forms: as written below, compiled by torch, or in C++.

    forward(z, scale, shift) -> Passed, pooled; reverse(passed, scale, shift, in_pooled) -> in_z, in_scale, in_shift;
    tangent(passed, scale, shift, d_scale, d_shift, d_z) -> Leaned, d_pooled; tangent_reverse(passed, leaned, scale,
    shift, d_scale, in_pooled, d_in_pooled) -> in_z, d_in_z, d_in_scale, d_in_shift. scale, shift: (C,).
    """

    forward: Callable[[Tensor, Tensor, Tensor], tuple[Passed, Tensor]]
    reverse: Callable[[Passed, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
    tangent: Callable[[Passed, Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Leaned, Tensor]]
    tangent_reverse: Callable[
        [Passed, Leaned, Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor, Tensor]
    ]


def written() -> NormPool:
    """The formulas as torch operations, on any device."""
    return NormPool(_forward, _reverse, _tangent, _tangent_reverse)


def compiled() -> NormPool:
    """The same, each compiled into a kernel or two for every shape it meets."""
    # A block has its own shape, and batches have three at most; beyond this many torch goes on uncompiled.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)
    return NormPool(
        torch.compile(_forward, dynamic=False),
        torch.compile(_reverse, dynamic=False),
        torch.compile(_tangent, dynamic=False),
        torch.compile(_tangent_reverse, dynamic=False),
    )


def _forward(z: Tensor, scale: Tensor, shift: Tensor) -> tuple[Passed, Tensor]:
    plane = _cells(_wide(z))
    variance, mean = torch.var_mean(plane, _PIXELS, correction=0)
    rate = (variance + EPSILON).rsqrt()
    u = plane - _to_plane(mean)
    open_ = _behind_relu(u, scale, shift, rate)
    on, mass = _over_cells(open_.to(u.dtype)), _over_cells(torch.where(open_, u, 0))
    pooled = (_to_cells(scale * rate) * mass + shift * on) / 4
    return Passed(z, mean, rate, on, mass), pooled.to(z.dtype)


def _reverse(passed: Passed, scale: Tensor, shift: Tensor, in_pooled: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    z, mean, rate, on, mass = passed
    g, share = _wide(in_pooled) / 4, _share(z)
    of_on, of_mass = (g * on).sum((1, 2)), (g * mass).sum((1, 2))
    u = _cells(_wide(z)) - _to_plane(mean)
    behind = torch.where(_behind_relu(u, scale, shift, rate), _spread(g, z.shape[1]), 0)
    centered = behind - _to_plane(share * of_on) - u * _to_plane(share * rate.square() * of_mass)
    in_z = _plane(_to_plane(scale * rate) * centered).to(z.dtype)
    return in_z, (rate * of_mass).sum(0), of_on.sum(0)


def _tangent(
    passed: Passed, scale: Tensor, shift: Tensor, d_scale: Tensor, d_shift: Tensor, d_z: Tensor
) -> tuple[Leaned, Tensor]:
    z, mean, rate, on, mass = passed
    share = _share(z)
    u, along = _cells(_wide(z)) - _to_plane(mean), _cells(_wide(d_z))
    d_mean, lean = share * along.sum(_PIXELS), share * rate.square() * (u * along).sum(_PIXELS)
    w = along - _to_plane(d_mean) - u * _to_plane(lean)
    d_mass = _over_cells(torch.where(_behind_relu(u, scale, shift, rate), w, 0))
    d_pooled = (_to_cells(scale * rate) * d_mass + _to_cells(d_scale * rate) * mass + d_shift * on) / 4
    return Leaned(d_z, d_mean, lean, d_mass), d_pooled.to(z.dtype)


def _tangent_reverse(
    passed: Passed,
    leaned: Leaned,
    scale: Tensor,
    shift: Tensor,
    d_scale: Tensor,
    in_pooled: Tensor,
    d_in_pooled: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    (z, mean, rate, on, mass), (d_z, d_mean, lean, d_mass) = passed, leaned
    g, d, share = _wide(in_pooled) / 4, _wide(d_in_pooled) / 4, _share(z)
    g_scaled, d_scaled = scale * g, scale * d + d_scale * g
    square = rate.square()
    g_on, g_mass = share * (g_scaled * on).sum((1, 2)), share * square * (g_scaled * mass).sum((1, 2))
    d_on = share * (d_scaled * on).sum((1, 2))
    d_mass_on = share * square * (g_scaled * d_mass + d_scaled * mass).sum((1, 2))
    u = _cells(_wide(z)) - _to_plane(mean)
    w = _cells(_wide(d_z)) - _to_plane(d_mean) - u * _to_plane(lean)
    open_ = _behind_relu(u, scale, shift, rate)
    along = torch.where(open_, _spread(g_scaled, z.shape[1]), 0) - _to_plane(g_on) - u * _to_plane(g_mass)
    d_along = torch.where(open_, _spread(d_scaled, z.shape[1]), 0) - _to_plane(d_on)
    d_along = d_along - w * _to_plane(g_mass) - u * _to_plane(d_mass_on) - _to_plane(lean) * along
    in_z, d_in_z = (_plane(_to_plane(rate) * part).to(z.dtype) for part in (along, d_along))
    d_in_scale = (rate * (g * d_mass + d * mass).sum((1, 2))).sum(0)
    return in_z, d_in_z, d_in_scale, (d * on).sum((0, 1, 2))


# Planes are looked at as (B, H/2, 2, W/2, 2, C), cell by cell; where a side is odd, as (B, H, 1, W, 1, C).
_PIXELS = (1, 2, 3, 4)


def _wide(x: Tensor) -> Tensor:
    """Sums are kept in float32, whatever the images are stored in."""
    return x.float() if x.dtype == torch.bfloat16 else x


def _share(z: Tensor) -> float:
    return 1 / (z.shape[1] * z.shape[2])


def _behind_relu(u: Tensor, scale: Tensor, shift: Tensor, rate: Tensor) -> Tensor:
    return _to_plane(scale * rate) * u + shift > 0


def _cells(z: Tensor) -> Tensor:
    b, h, w, c = z.shape
    return z.reshape(b, h // 2, 2, w // 2, 2, c) if h % 2 == 0 else z.reshape(b, h, 1, w, 1, c)


def _plane(cells: Tensor) -> Tensor:
    b, h, part, w, _, c = cells.shape
    return cells.reshape(b, h * part, w * part, c)


def _over_cells(cells: Tensor) -> Tensor:
    """Sums over the pixels of each cell, (B, H/2, W/2, C); the last row and column of an odd side are in none."""
    if cells.shape[2] == 1:
        cells = _cells(cells[:, :-1, 0, :-1, 0])
    return cells.sum((2, 4))


def _spread(g: Tensor, side: int) -> Tensor:
    """Each cell's value for its pixels, 0 for those in none; fits the planes of that side."""
    cells = g[:, :, None, :, None]
    if side % 2 == 0:
        return cells
    b, h, w, c = g.shape
    return F.pad(_plane(cells.expand(b, h, 2, w, 2, c)), (0, 0, 0, 1, 0, 1))[:, :, None, :, None]


def _to_plane(statistic: Tensor) -> Tensor:
    return statistic[:, None, None, None, None]


def _to_cells(statistic: Tensor) -> Tensor:
    return statistic[:, None, None]
