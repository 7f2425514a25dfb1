"""The synthetic images as a picture, with their soft labels beside it, for whoever watches."""

from __future__ import annotations

import io

import torch
from PIL import Image
from torch import Tensor

from engine.context import Context
from engine.data.dataset import LongTailedData
from engine.matching.batches import Synthetic
from engine.run.events import Preview
from engine.run.folder import write_atomically, write_json


def save_preview(context: Context, data: LongTailedData, synthetic: Synthetic, iteration: int) -> None:
    """Writes previews/<iteration>.png (a row a class, IPC columns) and .json (softmax labels), and says so."""
    png, labels = (context.folder.previews / f"{iteration:06d}{ending}" for ending in (".png", ".json"))
    write_atomically(png, grid_png(data.whitening.to_pixels(synthetic.images), synthetic.ipc))
    write_json(labels, [[round(q, 4) for q in row] for row in synthetic.label_logits.softmax(dim=1).tolist()])
    context.emit(
        Preview(
            iteration,
            str(png.relative_to(context.folder.root)),
            str(labels.relative_to(context.folder.root)),
            data.num_classes,
            synthetic.ipc,
            data.image_size,
        )
    )


def grid_png(pixels: Tensor, columns: int) -> bytes:
    """A PNG of images (S, channels, H, W) in [0, 1], row by row; values outside are cut off."""
    count, channels, height, width = pixels.shape
    levels = (pixels.clamp(0, 1) * 255).round().to(torch.uint8).cpu()
    rows = levels.view(count // columns, columns, channels, height, width)
    grid = rows.permute(0, 3, 1, 4, 2).reshape(count // columns * height, columns * width, channels)
    picture = Image.fromarray(grid.expand(-1, -1, 3).contiguous().numpy())
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
