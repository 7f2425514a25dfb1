"""DSA, differentiable augmentation: one kind drawn a batch, its amounts drawn an image, replayed from those amounts.

Source of every range: DSA's published defaults (Zhao and Bilen, 2021), the ones that trajectory matching uses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

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

    Differentiable in the images as often as wanted, in both directions.
    """
    if draw.name is None:
        return images
    return _APPLY[draw.name](images, draw.amounts.to(images.device, images.dtype))


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
    rows, columns = _positions(images)
    down, right = amounts[:, :, None].unbind(1)
    return _pixels(images, rows + down, columns + right)


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
    rows, columns = _positions(images)
    center = (images.shape[-1] - 1) / 2
    down, across = amounts[:, :, None].unbind(1)
    return _between_pixels(images, (rows - center) * down + center, (columns - center) * across + center)


def _rotate(images: Tensor, amounts: Tensor) -> Tensor:
    rows, columns = _positions(images)
    center = (images.shape[-1] - 1) / 2
    cos, sin = amounts.cos(), amounts.sin()
    down, across = rows - center, columns - center
    return _between_pixels(images, sin * across + cos * down + center, cos * across - sin * down + center)


def _positions(images: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of every pixel, (H*W,) each, in the images' precision."""
    side = torch.arange(images.shape[-1], device=images.device, dtype=images.dtype)
    return side.repeat_interleave(len(side)), side.repeat(len(side))


# grid_sample would be shorter, but the derivative of its backward pass has no forward mode, which matching needs;
# picking pixels by index is linear in the images and has every derivative.
def _pixels(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The images' values at whole positions (B, H*W), 0 outside, in the images' shape."""
    last = images.shape[-1] - 1
    inside = (rows >= 0) & (rows <= last) & (columns >= 0) & (columns <= last)
    index = (rows.clamp(0, last) * (last + 1) + columns.clamp(0, last)).long()
    picked = images.flatten(2).gather(2, index[:, None].expand(-1, images.shape[1], -1))
    return (picked * inside[:, None]).view_as(images)


def _between_pixels(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The images' values at positions (B, H*W), bilinear between pixels, 0 outside, in the images' shape."""
    top, left = rows.floor(), columns.floor()
    down, right = ((part[:, None]).view(-1, 1, *images.shape[2:]) for part in (rows - top, columns - left))
    above = _pixels(images, top, left) * (1 - right) + _pixels(images, top, left + 1) * right
    below = _pixels(images, top + 1, left) * (1 - right) + _pixels(images, top + 1, left + 1) * right
    return above * (1 - down) + below * down


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
