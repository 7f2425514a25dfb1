"""DSA, differentiable augmentation (Zhao and Bilen, 2021): one kind a batch, with amounts drawn for each image.

An augmentation is kept as its amounts, not as its images: it can be applied again, on any device, and its derivative is
known (`adjoint`). Every range is DSA's published default, the one that trajectory matching uses. CutMix, which mixes
the images of a batch and their labels, may follow it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import scipy.special
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.run.fields import AugmentationName

# Added brightness is drawn from +-BRIGHTNESS / 2, the factor of saturation from 0 to SATURATION, that of contrast from
# CONTRAST to CONTRAST + 1. Crops and cutouts are shares of the side, scales factors from 1 / MAX_SCALE to MAX_SCALE.
BRIGHTNESS, SATURATION, CONTRAST = 1.0, 2.0, 0.5
CROP_SHARE, CUTOUT_SHARE = 0.125, 0.5
FLIP_PROBABILITY = 0.5
MAX_SCALE = 1.2
MAX_DEGREES = 15.0


@dataclass(frozen=True)
class Augmentation:
    """The augmentation of one batch: its kind (None: no change), and its amounts (B, numbers of that kind).

    color: added brightness, factors of saturation and contrast. crop: shift down and right, pixels. cutout: row and
    column of the center, pixels. flip: 1 or 0. scale: factors down and across. rotate: radians.
    """

    name: AugmentationName | None
    amounts: Tensor


def draw(names: Sequence[AugmentationName], batch: int, image_size: int, generator: torch.Generator) -> Augmentation:
    """One of `names`, each as likely, with amounts for `batch` square images of that side; no names: no change."""
    if not names:
        return Augmentation(None, torch.empty(batch, 0))
    name = names[int(torch.randint(len(names), (), generator=generator))]
    return Augmentation(name, _draw_amounts(name, batch, image_size, generator))


def apply(augmentation: Augmentation, images: Tensor) -> Tensor:
    """The augmented images (B, C, H, W), H = W; differentiable in reverse mode, and affine in the images."""
    if augmentation.name is None:
        return images
    return _augmented(augmentation.name, images, augmentation.amounts.to(images.device, images.dtype))


def adjoint(augmentation: Augmentation, grad_augmented: Tensor) -> Tensor:
    """The derivative in the images from the one in the augmented images, both (B, C, H, W).

    It does not need the images: `apply` is affine in them.
    """
    match augmentation.name:
        case "cutout" | "flip" | None:
            return apply(augmentation, grad_augmented)  # each is linear and its own transpose
        case "crop":
            return apply(Augmentation("crop", -augmentation.amounts), grad_augmented)  # the shift back
        case "color":
            # Brightness adds a constant, which has no derivative. Saturation and contrast move pixels towards means:
            # each is its own adjoint, and they commute, since the mean of an image is that of its channels' means.
            without_brightness = F.pad(augmentation.amounts[:, 1:], (1, 0))
            return apply(Augmentation("color", without_brightness), grad_augmented)
        case _:
            # Scale and rotate: PyTorch's own backward pass of its sampler.
            images = torch.zeros_like(grad_augmented, requires_grad=True)
            with torch.enable_grad():
                augmented = apply(augmentation, images)
            grad_images: Tensor = torch.autograd.grad(augmented, images, grad_augmented)[0]
            return grad_images


def _draw_amounts(name: AugmentationName, batch: int, image_size: int, generator: torch.Generator) -> Tensor:
    """The amounts (B, numbers of that kind), from a CPU generator: the same draws on any device."""

    def uniform(columns: int, low: float, high: float) -> Tensor:
        return torch.rand(batch, columns, generator=generator) * (high - low) + low

    match name:
        case "color":
            brightness, saturation, contrast = uniform(3, 0, 1).unbind(1)
            return torch.stack([(brightness - 0.5) * BRIGHTNESS, saturation * SATURATION, contrast + CONTRAST], 1)
        case "crop":
            reach = int(image_size * CROP_SHARE + 0.5)
            return torch.randint(-reach, reach + 1, (batch, 2), generator=generator).float()
        case "cutout":
            # An even square's center lies between pixels: one more place, so that both borders are treated alike.
            places = image_size + 1 - _cutout_side(image_size) % 2
            return torch.randint(0, places, (batch, 2), generator=generator).float()
        case "flip":
            return (uniform(1, 0, 1) < FLIP_PROBABILITY).float()
        case "scale":
            return uniform(2, 1 / MAX_SCALE, MAX_SCALE)
        case "rotate":
            return torch.deg2rad(uniform(1, -MAX_DEGREES, MAX_DEGREES))


def _augmented(name: AugmentationName, images: Tensor, amounts: Tensor) -> Tensor:
    match name:
        case "color":
            brightness, saturation, contrast = amounts[:, :, None, None, None].unbind(1)
            brighter = images + brightness
            gray = brighter.mean(dim=1, keepdim=True)
            saturated = (brighter - gray) * saturation + gray
            level = saturated.mean(dim=(1, 2, 3), keepdim=True)
            return (saturated - level) * contrast + level
        case "crop":
            down, right = (amounts[:, :, None, None] * (2 / (images.shape[-1] - 1))).unbind(1)
            rows, columns = _coordinates(images)
            return _resample(images, rows + down, columns + right, _NEAREST)
        case "cutout":
            side, place = _cutout_side(images.shape[-1]), torch.arange(images.shape[-1], device=images.device)
            first = amounts[:, :, None] - side // 2
            down, across = ((place >= first) & (place < first + side)).unbind(1)
            return images * ~(down[:, None, :, None] & across[:, None, None, :])
        case "flip":
            return torch.where(amounts[:, :, None, None] > 0, images.flip(3), images)
        case "scale":
            down, across = amounts[:, :, None, None].unbind(1)
            rows, columns = _coordinates(images)
            return _resample(images, rows * down, columns * across, _BILINEAR)
        case "rotate":
            cos, sin = amounts.cos()[:, :, None], amounts.sin()[:, :, None]
            rows, columns = _coordinates(images)
            return _resample(images, cos * rows + sin * columns, cos * columns - sin * rows, _BILINEAR)


def _coordinates(images: Tensor) -> tuple[Tensor, Tensor]:
    """The coordinates, from -1 to 1, of the pixels down a column (H, 1) and along a row (W,)."""
    along_row = torch.linspace(-1, 1, images.shape[-1], device=images.device, dtype=images.dtype)
    return along_row[:, None], along_row


def _cutout_side(image_size: int) -> int:
    return int(image_size * CUTOUT_SHARE + 0.5)


# Codes of torch.grid_sampler_2d: how to interpolate between pixels, and what is outside of an image.
_BILINEAR, _NEAREST, _ZEROS = 0, 1, 0


def _resample(images: Tensor, rows: Tensor, columns: Tensor, interpolation: int) -> Tensor:
    """The images' values at coordinates from -1 to 1, both broadcast to (B, H, W); 0 outside of the images."""
    grid = torch.stack(torch.broadcast_tensors(columns, rows), dim=-1)
    # Not F.affine_grid: it has a matrix product, which TF32 on a GPU would round to a hundredth of a pixel. Not
    # F.grid_sample: it calls cuDNN's sampler, which refuses batches of 65,536 images.
    return torch.grid_sampler_2d(images, grid, interpolation, _ZEROS, True)


