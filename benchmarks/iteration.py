"""An outer iteration, plain against fast: python -m benchmarks.iteration [--device cuda]

ConvNet of width 128 and depth 3 on 32x32, IPC 10, batches of 100, 8 + 8 student steps, published gradient, all of DSA.
Each form is a process of its own, with the C library's memory as that form's user has it, and each takes one iteration
in turn. Writes iteration-float32.json, iteration-bf16.json and, on a GPU, iteration-tf32.json: medians, the ratio to
the plain form (float32 on a CPU, TF32 on a GPU: as the field's code), shares of this machine's ceilings, and how far
the gradient of each phase is from the plain form's in float32.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from benchmarks.record import (
    Worker,
    interleaved,
    parser,
    plain_precision,
    precisions,
    timed,
    workers,
    write_forms_record,
)
from engine.device import keep_freed_memory
from engine.losses import StudentLoss
from engine.matching.matcher import Matcher, PlainMatcher
from engine.matching.synthetic import Synthetic
from engine.nets import build_network
from engine.nets.functional import FlatNetwork, matmul_precision
from engine.run.datasets import class_counts
from engine.run.network_cost import network_cost
from engine.run.settings import Precision, RunSettings
from engine.trajectories import Trajectory

CLASSES, IPC, EPOCHS = 10, 10, 4
NET: dict[str, Any] = {"channels": 3, "classes": CLASSES, "image_size": 32, "width": 128, "depth": 3}
# Which matcher, in which precision, compiled or not, with freed memory kept (as the worker does) or given back.
FORMS: dict[str, tuple[type[Matcher], Precision, bool, bool]] = {
    "plain": (PlainMatcher, "float32", False, False),
    "plain, memory kept": (PlainMatcher, "float32", False, True),
    "eager": (Matcher, "float32", False, True),
    "float32": (Matcher, "float32", True, True),
    "tf32": (Matcher, "tf32", True, True),
    "bf16": (Matcher, "bf16", True, True),
}


def main() -> None:
    """Measures, prints a line a precision, and writes the records."""
    options = parser(__doc__, rounds=5).parse_args()
    torch.set_num_threads(options.threads)
    if options.serve:
        return _serve(options)
    own = precisions(torch.device(options.device))
    forms = [name for name, (_, precision, *_) in FORMS.items() if precision in own]
    with workers("benchmarks.iteration", forms, options) as by_form:
        errors = _errors(by_form, own)
        seconds = interleaved(by_form, options.rounds)
    for precision in own:
        work = _operations(_steps(options))
        name = f"iteration-{precision}"
        write_forms_record(name, options, seconds, precision, precision, work, gradient_error=errors[precision])
        print(f"  gradient against the plain form's: {json.dumps(errors[precision])}")


def _steps(options: argparse.Namespace) -> int:
    """Student steps in each phase."""
    return 1 if options.dry else 8


def _operations(steps: int) -> float:
    """The fewest operations that the mathematics needs, nothing computed twice: the convolutions of both phases.

    Forward, gradient, tangents and their reverse pass: the first convolution seven times, the others nine times.
    """
    first, *others = (layer.flops for layer in network_cost("convnet", **NET).convolutions)
    return steps * CLASSES * IPC * (7.0 * first + 9.0 * sum(others))


def _gradients(worker: Worker) -> dict[str, Tensor]:
    """A form's gradient of each phase by itself: d loss in images and labels, one vector."""
    with tempfile.TemporaryDirectory() as folder:
        worker.ask(f"{folder}/gradients.pt")
        return torch.load(f"{folder}/gradients.pt", weights_only=True)


def _errors(
    by_form: Mapping[str, Worker], own_precisions: Iterable[Precision]
) -> dict[str, dict[str, dict[str, float]]]:
    """By precision and phase: relative error and cosine against the plain form."""
    reference = _gradients(by_form["plain"])

    def error(gradient: Tensor, true: Tensor) -> dict[str, float]:
        cosine = torch.dot(gradient, true) / (gradient.norm() * true.norm())
        return {"relative": float((gradient - true).norm() / true.norm()), "cosine": float(cosine)}

    return {
        precision: {phase: error(own, reference[phase]) for phase, own in _gradients(by_form[precision]).items()}
        for precision in own_precisions
    }


def _serve(options: argparse.Namespace) -> None:
    """The worker: an empty line asks for a round's seconds, another for both gradients in a file of that name."""
    kind, precision, compiled, keeps = FORMS[options.serve]
    if keeps:
        keep_freed_memory()
    device = torch.device(options.device)
    case = _Case(device, _steps(options))
    # The plain form's gradient is the reference in float32; its time is that of what the field's code has.
    matcher = case.matcher(kind, compiled, precision=plain_precision(device) if kind is PlainMatcher else precision)
    for path in map(str.strip, sys.stdin):
        if not path:
            print(timed(lambda: case.gradient(matcher), device), flush=True)
        else:
            phases = {"rep": (1.0, 0.0), "cls": (0.0, 1.0)}
            apart = {
                phase: case.gradient(case.matcher(kind, compiled, precision=precision, lambda_rep=rep, lambda_cls=cls))
                for phase, (rep, cls) in phases.items()
            }
            torch.save(apart, path)
            print("done", flush=True)


class _Case:
    """Random experts, whose epochs are as far apart as real ones', and a random synthetic set."""

    def __init__(self, device: torch.device, steps: int) -> None:
        self._device = device
        self._matching = {"syn_steps": steps, "syn_steps_cls": steps, "batch_syn": CLASSES * IPC, "max_start_epoch": 2}
        draw = torch.Generator().manual_seed(0)
        module = build_network("convnet", seed=0, **NET)
        self._network = FlatNetwork(module)
        start = self._network.flatten(module)
        moves = torch.randn(EPOCHS, len(start), generator=draw).cumsum(0) * 0.02 * start.norm() / len(start) ** 0.5
        self._weights = start + torch.cat([torch.zeros(1, len(start)), moves])
        images = torch.randn(CLASSES * IPC, 3, 32, 32, generator=draw)
        labels = torch.randn(CLASSES * IPC, CLASSES, generator=draw)
        self._synthetic = Synthetic(images, labels, torch.tensor(0.01)).map(by=lambda tensor: tensor.to(device))

    def matcher(self, kind: type[Matcher], compiled: bool, **matching: Any) -> Matcher:
        settings = RunSettings.model_validate({"ipc": IPC, "matching": self._matching | matching})
        counts = class_counts(5000, 100, CLASSES)
        loss = StudentLoss.of(settings.traits, settings.matching, counts, self._synthetic.images)
        none = torch.zeros(CLASSES)
        experts = Trajectory(self._weights, none, none)
        classifiers = Trajectory(self._weights[:, self._network.classifier], none, none)
        return kind(
            settings.matching,
            settings.traits,
            self._network,
            [experts],
            [classifiers],
            loss,
            settings.dataset.augmentation,
            self._device,
            compiled,
        )

    def gradient(self, matcher: Matcher) -> Tensor:
        """The iteration's gradient as one vector, on the CPU."""
        # The same kinds of augmentation in every round: some cost more than others.
        with matmul_precision(matcher.settings.precision, self._device):
            gradient = matcher.gradient(self._synthetic, 0, torch.Generator().manual_seed(0)).gradient
        return torch.cat([gradient.images.flatten(), gradient.label_logits.flatten()]).cpu().double()


if __name__ == "__main__":
    main()
