"""One evaluation, plain against fast: python -m benchmarks.evaluation [--device cuda]

Five fresh networks, each trained on the synthetic set alone and tested. Two sizes: CIFAR-10 at IPC 10 (a ConvNet of
width 128, 100 images, 1000 epochs, 10,000 test images), of which a round trains a few epochs, scaled to all; and the
quickstart's digits (width 32, 20 images of 8x8, 400 test images). Writes evaluation.json and evaluation-digits.json.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks import plain_training
from benchmarks.record import (
    Round,
    interleaved,
    parser,
    plain_precision,
    serve,
    timed,
    workers,
    write_forms_record,
)
from engine.device import keep_freed_memory
from engine.nets import build_network
from engine.nets.functional import FlatNetwork, matmul_precision
from engine.run.network_cost import NetworkCost, network_cost
from engine.training.accuracy import per_class_accuracy
from engine.training.batches import TrainingStream, augmented_batches
from engine.training.gradients import training_gradient
from engine.training.groups import group_size
from engine.training.sgd import Sgd, Step, TrainingState

NETWORKS, EPOCHS, CLASSES = 5, 1000, 10
SGD, RATE = Sgd(momentum=0.9, weight_decay=5e-4), 0.01


@dataclass(frozen=True)
class Size:
    """The networks and their images; a round trains `timed` epochs of `networks` networks."""

    channels: int
    side: int
    width: int
    depth: int
    images: int
    test_images: int
    timed: int
    networks: int = 1
    batch: int = 128

    @property
    def network(self) -> dict[str, Any]:
        """The ConvNet's shape."""
        shape = {"channels": self.channels, "classes": CLASSES, "image_size": self.side}
        return shape | {"width": self.width, "depth": self.depth}

    @property
    def cost(self) -> NetworkCost:
        """What one image costs."""
        return network_cost("convnet", **self.network)


SIZES = {"": Size(3, 32, 128, 3, 100, 10_000, timed=4), "-digits": Size(1, 8, 32, 2, 20, 400, timed=200)}
FORMS = ("plain", "plain, memory kept", "eager", "fast")


def main() -> None:
    """Measures both sizes, prints a line each, and writes the records."""
    options = parser(__doc__, rounds=5).parse_args()
    torch.set_num_threads(options.threads)
    if options.serve:
        form, _, name = options.serve.partition("/")
        return serve(make_round(form, _size(name, options), torch.device(options.device)))
    for name in SIZES:
        with workers("benchmarks.evaluation", [f"{form}/{name}" for form in FORMS], options) as by_form:
            seconds = interleaved(by_form, options.rounds)
        size, precision = _size(name, options), plain_precision(torch.device(options.device))
        write_forms_record(
            f"evaluation{name}",
            options,
            {served.partition("/")[0]: own for served, own in seconds.items()},
            "fast",
            precision,
            _operations(size),
            networks=NETWORKS,
            epochs_timed=size.timed,
        )


def _size(name: str, options: argparse.Namespace) -> Size:
    size = SIZES[name]
    if options.dry:
        return replace(size, width=8, images=20, test_images=50, timed=2)
    # A GPU trains all networks at once; a CPU one after another, so that one of them tells the time of all.
    return replace(size, networks=NETWORKS, timed=100) if options.device != "cpu" else size


def _operations(size: Size) -> float:
    """The fewest operations that the mathematics needs: convolutions of gradients, none to the images, and tests."""
    first, *others = (layer.flops for layer in size.cost.convolutions)
    training = EPOCHS * size.images * (2.0 * first + 3.0 * sum(others))
    return NETWORKS * (training + size.test_images * (first + sum(others)))


def make_round(form: str, size: Size, device: torch.device) -> Round:
    """A round trains some epochs of some networks and tests once; its seconds are scaled to the whole evaluation."""
    if form != "plain":
        keep_freed_memory()
    draw = torch.Generator().manual_seed(0)
    shape = (size.channels, size.side, size.side)
    images = torch.randn(size.images, *shape, generator=draw).to(device)
    targets = torch.randn(size.images, CLASSES, generator=draw).softmax(1).to(device)
    test = torch.randn(size.test_images, *shape, generator=draw).to(device)
    labels = torch.randint(CLASSES, (size.test_images,), generator=draw).to(device)
    evaluation = _Plain(size, device) if form.startswith("plain") else _Engine(size, device, form == "fast")

    def seconds() -> float:
        with matmul_precision(plain_precision(device), device):
            trained = timed(lambda: evaluation.train(images, targets), device)
            tested = timed(lambda: evaluation.test(test, labels), device)
        return NETWORKS * (trained * EPOCHS / size.timed / size.networks + tested)

    return seconds


class _Plain:
    """Networks one after another, each in the straightforward loop."""

    def __init__(self, size: Size, device: torch.device) -> None:
        self._size = size
        self._net = build_network("convnet", seed=0, **size.network).to(device)

    def train(self, images: Tensor, targets: Tensor) -> None:
        for _ in range(self._size.networks):
            rule = {"momentum": SGD.momentum, "weight_decay": SGD.weight_decay}
            optimizer = torch.optim.SGD(self._net.parameters(), RATE, **rule)
            draw = torch.Generator().manual_seed(0)
            for _ in range(self._size.timed):
                for batch, wanted in plain_training.shuffled(images, targets, self._size.batch, draw):
                    plain_training.step(self._net, optimizer, batch, wanted, None)

    def test(self, images: Tensor, labels: Tensor) -> None:
        with torch.no_grad():
            right = torch.cat([self._net(batch).argmax(1) for batch in images.split(500)]) == labels
            F.one_hot(labels[right], CLASSES).sum(0).tolist()


class _Engine:
    """The engine's own steps and groups."""

    def __init__(self, size: Size, device: torch.device, compiled: bool) -> None:
        self._size = size
        module = build_network("convnet", seed=0, **size.network)
        self._network = FlatNetwork(module)
        self._theta = self._network.flatten(module).to(device)
        self._group = group_size(size.networks, size.cost, min(size.images, size.batch), device)
        self._gradient = training_gradient(self._network, self._group, device, compiled)

    def train(self, images: Tensor, targets: Tensor) -> None:
        for _ in range(math.ceil(self._size.networks / self._group)):
            trainees = TrainingState.started([self._theta] * self._group, [RATE] * self._group)
            step = Step(trainees, self._gradient, SGD)
            draws = [torch.Generator().manual_seed(0) for _ in range(self._group)]
            size = self._size
            streams = [TrainingStream.shuffled(images, targets, size.batch, size.timed, draw) for draw in draws]
            for batch, wanted in augmented_batches(streams, plain_training.DSA):
                step(batch, wanted)

    def test(self, images: Tensor, labels: Tensor) -> None:
        per_class_accuracy(self._network, self._theta, images, labels)


if __name__ == "__main__":
    main()