# ---- CutMix ----


@dataclass(frozen=True)
class CutMix:
    """The mixing of one batch (Yun et al., 2019): each image gets its partner's pixels in a box, the same for all.

    partners (B,): the indices of the partners. rows, columns: the box. share: the part of the pixels that it covers.
    """

    partners: Tensor
    rows: slice
    columns: slice
    share: float

    @staticmethod
    def draw(alpha: float, batch: int, image_size: int, generator: torch.Generator) -> CutMix:
        """The wanted share of the own pixels is drawn from Beta(alpha, alpha), the middle of the box uniformly."""
        uniform, row, column = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
        own = float(scipy.special.betaincinv(alpha, alpha, uniform))
        half = int(image_size * math.sqrt(1 - own)) // 2
        middles = int(row * image_size), int(column * image_size)
        rows, columns = (slice(max(0, at - half), min(image_size, at + half)) for at in middles)
        # A box that reaches over the border is cut off, so the share is counted, not that which was drawn.
        share = (rows.stop - rows.start) * (columns.stop - columns.start) / image_size**2
        return CutMix(torch.randperm(batch, generator=generator), rows, columns, share)

    def images(self, images: Tensor) -> Tensor:
        """The mixed images, (B, C, H, W)."""
        mixed = images.clone()
        mixed[:, :, self.rows, self.columns] = images[:, :, self.rows, self.columns][self.partners.to(images.device)]
        return mixed

    def targets(self, targets: Tensor) -> Tensor:
        """The class probabilities (B, C) of the mixed images: of the partners by the box's share, else the own ones."""
        return targets.lerp(targets[self.partners.to(targets.device)], self.share)
