"""ZCA whitening, fitted on the long-tailed train images, and its inverse.

In float64 throughout the fit: the eigenvalues of images span many powers of ten. Images are converted in chunks, so
that no float64 copy of all of them is in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from engine.run.data_settings import WITHOUT_ZCA
from engine.run.errors import InputError

Mode = Literal["paper", "corrected", "none", "published", "normalized", "raw"]
# Exported files hold the position: append only.
MODES: tuple[Mode, ...] = ("paper", "corrected", "none", "published", "normalized", "raw")
# Which images are normalized per channel before ZCA, or instead of it.
NORMALIZES_TRAIN: tuple[Mode, ...] = ("none", "normalized", "raw")
NORMALIZES_TEST: tuple[Mode, ...] = (*NORMALIZES_TRAIN, "paper", "published")
# Mean and standard deviation of CIFAR-10's channels as the official code has them, for CIFAR-10-LT and CIFAR-100-LT.
CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
MEMORY_LIMIT_GIB = 16
_CHUNK = 2048
"""Images that are converted to float64 together."""


@dataclass(frozen=True)
class Whitening:
    """How images in [0, 1] become a network's input, and the way back. All tensors are float64, D = channels*H*W.

    `published`: ZCA, test images alone normalized before it by CIFAR_MEAN and CIFAR_STD (official code for
    CIFAR-10-LT). `normalized`: the same normalization of train and test images (official code for CIFAR-100-LT).
    `paper`: `published` by the statistics of the train images. `corrected`: ZCA alone, alike for train and test.
    `none`: mean and standard deviation per channel, alike for both. `raw`: pixels as they are.

    Directions outside `basis` count as eigenvalue 0, so N < D images need at most N - 1 directions. Of a lower rank
    they all have the mean eigenvalue of those left out, as in probabilistic PCA (Tipping and Bishop 1999): it is a part
    of `epsilon`, and taken from `eigenvalues`.
    """

    mode: Mode
    epsilon: float
    mean: Tensor  # (D,)
    basis: Tensor  # (D, R) orthonormal
    eigenvalues: Tensor  # (R,) of the covariance
    channel_mean: Tensor  # (C,)
    channel_std: Tensor  # (C,)

    @classmethod
    def fit(cls, images: Tensor, mode: Mode, epsilon: float, rank: int | Literal["full"] = "full") -> Whitening:
        """Fits train images (N, channels, H, W) in [0, 1]; `rank`: the directions that ZCA scales each by itself.

        Raises InputError where ZCA would not fit into memory, or where CIFAR-10's statistics do not fit the channels.
        """
        channel_mean, channel_std = _normalization(images, mode)
        if mode == "normalized":
            images = (images - _per_channel(channel_mean, images)) / _per_channel(channel_std, images)
        flat = images.flatten(1)
        mean = _mean(flat)
        if mode in WITHOUT_ZCA:
            basis, eigenvalues = mean.new_empty(len(mean), 0), mean.new_empty(0)
        else:
            _check_memory(*flat.shape)
            eigen = _eigen_by_gram if flat.shape[0] < flat.shape[1] else _eigen_by_covariance
            basis, eigenvalues = eigen(flat, mean)
            if rank != "full":
                # The largest eigenvalues are the last ones.
                rest = float(eigenvalues[:-rank].sum()) / max(len(mean) - rank, 1)
                eigenvalues, epsilon = (eigenvalues[-rank:] - rest).clamp(min=0), epsilon + rest
                # As it will be stored, so that what is read back whitens alike to the last bit.
                basis, mean = basis[:, -rank:].half().double(), mean.float().double()
        return cls(mode, epsilon, mean, basis, eigenvalues, channel_mean, channel_std)

    def train(self, images: Tensor) -> Tensor:
        """Train images (N, channels, H, W) in [0, 1], whitened, in their own precision."""
        return self._whiten(self._normalize(images) if self.mode in NORMALIZES_TRAIN else images)

    def test(self, images: Tensor) -> Tensor:
        """Test images (N, channels, H, W) in [0, 1], whitened by what was fitted on the train images."""
        return self._whiten(self._normalize(images) if self.mode in NORMALIZES_TEST else images)

    def to_pixels(self, whitened: Tensor) -> Tensor:
        """The inverse of `train`; synthetic images may leave [0, 1], nothing is clamped."""
        images = whitened
        if self.mode not in WITHOUT_ZCA:
            centered = self._stretch(whitened.flatten(1), self._scales(), self.epsilon**0.5)
            images = (centered + self.mean.to(centered)).view_as(whitened)
        if self.mode not in NORMALIZES_TRAIN:
            return images
        return self.denormalize(images)

    def test_map(self) -> dict[str, Tensor]:
        """What `test` does, as float32 tensors for programs without this class (README.md of exported .pt files).

        x = (images - channel_mean) / channel_std;  d = x.flatten(1) - mean;
        whitened = (d @ basis * scales) @ basis.T + d * outside
        """
        normalizes, whitens = self.mode in NORMALIZES_TEST, self.mode not in WITHOUT_ZCA
        outside = 1 / self.epsilon**0.5 if whitens else 1.0
        shift, scale = (self.channel_mean, self.channel_std) if normalizes else (torch.zeros(1), torch.ones(1))
        tensors = {
            "channel_mean": shift[:, None, None],
            "channel_std": scale[:, None, None],
            "mean": self.mean if whitens else torch.zeros_like(self.mean),
            "basis": self.basis,
            "scales": 1 / self._scales() - outside,
            "outside": torch.tensor(outside),
        }
        return {name: value.float().cpu() for name, value in tensors.items()}

    @classmethod
    def from_test_map(cls, mode: Mode, tensors: dict[str, Tensor]) -> Whitening:
        """The inverse of `test_map`, to its float32 precision; of a set that was exported as .pt files."""
        outside = float(tensors["outside"])
        eigenvalues = (tensors["scales"].double() + outside) ** -2 - outside**-2
        shift, std = (tensors[name].double().flatten() for name in ("channel_mean", "channel_std"))
        mean, basis = tensors["mean"].double(), tensors["basis"].double()
        return cls(mode, outside**-2, mean, basis, eigenvalues.clamp(min=0), shift, std)

    def equals(self, other: Whitening) -> bool:
        """Whether both whiten train and test images alike, up to rounding of float32."""
        if len(self.mean) != len(other.mean):
            return False
        channels = max(len(self.channel_mean), len(other.channel_mean))
        shape = (16, channels, 1, len(self.mean) // channels)
        draws = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(self.basis.device)
        pairs = ((self.train(draws), other.train(draws)), (self.test(draws), other.test(draws)))
        return all(bool(torch.allclose(one, two, rtol=1e-3, atol=1e-3)) for one, two in pairs)

    def denormalize(self, images: Tensor) -> Tensor:
        """Images in [0, 1] from images less the mean of their channels, over the standard deviation."""
        return images * _per_channel(self.channel_std, images) + _per_channel(self.channel_mean, images)

    def state(self) -> dict[str, Tensor]:
        """Everything as tensors, for export, each in the smallest type that is read back as the same.

        The basis has float32 at most, as float32 images are multiplied by it anyway. Without ZCA there is no mean of
        single pixels.
        """
        half = self.basis.half()
        state = {
            "mode": torch.tensor(MODES.index(self.mode)),
            "epsilon": torch.tensor(self.epsilon, dtype=torch.float64),
            "mean": self.mean.float() if torch.equal(self.mean.float().double(), self.mean) else self.mean,
            "basis": half if torch.equal(half.double(), self.basis) else self.basis.float(),
            "eigenvalues": self.eigenvalues,
            "channel_mean": self.channel_mean,
            "channel_std": self.channel_std,
        }
        if self.mode in WITHOUT_ZCA:
            del state["mean"]
        return {name: value.contiguous().cpu() for name, value in state.items()}

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> Whitening:
        """The inverse of `state`."""
        tensors = {name: value.double() for name, value in state.items() if name not in ("mode", "epsilon")}
        tensors.setdefault("mean", tensors["basis"].new_zeros(len(tensors["basis"])))
        return cls(MODES[int(state["mode"])], float(state["epsilon"]), **tensors)

    def _normalize(self, images: Tensor) -> Tensor:
        return (images - _per_channel(self.channel_mean, images)) / _per_channel(self.channel_std, images)

    def _whiten(self, images: Tensor) -> Tensor:
        """U diag(1 / sqrt(S + eps)) U^T (x - mean); the images themselves in a mode without ZCA."""
        if self.mode in WITHOUT_ZCA:
            return images
        flat = images.flatten(1)
        centered = flat - self.mean.to(flat)
        return self._stretch(centered, 1 / self._scales(), 1 / self.epsilon**0.5).view_as(images)

    def _scales(self) -> Tensor:
        return (self.eigenvalues + self.epsilon).sqrt()

    def _stretch(self, flat: Tensor, scales: Tensor, outside: float) -> Tensor:
        """Scales (N, D) by `scales` along the directions of the basis, and by `outside` in all directions beside it."""
        basis = self.basis.to(flat)
        if basis.shape[0] == basis.shape[1]:
            return (flat @ basis * scales.to(flat)) @ basis.T
        return (flat @ basis * (scales - outside).to(flat)) @ basis.T + flat * outside


def _per_channel(values: Tensor, images: Tensor) -> Tensor:
    return values.to(images)[:, None, None]


def _normalization(images: Tensor, mode: Mode) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (channels,) in float64, by which a mode normalizes."""
    channels = images.shape[1]
    if mode == "raw":
        return images.new_zeros(channels, dtype=torch.float64), images.new_ones(channels, dtype=torch.float64)
    if mode not in ("published", "normalized"):
        return _channel_statistics(images)
    if channels != len(CIFAR_MEAN):
        what = f"{mode} normalizes by the mean and std of CIFAR-10's three channels, these images have {channels}"
        raise InputError(what, "dataset.whitening", "set dataset.whitening to corrected")
    mean, std = (images.new_tensor(values, dtype=torch.float64) for values in (CIFAR_MEAN, CIFAR_STD))
    return mean, std


