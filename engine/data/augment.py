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
        case "scale" | "rotate":
            images = torch.zeros_like(in_augmented, requires_grad=True)
            with torch.enable_grad():
                augmented = apply(draw, images)
            found: Tensor = torch.autograd.grad(augmented, images, in_augmented)[0]
            return found
        case "color":
            # Saturation and contrast draw towards means, and each is its own adjoint; what brightness adds is constant.
            return apply(Draw("color", F.pad(draw.amounts[:, 1:], (1, 0))), in_augmented)
        case "crop":
            return apply(Draw("crop", -draw.amounts), in_augmented)
        case _:
            # A mirror image and what is left of a cut are their own adjoints.
            return apply(draw, in_augmented)


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
    down, right = (amounts / _center(images)).unbind(1)
    ones, zeros = torch.ones_like(down), torch.zeros_like(down)
    return _resampled(images, [zeros, ones, down], [ones, zeros, right], "nearest")


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
    down, across = amounts.unbind(1)
    zeros = torch.zeros_like(down)
    return _resampled(images, [zeros, down, zeros], [across, zeros, zeros], "bilinear")


def _rotate(images: Tensor, amounts: Tensor) -> Tensor:
    cos, sin = amounts[:, 0].cos(), amounts[:, 0].sin()
    zeros = torch.zeros_like(cos)
    return _resampled(images, [sin, cos, zeros], [cos, -sin, zeros], "bilinear")


def _resampled(images: Tensor, row: Sequence[Tensor], column: Sequence[Tensor], mode: str) -> Tensor:
    """Each pixel from another place, 0 outside: its row and column are sums of own column, own row and 1, weighed.

    The weights are (B,); places are measured from the center, in halves of the side.
    """
    matrix = torch.stack([*column, *row], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=True)
    return F.grid_sample(images, grid, mode, "zeros", align_corners=True)


def _center(images: Tensor) -> float:
    return (images.shape[-1] - 1) / 2


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
