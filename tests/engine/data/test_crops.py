"""Random-resized crops: parts of images as drawn, and the start of recovery that is chosen from them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from engine.data.crops import cropped, draw_crops, mirrored
from engine.data.selection import surest_crops
from engine.data.whitening import Whitening


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_crop_of_a_ramp_holds_the_values_of_its_box() -> None:
    side = 8
    places = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    ramp = torch.stack([places[:, None].expand(side, side), places.expand(side, side)])[None]
    height, width, top, left = 0.5, 0.25, 0.3, 0.6
    rows, columns = cropped(ramp, torch.tensor([[height, width, top, left]], dtype=torch.float64))[0]
    torch.testing.assert_close(rows, (top + height * places)[:, None].expand(side, side), rtol=0, atol=1e-12)
    torch.testing.assert_close(columns, (left + width * places).expand(side, side), rtol=0, atol=1e-12)


def test_the_whole_image_is_a_crop_of_itself_and_mirrored_it_is_flipped() -> None:
    images = torch.rand(6, 3, 7, 7, dtype=torch.float64, generator=generator())
    whole = torch.tensor([[1.0, 1.0, 0.0, 0.0]]).repeat(6, 1)
    torch.testing.assert_close(cropped(images, whole), images, rtol=0, atol=1e-14)
    boxes = mirrored(whole, generator(1))
    flips = boxes[:, 1] < 0
    assert 0 < int(flips.sum()) < 6
    expected = torch.where(flips[:, None, None, None], images.flip(3), images)
    torch.testing.assert_close(cropped(images, boxes), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("ratio", [1.0, 4 / 3])
def test_crops_lie_in_the_image_and_are_no_smaller_than_asked_for(ratio: float) -> None:
    height, width, top, left = draw_crops(2000, 0.25, ratio, generator()).unbind(1)
    assert min(top.min(), left.min()) >= 0 and max((top + height).max(), (left + width).max()) <= 1 + 1e-6
    area, sides = height * width, height / width
    assert area.min() >= 0.25 * 0.99 and abs(area.mean() - 0.625) < 0.03
    assert sides.max() <= ratio + 1e-6 and sides.min() >= 1 / ratio - 1e-6
    assert torch.equal(draw_crops(5, 0.25, ratio, generator(3)), draw_crops(5, 0.25, ratio, generator(3)))


@pytest.mark.parametrize(("ipc", "images"), [(2, 5), (5, 3), (9, 2)])
def test_each_image_gives_its_surest_crop_before_any_gives_a_second(ipc: int, images: int) -> None:
    crops, drawn = 3, list[torch.Tensor]()
    pixels = torch.rand(2 * images, 1, 8, 8, generator=generator())
    whitening = Whitening.fit(pixels, "raw", 0.1)
    labels = torch.arange(2).repeat_interleave(images)
    data: Any = SimpleNamespace(train_images=pixels, train_labels=labels, whitening=whitening, num_classes=2)

    def loss(given: torch.Tensor, label: int) -> torch.Tensor:
        drawn.append(given)
        return given.mean(dim=(1, 2, 3)) * (1 if label else -1)

    start = surest_crops(data, ipc, 1, crops, 0.1, loss, generator(1))
    assert start.shape == (2 * ipc, 1, 8, 8)
    considered = min(images, max(1, ipc))
    for label in range(2):
        of_class = torch.stack(drawn[label * crops : (label + 1) * crops])
        assert of_class.shape[:2] == (crops, considered)
        losses = of_class.mean(dim=(2, 3, 4)) * (1 if label else -1)
        rounds = [sorted((float(losses[:, i].sort()[0][turn]), i) for i in range(considered)) for turn in range(crops)]
        wanted = [value for turn in rounds for value, _ in turn]
        got = start[label * ipc : (label + 1) * ipc].mean(dim=(1, 2, 3)) * (1 if label else -1)
        torch.testing.assert_close(got, torch.tensor((wanted * ipc)[:ipc]))
