"""The stages of a run, timed on made-up images of a few shapes.

It is the stages themselves that are timed: what becomes faster in them becomes faster in the estimates, of itself.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from engine.context import Clock, Context
from engine.data.dataset import LongTailedData
from engine.data.whitening import Whitening
from engine.fitting import Reading
from engine.losses import StudentLoss
from engine.matching.batches import Synthetic
from engine.matching.iteration import Matcher
from engine.run.costs import network_cost
from engine.run.events import Event, ExpertEpoch, MatchingStep
from engine.run.folder import RunFolder, write_atomically
from engine.run.rates import Work
from engine.run.settings import RunSettings
from engine.stages.classifier_experts import train_classifier_experts
from engine.stages.distill import distill
from engine.stages.experts import representation_store, train_experts
from engine.training.accuracy import per_class_accuracy
from engine.training.fresh import fresh_network
from engine.training.from_scratch import TrainingSet, train_from_scratch
from engine.trajectories import Trajectory

CLASSES = 10
EPOCHS, ITERATIONS = 3, 3
TESTED_BATCHES = 4


@dataclass(frozen=True)
class Shape:
    """Images (channels, side, side) in batches of `batch` on a ConvNet; `steps` are timed at a time."""

    channels: int
    side: int
    width: int
    depth: int
    batch: int
    steps: int

    def work(self, images: int) -> Work:
        """One forward pass of so many images."""
        size = {"image_size": self.side, "width": self.width, "depth": self.depth}
        return network_cost("convnet", channels=self.channels, classes=CLASSES, **size).work(images)


def shapes(device: torch.device) -> list[Shape]:
    """One that waits for launches, one for memory and one for arithmetic, each of a second or a few."""
    tiny, narrow, wide = Shape(1, 8, 32, 2, 30, 10), Shape(3, 32, 32, 3, 60, 2), Shape(3, 32, 128, 3, 20, 2)
    if device.type == "cuda":
        return [tiny, replace(narrow, batch=250, steps=5), replace(wide, batch=250, steps=5)]
    return [tiny, narrow, wide]


def step_readings(shape: Shape, device: torch.device) -> Iterator[Reading]:
    """Every kind of step, timed at a shape."""
    with _scratch() as folder:
        timed = _Timed(shape, device, folder)
        yield from timed.training()
        yield from timed.matching()


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for what the stages write, the experts in their cache among it; nothing of it stays."""
    before = os.environ.get("LTDD_CACHE")
    with tempfile.TemporaryDirectory(prefix="ltdd-calibration-") as folder:
        os.environ["LTDD_CACHE"] = folder
        try:
            yield Path(folder)
        finally:
            os.environ.pop("LTDD_CACHE")
            if before is not None:
                os.environ["LTDD_CACHE"] = before


