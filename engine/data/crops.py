"""Random-resized crops: a random part of each image, enlarged to the size of the image, perhaps mirrored.

They are taken of pixels, never of images whitened by ZCA: a part of a whitened image is not the whitened part.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Codes of torch.grid_sampler_2d: how to interpolate between pixels, and what is outside of an image.
_BILINEAR, _NEAREST_BORDER = 0, 1


def draw_crops(count: int, smallest: float, largest_ratio: float, generator: torch.Generator) -> Tensor:
    """Boxes (count, 4) in shares of the image's side: height, width, top, left.

    The area is uniform from the share `smallest` to 1, the ratio of height to width log-uniform from 1 / largest_ratio
    to largest_ratio, as in torchvision's RandomResizedCrop; a side that would exceed the image's is cut to it.
    """
    area, ratio, top, left = torch.rand(count, 4, generator=generator).unbind(1)
    area, root = smallest + (1 - smallest) * area, largest_ratio ** (ratio - 0.5)
    height, width = (area.sqrt() * root).clamp(max=1), (area.sqrt() / root).clamp(max=1)
    return torch.stack([height, width, top * (1 - height), left * (1 - width)], dim=1)


def mirrored(boxes: Tensor, generator: torch.Generator) -> Tensor:
    """The boxes (N, 4), half of them read from right to left: their width is negative."""
    height, width, top, left = boxes.unbind(1)
    mirror = torch.rand(len(boxes), generator=generator) < 0.5
    return torch.stack([height, torch.where(mirror, -width, width), top, left + mirror * width], dim=1)


def cropped(images: Tensor, boxes: Tensor) -> Tensor:
    """The part of each image (N, channels, H, W) in its box (N, 4), enlarged to H x W; linear in the images."""
    height, width, top, left = boxes.to(images)[:, :, None, None].unbind(1)
    down, across = (
        (torch.arange(side, device=images.device, dtype=images.dtype) + 0.5) / side for side in images.shape[2:]
    )
    rows, columns = top + height * down[:, None], left + width * across
    grid = torch.stack(torch.broadcast_tensors(columns, rows), dim=-1) * 2 - 1
    # Not F.grid_sample: it calls cuDNN's sampler, which refuses batches of 65,536 images.
    return torch.grid_sampler_2d(images, grid, _BILINEAR, _NEAREST_BORDER, False)