def _channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (channels,) in float64; 1 for a channel without contrast."""
    parts = images.split(_CHUNK)
    pixels = images.numel() // images.shape[1]
    mean = torch.stack([part.double().sum(dim=(0, 2, 3)) for part in parts]).sum(0) / pixels
    squares = torch.stack([(part.double() - mean[:, None, None]).square().sum(dim=(0, 2, 3)) for part in parts])
    std = (squares.sum(0) / pixels).sqrt()
    return mean, torch.where(std > 0, std, torch.ones_like(std))


def _mean(flat: Tensor) -> Tensor:
    return torch.stack([part.double().sum(0) for part in flat.split(_CHUNK)]).sum(0) / len(flat)


def _eigen_by_covariance(flat: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """All D directions, by the D x D covariance: for N >= D images."""
    covariance = torch.zeros(len(mean), len(mean), dtype=mean.dtype, device=mean.device)
    for part in flat.split(_CHUNK):
        centered = part.double() - mean
        covariance.addmm_(centered.T, centered)
    eigenvalues, basis = torch.linalg.eigh(covariance / max(len(flat) - 1, 1))
    return basis, eigenvalues.clamp(min=0)


def _eigen_by_gram(flat: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """The at most N - 1 directions in which N < D images vary, by the smaller N x N matrix of inner products."""
    centered = flat.double() - mean
    squares, mixes = torch.linalg.eigh(centered @ centered.T)
    # Centering leaves one direction empty; below this, rounding is all there is.
    kept = squares > squares.max() * len(flat) * torch.finfo(torch.float64).eps
    basis = centered.T @ mixes[:, kept] / squares[kept].sqrt()
    return basis, squares[kept] / max(len(flat) - 1, 1)


def _check_memory(images: int, dimensions: int) -> None:
    needed_gib = 8 * dimensions * min(images, dimensions) / 2**30
    if needed_gib > MEMORY_LIMIT_GIB:
        what = f"ZCA whitening of {images} images of {dimensions} values needs {needed_gib:.0f} GiB"
        raise InputError(what, "dataset.whitening", "set dataset.whitening to none, or dataset.resolution lower")