@dataclass
class _Timed:
    shape: Shape
    device: torch.device
    folder: Path
    experts: tuple[list[Trajectory], list[Trajectory]] = ([], [])
    heard: list[tuple[float, Event]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.settings = _settings(self.shape)
        self.data = _made_up(self.shape, self.device)
        self.network, self.theta = fresh_network(self.settings, self.data, "convnet")

    def training(self) -> Iterator[Reading]:
        """Experts, classifier experts, evaluation and testing."""
        context, data, batch = self._context(self.settings), self.data, self.shape.work(self.shape.batch)
        representation = train_experts(context, data, self.network)
        yield Reading("train", batch, self._epoch_seconds() / self.shape.steps)
        store = representation_store(context, data)
        self.experts = representation, train_classifier_experts(context, data, self.network, representation, store)
        yield Reading("classifier", batch, self._epoch_seconds() / self.shape.steps)
        images, labels = (
            tensor.repeat_interleave(TESTED_BATCHES, 0)
            for tensor in (self._start().images, data.train_labels[:: self.shape.steps])
        )
        tested = seconds_of(lambda: per_class_accuracy(self.network, self.theta, images, labels), self.device)
        yield Reading("test", self.shape.work(len(images)), tested)
        subset = TrainingSet(self._start().images, self._start().label_logits.softmax(1), 0.01)
        trained = seconds_of(lambda: train_from_scratch(context, data, [subset], "convnet", [("timed",)]), self.device)
        yield Reading("evaluate", batch, trained / self.settings.evaluate.epochs)

    def matching(self) -> Iterator[Reading]:
        """Student steps of phase rep with both gradients, and of phase cls by what they add."""
        batch, steps = self.shape.work(self.shape.batch), self.shape.steps
        student = self._iteration("datm", syn_steps=steps)
        yield Reading("student", batch, student / steps)
        yield Reading("student_exact", batch, self._iteration("datm", syn_steps=steps, gradient="exact") / steps)
        more = 4 * steps
        both = self._iteration("ltdd", syn_steps=steps, syn_steps_cls=more)
        # No less than a forward pass of it can take, should noise have eaten the difference.
        yield Reading("head", batch, max(both - student, 0.1 * student) / more)

    def _iteration(self, method: str, **matching: Any) -> float:
        settings = _settings(self.shape, method, **matching)
        context, start = self._context(settings), self._start()
        matcher = Matcher(
            settings.matching,
            settings.traits,
            self.network,
            *self.experts,
            StudentLoss.of(settings.traits, settings.matching, self.data.class_counts, start.images),
            settings.dataset.augmentation,
            self.device,
            compiled=False,
        )
        self.heard.clear()
        for _ in distill(context, start, matcher):
            pass
        seconds = [event.seconds for _, event in self.heard if isinstance(event, MatchingStep)]
        return statistics.median(seconds[1:])

    def _epoch_seconds(self) -> float:
        """The median epoch since the last time; the first one only warms up."""
        ends = [at for at, event in self.heard if isinstance(event, ExpertEpoch)]
        self.heard.clear()
        return statistics.median(after - before for before, after in zip(ends, ends[1:], strict=False))

    def _context(self, settings: RunSettings) -> Context:
        folder = RunFolder(self.folder / "runs" / f"{time.monotonic_ns()}")
        write_atomically(folder.config, "")
        return Context(settings, folder, self.device, self._hear, lambda: None, Clock(folder))

    def _hear(self, event: Event) -> None:
        self.heard.append((time.monotonic(), event))

    def _start(self) -> Synthetic:
        images = self.data.train_images[:: self.shape.steps].clone()
        logits = torch.zeros(len(images), CLASSES, device=self.device)
        return Synthetic(images, logits, torch.tensor(0.01, device=self.device))


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Of the second call; what is built once is built in the first."""
    for _ in range(2):
        began = time.monotonic()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return time.monotonic() - began


def _settings(shape: Shape, method: str = "ltdd", **matching: Any) -> RunSettings:
    """A run of this shape in which nothing is learnt: the time of a step is not in its numbers."""
    still = {"image_lr": 0.0, "label_lr": 0.0, "beta_lr": 0.0, "max_start_epoch": 1}
    return RunSettings.model_validate(
        {
            "method": method,
            "ipc": shape.batch // CLASSES,
            "experts": {
                "width": shape.width,
                "depth": shape.depth,
                "num_experts": 1,
                "epochs": EPOCHS,
                "batch_size": shape.batch,
                "optimizer": "sgd",
            },
            "classifier_experts": {"epochs": EPOCHS, "batch_size": shape.batch},
            "matching": {"iterations": ITERATIONS, "batch_syn": shape.batch} | still | matching,
            "evaluate": {"epochs": 2 * shape.steps, "batch_size": shape.batch},
        }
    )


def _made_up(shape: Shape, device: torch.device) -> LongTailedData:
    count = shape.batch * shape.steps
    images = torch.rand(count, shape.channels, shape.side, shape.side, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(CLASSES).repeat_interleave(count // CLASSES)
    return LongTailedData(
        train_images=images.to(device),
        train_labels=labels.to(device),
        test_images=images[:: count // CLASSES].to(device),
        test_labels=labels[:: count // CLASSES].to(device),
        class_names=[str(label) for label in range(CLASSES)],
        class_counts=[count // CLASSES] * CLASSES,
        groups=["many"] * CLASSES,
        grouping="none",
        whitening=Whitening.fit(images, "none", 0.1),
        channels=shape.channels,
        image_size=shape.side,
        fingerprint="made up",
    )
