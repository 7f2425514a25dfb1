"""An epoch of an expert with GSAM, plain against fast: python -m benchmarks.expert_epoch [--device cuda]

CIFAR-10-LT at IF 100: 12,406 images of 3x32x32, a ConvNet of width 128 and depth 3, batches of 256, all of DSA. A round
is a few of the epoch's 49 steps, scaled to all of it. Writes expert_epoch.json (float32), expert_epoch-bf16.json and,
on a GPU, where the plain loop has TF32 as the field's code, expert_epoch-tf32.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks import plain_training
from benchmarks.record import (
    Round,
    interleaved,
    parser,
    plain_precision,
    precisions,
    serve,
    timed,
    workers,
    write_forms_record,
)
from engine.device import keep_freed_memory
from engine.nets import build_network
from engine.nets.functional import FlatNetwork, matmul_precision
from engine.run.datasets import class_counts
from engine.run.network_cost import network_cost
from engine.run.settings import Precision
from engine.training.batches import TrainingStream, augmented_batches
from engine.training.gradients import training_gradient
from engine.training.sgd import Gsam, Sgd, Step, TrainingState

GSAM, SGD, RATE = Gsam(0.01, 0.3), Sgd(momentum=0.0, weight_decay=5e-3), 0.01


@dataclass(frozen=True)
class Form:
    """`precision`: None is the plain loop. `keeps`: freed memory is kept, as the worker does it."""

    precision: Precision | None
    keeps: bool = True
    compiled: bool = True


FORMS = {
    "plain": Form(None, keeps=False),
    "plain, memory kept": Form(None),
    "eager": Form("float32", compiled=False),
    "float32": Form("float32"),
    "tf32": Form("tf32"),
    "bf16": Form("bf16"),
}


@dataclass(frozen=True)
class Size:
    """What is trained, and how many steps are timed in a round."""

    images: int = sum(class_counts(5000, 100, 10))
    width: int = 128
    batch: int = 256
    steps: int = 2

    @property
    def network(self) -> dict[str, Any]:
        """The ConvNet on CIFAR-10."""
        return {"channels": 3, "classes": 10, "image_size": 32, "width": self.width, "depth": 3}

    @property
    def epoch(self) -> float:
        """How many rounds an epoch has."""
        return self.images / (self.steps * self.batch)


def size(options: argparse.Namespace) -> Size:
    """The work that is timed; with --dry a tiny one."""
    return Size(images=64, width=8, batch=16) if options.dry else Size(steps=10 if options.device != "cpu" else 2)


def main() -> None:
    """Measures, prints a line a precision, and writes the records."""
    options = parser(__doc__, rounds=7).parse_args()
    torch.set_num_threads(options.threads)
    if options.serve:
        return serve(make_round(FORMS[options.serve], size(options), torch.device(options.device)))
    own = precisions(torch.device(options.device))
    forms = [name for name, form in FORMS.items() if form.precision in (None, *own)]
    with workers("benchmarks.expert_epoch", forms, options) as by_form:
        seconds = interleaved(by_form, options.rounds)
    for precision in own:
        name = "expert_epoch" + ("" if precision == "float32" else f"-{precision}")
        work = size(options)
        write_forms_record(name, options, seconds, precision, precision, operations(work), steps_timed=work.steps)


def operations(work: Size) -> float:
    """The fewest operations that the mathematics needs: convolutions of GSAM's two gradients, none to the images."""
    first, *others = (layer.flops for layer in network_cost("convnet", **work.network).convolutions)
    return 2 * work.images * (2.0 * first + 3.0 * sum(others))


def make_round(form: Form, work: Size, device: torch.device) -> Round:
    """A round takes the next steps of an endless training; its seconds are scaled to a whole epoch."""
    if form.keeps:
        keep_freed_memory()
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(work.images, 3, 32, 32, generator=draw).to(device)
    labels = torch.randint(10, (work.images,), generator=draw).to(device)
    precision = form.precision or plain_precision(device)
    if form.precision is None:
        steps = _plainly(work, images, labels)
    else:
        steps = _fast(form.precision, form.compiled, work, images, labels)
    # The batch at an epoch's end is smaller: only whole ones are timed.

    def seconds() -> float:
        with matmul_precision(precision, device):
            return work.epoch * timed(lambda: [next(steps) for _ in range(work.steps)], device)

    return seconds


def _plainly(work: Size, images: torch.Tensor, labels: torch.Tensor) -> Iterator[object]:
    net = build_network("convnet", seed=0, **work.network).to(images.device)
    optimizer = torch.optim.SGD(net.parameters(), RATE, SGD.momentum, weight_decay=SGD.weight_decay)
    draw = torch.Generator().manual_seed(1)
    while True:
        for batch, wanted in plain_training.shuffled(images, labels, work.batch, draw):
            if len(batch) == work.batch:
                yield plain_training.step(net, optimizer, batch, wanted, GSAM)


def _fast(
    precision: Precision, compiled: bool, work: Size, images: torch.Tensor, labels: torch.Tensor
) -> Iterator[object]:
    module = build_network("convnet", seed=0, **work.network)
    network = FlatNetwork(module)
    trainees = TrainingState.started([network.flatten(module).to(images.device)], [RATE])
    gradient = training_gradient(network, 1, images.device, compiled, precision)
    step = Step(trainees, gradient, SGD, GSAM)
    # The same draws as the plain loop's, so that every round has its kinds of augmentation.
    source = TrainingStream.shuffled(images, labels, work.batch, 10**6, torch.Generator().manual_seed(1))
    for batch, wanted in augmented_batches([source], plain_training.DSA):
        if batch.shape[1] == work.batch:
            yield step(batch, wanted)


if __name__ == "__main__":
    main()
