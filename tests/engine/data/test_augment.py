"""DSA: replayed exactly, harmless at neutral amounts, and differentiable as matching asks for."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch.nn import functional as F

from engine.data.augment import Augmentation, CutMix, adjoint, apply, draw
from engine.run.settings import AugmentationName

NAMES = get_args(AugmentationName)
NEUTRAL = {
    "color": [0.0, 1.0, 1.0],
    "crop": [0.0, 0.0],
    "cutout": None,
    "flip": [0.0],
    "scale": [1.0, 1.0],
    "rotate": [0.0],
}


def images(batch: int = 5, side: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def drawn(name: AugmentationName, batch: int = 5, side: int = 8, seed: int = 1) -> Augmentation:
    return draw([name], batch, side, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_and_replay_give_the_same_bytes(name: AugmentationName) -> None:
    once, again = drawn(name), drawn(name)
    assert torch.equal(apply(once, images()), apply(again, images()))
    assert torch.equal(apply(once, images()), apply(once, images()))
    assert not torch.equal(apply(once, images()), images())


@pytest.mark.parametrize("name", [name for name in NAMES if NEUTRAL[name] is not None])
def test_neutral_amounts_change_nothing(name: AugmentationName) -> None:
    neutral = Augmentation(name, torch.tensor([NEUTRAL[name]] * 5))
    torch.testing.assert_close(apply(neutral, images()), images(), rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "color"])
def test_geometric_kinds_are_linear_in_the_images(name: AugmentationName) -> None:
    once, (a, b) = drawn(name), (images(seed=2), images(seed=3))
    torch.testing.assert_close(apply(once, 2 * a - b), 2 * apply(once, a) - apply(once, b))


def test_no_names_is_the_identity_and_one_name_is_picked_evenly() -> None:
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(apply(draw([], 5, 8, generator), images()), images())
    picks = [draw(NAMES, 1, 8, generator).name for _ in range(600)]
    assert all(70 < picks.count(name) < 130 for name in NAMES)


def test_amounts_stay_in_dsas_ranges_and_differ_between_images() -> None:
    amounts = {name: drawn(name, batch=4000, side=32).amounts for name in NAMES}
    low = {name: value.min(dim=0).values.tolist() for name, value in amounts.items()}
    high = {name: value.max(dim=0).values.tolist() for name, value in amounts.items()}
    assert low["color"] == pytest.approx([-0.5, 0, 0.5], abs=0.01)
    assert high["color"] == pytest.approx([0.5, 2, 1.5], abs=0.01)
    assert (low["crop"], high["crop"]) == ([-4, -4], [4, 4])
    assert (low["cutout"], high["cutout"]) == ([0, 0], [32, 32])
    assert low["scale"] + high["scale"] == pytest.approx([1 / 1.2, 1 / 1.2, 1.2, 1.2], abs=0.01)
    assert low["rotate"] + high["rotate"] == pytest.approx([-math.pi / 12, math.pi / 12], abs=0.01)
    assert amounts["flip"].mean().item() == pytest.approx(0.5, abs=0.03)


def test_flip_twice_is_the_identity_and_mirrors_columns() -> None:
    once = Augmentation("flip", torch.tensor([[1.0], [0.0], [1.0], [0.0], [1.0]]))
    assert torch.equal(apply(once, apply(once, images())), images())
    assert torch.equal(apply(once, images())[0], images()[0].flip(2))
    assert torch.equal(apply(once, images())[1], images()[1])


def test_crop_shifts_and_fills_with_zeros() -> None:
    shifted = apply(Augmentation("crop", torch.tensor([[1.0, -2.0]])), images(1))[0]
    assert torch.equal(shifted[:, :-1, 2:], images(1)[0, :, 1:, :-2])
    assert shifted[:, -1].abs().sum() == 0 and shifted[:, :, :2].abs().sum() == 0


def test_cutout_clears_half_the_side_clipped_at_the_borders() -> None:
    ones = torch.ones(3, 1, 8, 8)
    cut = apply(Augmentation("cutout", torch.tensor([[4.0, 4.0], [0.0, 0.0], [8.0, 4.0]])), ones)
    assert (cut == 0).sum(dim=(1, 2, 3)).tolist() == [16, 4, 8]
    assert cut[0, 0, 2:6, 2:6].sum() == 0 and cut[1, 0, :2, :2].sum() == 0


@pytest.mark.parametrize(("name", "amounts"), [("scale", [1.13, 0.9]), ("rotate", [0.2])])
def test_resampling_equals_torchs_own(name: AugmentationName, amounts: list[float]) -> None:
    if name == "scale":
        matrix = [[amounts[1], 0.0, 0.0], [0.0, amounts[0], 0.0]]
    else:
        cos, sin = math.cos(amounts[0]), math.sin(amounts[0])
        matrix = [[cos, -sin, 0.0], [sin, cos, 0.0]]
    theta = torch.tensor([matrix], dtype=torch.float64)
    grid = F.affine_grid(theta, [1, 3, 8, 8], align_corners=True)
    theirs = F.grid_sample(images(1), grid, "bilinear", "zeros", align_corners=True)
    ours = apply(Augmentation(name, torch.tensor([amounts], dtype=torch.float64)), images(1))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_a_quarter_turn_is_one() -> None:
    turned = apply(Augmentation("rotate", torch.tensor([[math.pi / 2]], dtype=torch.float64)), images(1))
    assert any(torch.allclose(turned, images(1).rot90(turns, (2, 3)), atol=1e-12) for turns in (1, 3))


def test_scale_takes_rows_and_columns_by_their_own_factors_from_the_center() -> None:
    ramp = torch.linspace(-1, 1, 9, dtype=torch.float64).expand(1, 1, 9, 9)
    halved = Augmentation("scale", torch.tensor([[0.25, 0.5]], dtype=torch.float64))
    torch.testing.assert_close(apply(halved, ramp), ramp / 2)
    torch.testing.assert_close(apply(halved, ramp.mT), ramp.mT / 4)


def test_color_is_brightness_then_saturation_then_contrast() -> None:
    pixel = images(1)
    brighter = pixel + 0.25
    gray = brighter.mean(1, keepdim=True)
    saturated = (brighter - gray) * 1.5 + gray
    expected = (saturated - saturated.mean()) * 0.5 + saturated.mean()
    torch.testing.assert_close(apply(Augmentation("color", torch.tensor([[0.25, 1.5, 0.5]])), pixel), expected)


@pytest.mark.parametrize("name", NAMES)
def test_the_derivative_is_right(name: AugmentationName) -> None:
    once = drawn(name, batch=2, side=4)
    assert torch.autograd.gradcheck(lambda x: apply(once, x), (images(2, 4).requires_grad_(),))


@pytest.mark.parametrize("name", NAMES)
def test_the_adjoint_is_the_whole_derivative(name: AugmentationName) -> None:
    once, direction = drawn(name), images(seed=3)
    leaf = images().requires_grad_()
    expected = torch.autograd.grad(apply(once, leaf), leaf, direction)[0]
    torch.testing.assert_close(adjoint(once, direction), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_float32_follows_float64(name: AugmentationName) -> None:
    once = drawn(name)
    torch.testing.assert_close(apply(once, images().float()), apply(once, images()).float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", range(6))
def test_cutmix_takes_the_pixels_of_a_box_from_the_partner_and_as_much_of_its_label(seed: int) -> None:
    count, side, draws = 5, 8, torch.Generator().manual_seed(seed)
    whole = torch.rand(count, 3, side, side, generator=draws)
    targets = torch.rand(count, 4, generator=draws).softmax(dim=1)
    cutmix = CutMix.draw(1.0, count, side, draws)
    mixed = cutmix.images(whole)
    rows, columns = torch.zeros(side, dtype=torch.bool), torch.zeros(side, dtype=torch.bool)
    rows[cutmix.rows], columns[cutmix.columns] = True, True
    in_box = rows[:, None] & columns
    assert torch.equal(mixed, torch.where(in_box, whole[cutmix.partners], whole))
    share = in_box.double().mean().item()
    assert sorted(cutmix.partners.tolist()) == list(range(count)) and cutmix.share == pytest.approx(share)
    expected = (1 - share) * targets + share * targets[cutmix.partners]
    torch.testing.assert_close(cutmix.targets(targets), expected)
    torch.testing.assert_close(cutmix.targets(targets).sum(dim=1), torch.ones(count))


@pytest.mark.parametrize(("alpha", "smallest", "largest"), [(1e6, 700, 708), (1.0, 980, 1000)])
def test_the_box_of_cutmix_is_drawn_from_beta(alpha: float, smallest: int, largest: int) -> None:
    """Before a border cuts it: half of the pixels at a large alpha, 0.707 of the side; up to all of them at 1."""
    draws = torch.Generator().manual_seed(0)
    rows = [CutMix.draw(alpha, 1, 1000, draws).rows for _ in range(300)]
    heights = [box.stop - box.start for box in rows]
    assert smallest <= max(heights) <= largest
    assert min(heights) < 0.8 * max(heights), "it lies anywhere, so that borders cut some"
