"""DSA, differentiable augmentation: one kind drawn a batch, its amounts drawn an image, replayed from those amounts.

Source of every range: DSA's published defaults (Zhao and Bilen, 2021), the ones that trajectory matching uses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.run.settings import AugmentationName

BRIGHTNESS, SATURATION, CONTRAST = 1.0, 2.0, 0.5
CROP_SHARE, CUTOUT_SHARE = 0.125, 0.5
FLIP_PROBABILITY = 0.5
MAX_SCALE = 1.2
MAX_DEGREES = 15.0


@dataclass(frozen=True)
class Draw:
    """What happens to one batch: a kind (None: nothing) and its amounts, a tensor (B, numbers of that kind).

    color: added brightness, factors of saturation and contrast. crop: shift down and right, pixels. cutout: row and
    column of the center, pixels. flip: 1 or 0. scale: factors down and across. rotate: radians.
    """

    name: AugmentationName | None
    amounts: Tensor


def draw(names: Sequence[AugmentationName], batch: int, image_size: int, generator: torch.Generator) -> Draw:
    """Picks one of `names` evenly and the amounts of `batch` square images of that side; no names: no change."""
    if not names:
        return Draw(None, torch.empty(batch, 0))
    name = names[int(torch.randint(len(names), (), generator=generator))]
    return Draw(name, _AMOUNTS[name](batch, image_size, generator))


def apply(draw: Draw, images: Tensor) -> Tensor:
    """The augmented images (B, C, H, W), H = W: the same draw gives the same result, on any device, in any precision.

    Affine in the images, so that `adjoint` is all of its derivative.
    """
    if draw.name is None:
        return images
    return _APPLY[draw.name](images, draw.amounts.to(images.device, images.dtype))


def adjoint(draw: Draw, in_augmented: Tensor) -> Tensor:
    """The derivative in the images from the one in the augmented images, both (B, C, H, W)."""
    match draw.name:
        case "cutout" | "flip" | None:
            return apply(draw, in_augmented)
        case "crop":
            return apply(Draw("crop", -draw.amounts), in_augmented)
        case "color":
            # Brightness adds a constant. Saturation and contrast draw towards means, each is its own adjoint, and they
            # commute: the mean of an image is that of its channels' means.
            return apply(Draw("color", F.pad(draw.amounts[:, 1:], (1, 0))), in_augmented)
        case _:
            images = torch.zeros_like(in_augmented, requires_grad=True)
            with torch.enable_grad():
                augmented = apply(draw, images)
            found: Tensor = torch.autograd.grad(augmented, images, in_augmented)[0]
            return found


def _uniform(batch: int, columns: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(batch, columns, generator=generator) * (high - low) + low


def _color_amounts(batch: int, image_size: int, generator: torch.Generator) -> Tensor:
    uniform = _uniform(batch, 3, 0, 1, generator)
    return torch.stack([(uniform[:, 0] - 0.5) * BRIGHTNESS, uniform[:, 1] * SATURATION, uniform[:, 2] + CONTRAST], 1)


def _crop_amounts(batch: int, image_size: int, generator: torch.Generator) -> Tensor:
    reach = int(image_size * CROP_SHARE + 0.5)
    return torch.randint(-reach, reach + 1, (batch, 2), generator=generator).float()


def _cutout_amounts(batch: int, image_size: int, generator: torch.Generator) -> Tensor:
    # An even square's center lies between pixels: one more place for it, so that both borders are treated alike.
    places = image_size + 1 - _cutout_side(image_size) % 2
    return torch.randint(0, places, (batch, 2), generator=generator).float()


def _flip_amounts(batch: int, image_size: int, generator: torch.Generator) -> Tensor:
    return (torch.rand(batch, 1, generator=generator) < FLIP_PROBABILITY).float()


def _scale_amounts(batch: int, image_size: int, generator: torch.Generator) -> Tensor:
    return _uniform(batch, 2, 1 / MAX_SCALE, MAX_SCALE, generator)


def _rotate_amounts(batch: int, image_size: int, generator: torch.Generator) -> Tensor:
    return torch.deg2rad(_uniform(batch, 1, -MAX_DEGREES, MAX_DEGREES, generator))


def _color(images: Tensor, amounts: Tensor) -> Tensor:
    brightness, saturation, contrast = amounts[:, :, None, None, None].unbind(1)
    brighter = images + brightness
    gray = brighter.mean(dim=1, keepdim=True)
    saturated = (brighter - gray) * saturation + gray
    level = saturated.mean(dim=(1, 2, 3), keepdim=True)
    return (saturated - level) * contrast + level


def _crop(images: Tensor, amounts: Tensor) -> Tensor:
    side = _side(images)
    down, right = (amounts[:, :, None, None] * (2 / (images.shape[-1] - 1))).unbind(1)
    return _resampled(images, side[:, None] + down, side + right, _NEAREST)


def _cutout(images: Tensor, amounts: Tensor) -> Tensor:
    side = _cutout_side(images.shape[-1])
    place = torch.arange(images.shape[-1], device=images.device)
    first = amounts[:, :, None] - side // 2
    down, across = ((place >= first) & (place < first + side)).unbind(1)
    return images * ~(down[:, None, :, None] & across[:, None, None, :])


def _cutout_side(image_size: int) -> int:
    return int(image_size * CUTOUT_SHARE + 0.5)


def _flip(images: Tensor, amounts: Tensor) -> Tensor:
    return torch.where(amounts[:, :, None, None] > 0, images.flip(3), images)


def _scale(images: Tensor, amounts: Tensor) -> Tensor:
    side = _side(images)
    down, across = amounts[:, :, None, None].unbind(1)
    return _resampled(images, side[:, None] * down, side * across, _BILINEAR)


def _rotate(images: Tensor, amounts: Tensor) -> Tensor:
    side = _side(images)
    cos, sin = (part[:, :, None] for part in (amounts.cos(), amounts.sin()))
    return _resampled(images, cos * side[:, None] + sin * side, cos * side - sin * side[:, None], _BILINEAR)


def _side(images: Tensor) -> Tensor:
    """Where the pixels of a row, or of a column, are: from -1 to 1."""
    return torch.linspace(-1, 1, images.shape[-1], device=images.device, dtype=images.dtype)


def _resampled(images: Tensor, rows: Tensor, columns: Tensor, how: int) -> Tensor:
    """The images' values at places, each broadcast to (B, H, W) and from -1 to 1, 0 outside."""
    grid = torch.stack(torch.broadcast_tensors(columns, rows), dim=-1)
    # F.affine_grid has a product in it, which TF32 would blur; F.grid_sample goes to cuDNN's sampler, which refuses
    # batches of 65,536 images.
    return torch.grid_sampler_2d(images, grid, how, _ZEROS, True)


# As torch numbers them: how a value between pixels is made, and what is outside.
_BILINEAR, _NEAREST, _ZEROS = 0, 1, 0
_AMOUNTS: dict[AugmentationName, Callable[[int, int, torch.Generator], Tensor]] = {
    "color": _color_amounts,
    "crop": _crop_amounts,
    "cutout": _cutout_amounts,
    "flip": _flip_amounts,
    "scale": _scale_amounts,
    "rotate": _rotate_amounts,
}
_APPLY: dict[AugmentationName, Callable[[Tensor, Tensor], Tensor]] = {
    "color": _color,
    "crop": _crop,
    "cutout": _cutout,
    "flip": _flip,
    "scale": _scale,
    "rotate": _rotate,
}
