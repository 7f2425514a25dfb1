"""ZCA decorrelates, can be undone, and costs no more for few images than for many."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.data import whitening as module
from engine.data.whitening import MODES, Mode, Whitening
from engine.run.errors import InputError


def correlated(count: int, side: int = 4, seed: int = 0) -> Tensor:
    """Images (count, 3, side, side) in [0, 1], float64, whose pixels depend on each other."""
    generator = torch.Generator().manual_seed(seed)
    size = 3 * side * side
    mix = torch.randn(size, size, dtype=torch.float64, generator=generator) / size**0.5
    return torch.sigmoid(torch.randn(count, size, dtype=torch.float64, generator=generator) @ mix).view(
        count, 3, side, side
    )


def covariance(images: Tensor) -> Tensor:
    return torch.cov(images.flatten(1).T)


def test_output_covariance_is_s_over_s_plus_epsilon() -> None:
    images, epsilon = correlated(400), 0.01
    eigenvalues, basis = torch.linalg.eigh(covariance(images))
    white = covariance(Whitening.fit(images, "corrected", epsilon).train(images))
    expected = basis @ torch.diag(eigenvalues / (eigenvalues + epsilon)) @ basis.T
    torch.testing.assert_close(white, expected, rtol=0, atol=1e-9)


def test_output_covariance_is_the_identity_as_epsilon_vanishes() -> None:
    images = correlated(400)
    white = covariance(Whitening.fit(images, "corrected", 1e-12).train(images))
    torch.testing.assert_close(white, torch.eye(48, dtype=torch.float64), rtol=0, atol=1e-6)


def test_zca_is_the_symmetric_map_and_not_a_rotation() -> None:
    fitted = Whitening.fit(correlated(400), "corrected", 0.1)
    unit = torch.eye(48, dtype=torch.float64).view(48, 3, 4, 4)
    matrix = (fitted.train(unit) - fitted.train(torch.zeros_like(unit))).flatten(1)
    torch.testing.assert_close(matrix, matrix.T)
    assert torch.linalg.eigvalsh(matrix).min() > 0


@pytest.mark.parametrize("count", [400, 20])
@pytest.mark.parametrize("mode", MODES)
def test_the_inverse_is_an_inverse_on_seen_and_unseen_images(mode: Mode, count: int) -> None:
    images = correlated(count)
    fitted = Whitening.fit(images, mode, 0.1)
    for some in (images, correlated(5, seed=9)):
        torch.testing.assert_close(fitted.to_pixels(fitted.train(some)), some, rtol=0, atol=1e-10)
        single = fitted.to_pixels(fitted.train(some.float()))
        torch.testing.assert_close(single, some.float(), rtol=0, atol=1e-5)


def test_few_images_take_the_short_way_to_the_same_result() -> None:
    images, unseen = correlated(20), correlated(7, seed=5)
    flat = images.flatten(1)
    ways = []
    for eigen in (module._eigen_by_gram, module._eigen_by_covariance):
        basis, eigenvalues = eigen(flat, flat.mean(0))
        ways.append(Whitening("corrected", 0.1, flat.mean(0), basis, eigenvalues, torch.zeros(3), torch.ones(3)))
    gram, full = ways
    assert gram.basis.shape == (48, 19) and full.basis.shape == (48, 48)
    for some in (images, unseen):
        torch.testing.assert_close(gram.train(some), full.train(some), rtol=0, atol=1e-8)
        torch.testing.assert_close(gram.to_pixels(some), full.to_pixels(some), rtol=0, atol=1e-8)


def test_statistics_do_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    images = correlated(100)
    whole = Whitening.fit(images, "corrected", 0.1).train(images)
    monkeypatch.setattr(module, "_CHUNK", 7)
    torch.testing.assert_close(Whitening.fit(images, "corrected", 0.1).train(images), whole)


def test_modes_differ_in_the_test_images_alone() -> None:
    images, unseen = correlated(400), correlated(7, seed=5)
    paper, corrected = (Whitening.fit(images, mode, 0.1) for mode in ("paper", "corrected"))
    torch.testing.assert_close(paper.train(images), corrected.train(images))
    mean, std = images.mean((0, 2, 3)), images.std((0, 2, 3), correction=0)
    normalized = (unseen - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(paper.test(unseen), corrected.test(normalized))
    torch.testing.assert_close(corrected.test(unseen), corrected.train(unseen))


# The constants of the official code for CIFAR-10-LT and CIFAR-100-LT.
OFFICIAL_MEAN = torch.tensor([0.4914, 0.4822, 0.4465], dtype=torch.float64)[:, None, None]
OFFICIAL_STD = torch.tensor([0.2023, 0.1994, 0.2010], dtype=torch.float64)[:, None, None]


def test_published_normalizes_the_test_images_alone_by_the_official_constants() -> None:
    images, unseen = correlated(400), correlated(7, seed=5)
    published, corrected = (Whitening.fit(images, mode, 0.1) for mode in ("published", "corrected"))
    torch.testing.assert_close(published.train(images), corrected.train(images))
    torch.testing.assert_close(published.test(unseen), corrected.test((unseen - OFFICIAL_MEAN) / OFFICIAL_STD))


def test_normalized_fits_and_applies_zca_after_the_official_constants_everywhere() -> None:
    images, unseen = correlated(400), correlated(7, seed=5)
    fitted = Whitening.fit(images, "normalized", 0.1)
    zca = Whitening.fit((images - OFFICIAL_MEAN) / OFFICIAL_STD, "corrected", 0.1)
    for ours in (fitted.train, fitted.test):
        torch.testing.assert_close(ours(unseen), zca.train((unseen - OFFICIAL_MEAN) / OFFICIAL_STD))


def test_raw_changes_no_pixel() -> None:
    images = correlated(30)
    fitted = Whitening.fit(images, "raw", 0.1)
    assert all(torch.equal(some(images), images) for some in (fitted.train, fitted.test, fitted.to_pixels))


@pytest.mark.parametrize("count", [400, 20])
@pytest.mark.parametrize("mode", MODES)
def test_the_map_for_other_programs_does_what_test_does(mode: Mode, count: int) -> None:
    fitted, unseen = Whitening.fit(correlated(count), mode, 0.1), correlated(7, seed=5).float()
    w = fitted.test_map()
    x = (unseen - w["channel_mean"]) / w["channel_std"]
    d = x.flatten(1) - w["mean"]
    whitened = ((d @ w["basis"] * w["scales"]) @ w["basis"].T + d * w["outside"]).view_as(unseen)
    torch.testing.assert_close(whitened, fitted.test(unseen), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", ["published", "normalized"])
def test_three_official_constants_are_refused_for_gray_images(mode: Mode) -> None:
    with pytest.raises(InputError, match="three channels, these images have 1"):
        Whitening.fit(correlated(30)[:, :1], mode, 0.1)


def test_none_normalizes_each_channel_and_survives_a_flat_one() -> None:
    images = correlated(100)
    images[:, 1] = 0.5
    fitted = Whitening.fit(images, "none", 0.1)
    white = fitted.train(images)
    torch.testing.assert_close(white.mean((0, 2, 3)), torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(white.std((0, 2, 3), correction=0), torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64))
    assert fitted.basis.numel() == 0
    torch.testing.assert_close(fitted.test(images), white)


@pytest.mark.parametrize("count", [400, 20])
@pytest.mark.parametrize("mode", MODES)
def test_its_state_gives_the_same_float32_images(mode: Mode, count: int) -> None:
    images = correlated(count).float()
    fitted = Whitening.fit(images, mode, 0.1)
    state = fitted.state()
    assert all(value.is_contiguous() for value in state.values())
    again = Whitening.from_state(state)
    assert torch.equal(again.train(images), fitted.train(images))
    assert torch.equal(again.test(images), fitted.test(images))
    assert torch.equal(again.to_pixels(images), fitted.to_pixels(images))


def test_an_impossible_size_is_refused_before_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEMORY_LIMIT_GIB", 1e-6)
    with pytest.raises(InputError, match=r"dataset\.resolution"):
        Whitening.fit(correlated(400), "corrected", 0.1)
    assert Whitening.fit(correlated(400), "none", 0.1).mode == "none"


@pytest.mark.parametrize("count", [400, 20])
@pytest.mark.parametrize("mode", ["corrected", "published", "none"])
def test_of_a_low_rank_is_zca_in_those_directions_and_one_scale_beside_them_and_small_as_stored(
    mode: Mode, count: int
) -> None:
    images, rank, epsilon = correlated(count).float(), 6, 0.01
    fitted = Whitening.fit(images, mode, epsilon, rank)
    state = fitted.state()
    again = Whitening.from_state(state)
    for one, other in ((fitted.train, again.train), (fitted.test, again.test), (fitted.to_pixels, again.to_pixels)):
        assert torch.equal(one(images), other(images)), "what is read back whitens alike to the last bit"
    torch.testing.assert_close(fitted.to_pixels(fitted.train(images)), images, rtol=0, atol=1e-3)
    if mode == "none":
        assert not state["basis"].numel() and "mean" not in state
        return
    assert (state["basis"].dtype, state["basis"].shape) == (torch.float16, (48, rank))
    eigenvalues, basis = torch.linalg.eigh(covariance(images.double()))
    rest = eigenvalues[:-rank].mean()
    scales = torch.cat([rest.expand(48 - rank), eigenvalues[-rank:]]).add(epsilon).rsqrt()
    plain = (images.flatten(1).double() - images.double().flatten(1).mean(0)) @ basis * scales @ basis.T
    torch.testing.assert_close(fitted.train(images).flatten(1).double(), plain, rtol=0, atol=5e-3)
