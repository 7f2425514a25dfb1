"""ZCA whitening, fitted on the long-tailed train images, and its inverse.

In float64 throughout the fit: the eigenvalues of images span many powers of ten. Images are converted in chunks, so
that no float64 copy of all of them is in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from engine.run.errors import InputError

Mode = Literal["paper", "corrected", "none"]
MODES: tuple[Mode, ...] = ("paper", "corrected", "none")  # exported files hold the position: append only
MEMORY_LIMIT_GIB = 16
_CHUNK = 2048
"""Images that are converted to float64 together."""


@dataclass(frozen=True)
class Whitening:
    """How images in [0, 1] become a network's input, and the way back. All tensors are float64, D = channels*H*W.

    `paper`: ZCA, test images normalized per channel before it (official code). `corrected`: ZCA, alike for train and
    test. `none`: mean and standard deviation per channel, alike for both.

    Directions outside `basis` count as eigenvalue 0, so N < D images need at most N - 1 directions.
    """

    mode: Mode
    epsilon: float
    mean: Tensor  # (D,)
    basis: Tensor  # (D, R) orthonormal
    eigenvalues: Tensor  # (R,) of the covariance
    channel_mean: Tensor  # (C,)
    channel_std: Tensor  # (C,)

    @classmethod
    def fit(cls, images: Tensor, mode: Mode, epsilon: float) -> Whitening:
        """Fits train images (N, channels, H, W) in [0, 1]; raises InputError where ZCA would not fit into memory."""
        channel_mean, channel_std = _channel_statistics(images)
        flat = images.flatten(1)
        mean = _mean(flat)
        if mode == "none":
            basis, eigenvalues = mean.new_empty(len(mean), 0), mean.new_empty(0)
        else:
            _check_memory(*flat.shape)
            eigen = _eigen_by_gram if flat.shape[0] < flat.shape[1] else _eigen_by_covariance
            basis, eigenvalues = eigen(flat, mean)
        return cls(mode, epsilon, mean, basis, eigenvalues, channel_mean, channel_std)

    def train(self, images: Tensor) -> Tensor:
        """Train images (N, channels, H, W) in [0, 1], whitened, in their own precision."""
        return self._normalize(images) if self.mode == "none" else self._whiten(images)

    def test(self, images: Tensor) -> Tensor:
        """Test images (N, channels, H, W) in [0, 1], whitened by what was fitted on the train images."""
        return self._whiten(self._normalize(images)) if self.mode == "paper" else self.train(images)

    def to_pixels(self, whitened: Tensor) -> Tensor:
        """The inverse of `train`; synthetic images may leave [0, 1], nothing is clamped."""
        if self.mode == "none":
            std, mean = (_per_channel(value, whitened) for value in (self.channel_std, self.channel_mean))
            return whitened * std + mean
        centered = self._stretch(whitened.flatten(1), self._scales(), self.epsilon**0.5)
        return (centered + self.mean.to(centered)).view_as(whitened)

    def state(self) -> dict[str, Tensor]:
        """Everything as tensors, for export; the basis in float32, as float32 images are multiplied by it anyway."""
        return {
            "mode": torch.tensor(MODES.index(self.mode)),
            "epsilon": torch.tensor(self.epsilon, dtype=torch.float64),
            "mean": self.mean.cpu(),
            "basis": self.basis.float().contiguous().cpu(),
            "eigenvalues": self.eigenvalues.cpu(),
            "channel_mean": self.channel_mean.cpu(),
            "channel_std": self.channel_std.cpu(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> Whitening:
        """The inverse of `state`."""
        tensors = {name: value.double() for name, value in state.items() if name not in ("mode", "epsilon")}
        return cls(MODES[int(state["mode"])], float(state["epsilon"]), **tensors)

    def _normalize(self, images: Tensor) -> Tensor:
        return (images - _per_channel(self.channel_mean, images)) / _per_channel(self.channel_std, images)

    def _whiten(self, images: Tensor) -> Tensor:
        """U diag(1 / sqrt(S + eps)) U^T (x - mean)."""
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
