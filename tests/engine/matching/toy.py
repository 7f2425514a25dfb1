"""A tiny student to match with: network, weights, synthetic set and batches, in torch's default type."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch

from engine.data.whitening import Whitening
from engine.losses import StudentLoss, soft_cross_entropy
from engine.matching.backends import BackendBuilder
from engine.matching.plain import PhaseGradient, match_plainly
from engine.matching.synthetic import StudentBatch, Synthetic, student_batches
from engine.nets import build_network
from engine.nets.functional import FlatNetwork
from engine.run.settings import MatchingSettings
from engine.teachers import Teacher

CLASSES, IPC, CHANNELS, STEPS = 3, 3, 2, 4
ALL = ("color", "crop", "cutout", "flip", "scale", "rotate")
AUGMENTATIONS = [(), *((name,) for name in ALL), ALL]


@dataclass(frozen=True)
class Toy:
    """Batches of 4, 4 and 1 of nine images; weights of DAM that differ, and an adjustment."""

    network: FlatNetwork
    start: torch.Tensor
    target: torch.Tensor
    synthetic: Synthetic
    batches: list[StudentBatch]
    loss: StudentLoss

    def builder(self, learns_labels: bool = True, compiled: bool = True, **settings) -> BackendBuilder:
        matching = MatchingSettings(**settings)
        return BackendBuilder(self.network, self.loss, learns_labels, matching, self.start.device, compiled)

    def to(self, dtype: torch.dtype, device: str = "cpu") -> Toy:
        """The same numbers in another type, on another device."""
        start, target, *loss = (
            tensor.to(device, dtype) for tensor in (self.start, self.target, self.loss.weights, self.loss.adjustment)
        )
        synthetic = self.synthetic.map(by=lambda tensor: tensor.to(device, dtype))
        batches = [StudentBatch(batch.indices.to(device), batch.augmentation) for batch in self.batches]
        return Toy(self.network, start, target, synthetic, batches, StudentLoss(*loss))

    def plain_rep(self, matched: slice, learns_labels: bool, exact: bool) -> PhaseGradient:
        """Phase rep by plain autograd."""
        return match_plainly(
            self.start,
            self.target,
            moved=self.network.everything,
            matched=matched,
            loss=self.builder(learns_labels, compiled=False).step_loss(),
            synthetic=self.synthetic,
            batches=self.batches,
            hold_later_weights=not exact,
        )

    def plain_cls(self, exact: bool) -> PhaseGradient:
        """Phase cls by plain autograd: soft cross-entropy on learnt labels, and nothing but the classifier moves."""
        classifier = self.network.classifier

        def loss(theta: torch.Tensor, images: torch.Tensor, label_logits: torch.Tensor) -> torch.Tensor:
            return soft_cross_entropy(self.network(theta, images), label_logits.softmax(dim=1))

        return match_plainly(
            self.start,
            torch.cat([self.start[self.network.backbone], self.target[classifier]]),
            moved=classifier,
            matched=classifier,
            loss=loss,
            synthetic=self.synthetic,
            batches=self.batches,
            hold_later_weights=not exact,
        )


def toy(augmentation=("scale",), *, batch_size=4, side=8, width=4, depth=2, arch="convnet") -> Toy:
    """Images of `side` pixels; in torch's default type."""
    dtype = torch.get_default_dtype()
    shape = {"channels": CHANNELS, "classes": CLASSES, "image_size": side, "width": width, "depth": depth}
    module = build_network(arch, seed=0, **shape).to(dtype)
    network = FlatNetwork(module)
    draw = torch.Generator().manual_seed(1)
    # Fresh norms have scale 1 and shift 0, which would hide a factor that is left out.
    start = network.flatten(module)
    start = start + 0.05 * torch.randn(start.shape, generator=draw)
    synthetic = Synthetic(
        torch.randn(CLASSES * IPC, CHANNELS, side, side, generator=draw),
        torch.randn(CLASSES * IPC, CLASSES, generator=draw),
        torch.tensor(0.3),
    )
    batches = student_batches(STEPS, CLASSES * IPC, batch_size, side, augmentation, draw, torch.device("cpu"))
    loss = StudentLoss(torch.tensor([1.8, 0.9, 0.3]), torch.tensor([-0.5, -1.0, -2.0]))
    target = start + 0.1 * torch.randn(start.shape, generator=draw)
    return Toy(network, start, target, synthetic, batches, loss)


def toy_teacher(side: int = 12) -> tuple[Teacher, Any]:
    """Two networks, in float64, and 7, 4 and 2 real images of their classes.

    At side 12 the second convolution is given 6x6 pixels, no multiple of a patch of recovery.
    """
    module = build_network("convnet", channels=2, classes=CLASSES, image_size=side, width=4, depth=2, seed=0).double()
    network, draw = FlatNetwork(module), torch.Generator().manual_seed(1)
    start = network.flatten(module)
    weights = [start + 0.2 * torch.randn(start.shape, generator=draw, dtype=torch.float64) for _ in range(2)]
    labels = torch.tensor([0] * 7 + [1] * 4 + [2] * 2)
    pixels = torch.rand(len(labels), 2, side, side, generator=draw, dtype=torch.float64)
    whitening = Whitening.fit(pixels, "corrected", 0.1)
    images = whitening.train(pixels)
    data = SimpleNamespace(train_images=images, train_labels=labels, whitening=whitening, num_classes=CLASSES)
    return Teacher(network, weights, []), data


def assert_equal(one: PhaseGradient, other: PhaseGradient, within: float = 1e-10) -> None:
    """Equal up to rounding: entry by entry in float64, as a whole in float32, where small entries are noise."""
    for name in ("images", "label_logits", "beta"):
        a, b = getattr(one.gradient, name), getattr(other.gradient, name)
        if within < 1e-8:
            assert torch.allclose(a, b, rtol=within, atol=1e-12), (name, (a - b).abs().max())
        else:
            assert (a - b).norm() <= within * b.norm(), (name, (a - b).norm() / b.norm())
    assert torch.allclose(one.loss, other.loss, rtol=within)
