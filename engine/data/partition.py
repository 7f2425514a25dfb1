"""Stored images that hold several mini-images: decoded, each mini-image is enlarged to an image that networks see.

The idea is IDC's and IDM's: at p mini-images along a side, S stored images give p * p * S training images. The set is
whitened, and a quarter of a whitened image is not a whitened quarter, so decoding goes by way of pixels: a stored image
back to pixels, cut, enlarged, whitened again. All of this is affine in the stored image (docs/method.md, section 10),
so gradients come back by the transposed maps, and nothing is clamped.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.data.whitening import Whitening
from engine.run.data_settings import WITHOUT_ZCA
from engine.run.errors import InputError


@dataclass(frozen=True, eq=False)
class Partition:
    """`side` mini-images along each side of a stored image: decoding, its adjoint, and the way from real images.

    Mini-images are in reading order, those of one stored image in a row: a set in class order stays in class order.
    """

    side: int = 1
    maps: _Maps | None = None

    @staticmethod
    def into(side: int, whitening: Whitening, like: Tensor) -> Partition:
        """The partition of whitened images of the shape, type and device of `like` (N, channels, H, W).

        Raises InputError where the mini-images would not be of one size.
        """
        size = like.shape[-1]
        if size % side:
            # Where the side of the images is known beforehand, infeasible_faults in run/validation.py says so earlier.
            what = f"images of {size} pixels cannot be cut into {side} equal parts a side"
            raise InputError(what, "initialize.partition", f"choose a divisor of {size}, or another dataset.resolution")
        return Partition(side, _Maps.compose(side, whitening, torch.zeros_like(like[:1]))) if side > 1 else Partition()

    @property
    def count(self) -> int:
        """Mini-images of each stored image."""
        return self.side**2

    def decoded(self, images: Tensor) -> Tensor:
        """What networks see, (S * count, channels, H, W), of stored images (S, channels, H, W); whitened both."""
        if self.maps is None:
            return images
        if self.maps.to_pixels is None:
            return _enlarged(_cut(images, self.side), self.maps.enlarge)
        minis = _cut((images.flatten(1) @ self.maps.to_pixels).view_as(images), self.side)
        seen = (minis.flatten(1) @ self.maps.to_seen).view(len(images), *self.maps.constant.shape)
        return (seen + self.maps.constant).flatten(0, 1)

    def adjoint(self, grad_decoded: Tensor) -> Tensor:
        """The derivative in the stored images (S, channels, H, W) from the one in the decoded images."""
        if self.maps is None:
            return grad_decoded
        if self.maps.to_pixels is None:
            return _joined(_enlarged(grad_decoded, self.maps.enlarge.T), self.side)
        _, channels, size, _ = grad_decoded.shape
        small = size // self.side
        grad_minis = (grad_decoded.flatten(1) @ self.maps.to_seen.T).view(-1, channels, small, small)
        grad_pixels = _joined(grad_minis, self.side)
        return (grad_pixels.flatten(1) @ self.maps.to_pixels.T).view_as(grad_pixels)

    @functools.cached_property
    def gain(self) -> float:
        """How many times decoding enlarges the squared length of a change of stored images, at most (power iteration).

        A step of gradient descent in stored images moves the decoded ones by that much more; 1 for whole images.
        """
        if self.maps is None:
            return 1.0
        zero = torch.zeros_like(self.maps.constant[:1])
        start = torch.Generator().manual_seed(0)
        change = torch.randn(zero.shape, generator=start, dtype=torch.float64).to(zero)
        gain = 1.0
        for _ in range(POWER_ITERATIONS):
            change = self.adjoint(self.decoded(change / change.norm()) - self.decoded(zero))
            gain = float(change.norm())
        return gain

    def encoded(self, images: Tensor) -> Tensor:
        """Stored images (S, channels, H, W) whose mini-images are these images (S * count, ...), shrunken by area."""
        if self.maps is None:
            return images
        pixels = self.maps.whitening.to_pixels(images)
        return self.maps.whitening.train(_joined(F.avg_pool2d(pixels, self.side), self.side))


POWER_ITERATIONS = 50

WHOLE_IMAGES = Partition()
"""Stored as networks see them."""


@dataclass(frozen=True, eq=False)
class _Maps:
    """Decoding as matrices: composed once, since whitening is two products with a basis for every enlarged image.

    enlarge: (H, h), along rows and along columns of a mini-image of side h. With ZCA also to_pixels (D, D), of a stored
    image; to_seen (D / count, D), from the pixels of a mini-image to what networks see; constant (count, channels, H,
    W), what they see of a stored image of zeros. Without ZCA an image is scaled and shifted channel by channel, which
    commutes with cutting and enlarging: to_pixels is None.
    """

    whitening: Whitening
    enlarge: Tensor
    to_pixels: Tensor | None
    to_seen: Tensor
    constant: Tensor

    @staticmethod
    def compose(side: int, whitening: Whitening, zero: Tensor) -> _Maps:
        """`zero`: one image (1, channels, H, W) of zeros."""
        _, channels, size, _ = zero.shape
        small = size // side
        steps = torch.eye(small, dtype=zero.dtype, device=zero.device)[None]
        enlarge = F.interpolate(steps, size=size, mode="linear")[0].T  # bilinear, along one of the two sides
        if whitening.mode in WITHOUT_ZCA:
            return _Maps(whitening, enlarge, None, zero, zero)
        pixels_of_zero = whitening.to_pixels(zero)
        each_value = torch.eye(zero.numel(), dtype=zero.dtype, device=zero.device).view(-1, channels, size, size)
        to_pixels = (whitening.to_pixels(each_value) - pixels_of_zero).flatten(1)
        mini_values = channels * small**2
        each_mini_value = torch.eye(mini_values, dtype=zero.dtype, device=zero.device).view(-1, channels, small, small)
        to_seen = (whitening.train(_enlarged(each_mini_value, enlarge)) - whitening.train(zero)).flatten(1)
        constant = whitening.train(_enlarged(_cut(pixels_of_zero, side), enlarge))
        return _Maps(whitening, enlarge, to_pixels, to_seen, constant)


def _cut(images: Tensor, side: int) -> Tensor:
    """Images (S, channels, H, W) as mini-images (S * side * side, channels, H / side, W / side)."""
    count, channels, height, width = images.shape
    grid = images.reshape(count, channels, side, height // side, side, width // side)
    return grid.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


def _joined(minis: Tensor, side: int) -> Tensor:
    """The inverse of `_cut`."""
    _, channels, height, width = minis.shape
    grid = minis.view(-1, side, side, channels, height, width).permute(0, 3, 1, 4, 2, 5)
    return grid.reshape(-1, channels, side * height, side * width)


def _enlarged(minis: Tensor, enlarge: Tensor) -> Tensor:
    return enlarge @ minis @ enlarge.T
