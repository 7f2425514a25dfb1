"""`python -m engine calibrate`: ten seconds of real work on this machine, from which its estimates are made."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from engine.compilation import why_not_compile
from engine.context import Clock, Context
from engine.data.dataset import LongTailedData
from engine.data.image_files import read_images
from engine.data.whitening import Whitening
from engine.device import read_device
from engine.losses import StudentLoss
from engine.manifest import device_name
from engine.matching.matcher import Matcher
from engine.matching.synthetic import Synthetic
from engine.nets import build_network
from engine.nets.functional import FlatNetwork
from engine.nets.native import why_not_build
from engine.run.device_profiles import (
    COMPILE_SECONDS_A_LAYER,
    Calibration,
    Rate,
    Step,
    torch_version,
    write_calibration,
)
from engine.run.events import Event, ExpertEpoch, MatchingStep, StageStarted
from engine.run.folder import RunFolder, write_atomically
from engine.run.network_cost import TEST_IMAGES_AT_ONCE, Work, network_cost
from engine.run.settings import RunSettings
from engine.stages.distill import distill
from engine.stages.experts import representation_store, train_classifier_experts, train_experts
from engine.training.accuracy import per_class_accuracy
from engine.training.from_scratch import TrainingSet, cost_of, fresh_network, train_from_scratch
from engine.training.gradients import group_size
from engine.trajectories import Trajectory

# Rates from steps that were timed.


@dataclass(frozen=True)
class Reading:
    """A step that was timed: its kind, its work, its seconds, and whether it was compiled."""

    step: Step
    work: Work
    seconds: float
    compiled: bool = False


def fit(readings: Sequence[Reading]) -> Rate:
    """The rate with the least squared relative errors among those that are nowhere negative."""
    # Each row over its seconds: a step of a millisecond counts as much as one of a second.
    rows = np.array([reading.work.amounts for reading in readings]) / [[reading.seconds] for reading in readings]
    scales = np.where(rows.any(axis=0), np.linalg.norm(rows, axis=0), 1.0)
    best, least = np.zeros(3), float(len(rows))
    # Three unknowns: trying every set of those that are not zero is a whole solver for non-negative least squares.
    for size in (1, 2, 3):
        for chosen in map(list, itertools.combinations(range(3), size)):
            found = np.zeros(3)
            found[chosen] = np.linalg.lstsq(rows[:, chosen] / scales[chosen], np.ones(len(rows)), rcond=None)[0]
            error = float(np.square(rows @ (found / scales) - 1).sum())
            if found.min() >= 0 and error < least - 1e-12:
                best, least = found / scales, error
    return Rate(*best.tolist())


# The stages of a run, timed on made-up images of a few shapes.
#
# It is the stages themselves that are timed: what becomes faster in them becomes faster in the estimates, of itself.


CLASSES = 10
EPOCHS, ITERATIONS = 2, 3
# Once to warm up, then twice; the fastest counts, since whatever else a machine does only makes it slower.
SEEDS = (0, 1, 2)
MOST_AT_ONCE = 16


@dataclass(frozen=True)
class Shape:
    """Images (channels, side, side) in batches of `batch` on a ConvNet; so many steps are timed at a time."""

    channels: int
    side: int
    width: int
    depth: int
    batch: int
    steps: int
    student_steps: int

    def work(self, images: int) -> Work:
        """One forward pass of so many images."""
        size = {"image_size": self.side, "width": self.width, "depth": self.depth}
        return network_cost("convnet", channels=self.channels, classes=CLASSES, **size).work(images)


def shapes(device: torch.device) -> list[Shape]:
    """One that waits for launches, one for memory and one for arithmetic, each of a second or a few."""
    tiny, narrow, wide = Shape(1, 8, 32, 2, 30, 10, 5), Shape(3, 32, 32, 3, 60, 2, 1), Shape(3, 32, 128, 3, 20, 2, 1)
    if device.type == "cuda":
        return [tiny, *(replace(shape, batch=250, steps=5, student_steps=5) for shape in (narrow, wide))]
    return [tiny, narrow, wide]


def step_readings(shape: Shape, device: torch.device, compiler: bool) -> Iterator[Reading]:
    """Every kind of step, timed at a shape; `compiler`: in its compiled form, too."""
    with _scratch() as folder:
        timed = _Timed(shape, device, folder)
        for compiled in (False, True)[: 1 + compiler]:
            yield from timed.training(compiled)
            yield from timed.classifying(compiled)
            yield from timed.matching(compiled)
        yield timed.testing()


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
        self.data = _made_up(self.shape, self.device)
        self.network, self.theta = fresh_network(_settings(self.shape), self.data, "convnet")
        # So many networks are trained at once; a rate is for one of them.
        cost = cost_of(_settings(self.shape), self.data, "convnet")
        self.group = group_size(MOST_AT_ONCE, cost, self.shape.batch, self.device)

    def training(self, compiled: bool) -> Iterator[Reading]:
        """Steps of experts and of evaluations."""
        for seed in SEEDS:
            context = self._context(_settings(self.shape, compiled, seed=seed, experts=self.group))
            self.experts = train_experts(context, self.data, self.network), self.experts[1]
        yield self._reading("train", self._step_seconds() / self.group, compiled)
        start, names = self._start(), [("timed", number) for number in range(self.group)]
        subsets = [TrainingSet(start.images, start.label_logits.softmax(1), 0.01)] * self.group
        work = functools.partial(train_from_scratch, context, self.data, subsets, "convnet", names)
        epochs = context.settings.evaluate.epochs * self.group
        yield self._reading("evaluate", seconds_of(work, self.device) / epochs, compiled)

    def classifying(self, compiled: bool) -> Iterator[Reading]:
        """Steps of classifier experts."""
        representation = self.experts[0]
        for seed in SEEDS:
            context = self._context(_settings(self.shape, compiled, seed=seed))
            store = representation_store(context, self.data)
            heads = train_classifier_experts(context, self.data, self.network, representation[:1], store)
        self.experts = representation, heads
        yield self._reading("classifier", self._step_seconds(), compiled)

    def testing(self) -> Reading:
        """A forward pass of test images, in the one form there is."""
        batches, at_once = 2, TEST_IMAGES_AT_ONCE[self.device.type]
        images = self.data.train_images[:1].repeat(batches * at_once, 1, 1, 1)
        labels = torch.zeros(len(images), dtype=torch.long, device=self.device)
        tested = seconds_of(lambda: per_class_accuracy(self.network, self.theta, images, labels), self.device)
        return Reading("test", self.shape.work(at_once), tested / batches)

    def matching(self, compiled: bool) -> Iterator[Reading]:
        """Student steps of phase rep with both gradients, and of phase cls by what they add."""
        steps = self.shape.student_steps
        student = self._iteration("datm", compiled, syn_steps=steps)
        yield self._reading("student", student / steps, compiled)
        exact = self._iteration("datm", compiled, syn_steps=steps, gradient="exact")
        yield self._reading("student_exact", exact / steps, compiled)
        more = 4 * steps
        both = self._iteration("ltdd", compiled, syn_steps=steps, syn_steps_cls=more)
        # No less than a forward pass of it can take, should noise have eaten the difference.
        yield self._reading("head", max(both - student, 0.1 * student) / more, compiled)

    def _reading(self, step: Step, seconds: float, compiled: bool) -> Reading:
        return Reading(step, self.shape.work(self.shape.batch), seconds, compiled)

    def _iteration(self, method: str, compiled: bool, **matching: Any) -> float:
        settings = _settings(self.shape, method=method, **matching)
        context, start = self._context(settings), self._start()
        matcher = Matcher(
            settings.matching,
            settings.traits,
            self.network,
            *self.experts,
            StudentLoss.of(settings.traits, settings.matching, self.data.class_counts, start.images),
            settings.dataset.augmentation,
            self.device,
            compiled,
        )
        self.heard.clear()
        for _ in distill(context, start, matcher):
            pass
        return min(event.seconds for _, event in self.heard if isinstance(event, MatchingStep))

    def _step_seconds(self) -> float:
        """A mean step of the fastest training; batches are prepared ahead, so that no epoch is as long as another."""
        seconds, began = [], 0.0
        for at, event in self.heard:
            if isinstance(event, StageStarted):
                began = at
            elif isinstance(event, ExpertEpoch) and event.epoch == event.epochs:
                seconds.append(at - began)
        self.heard.clear()
        return min(seconds) / (EPOCHS * self.shape.steps)

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
    """Of the fastest of some calls."""
    seconds = []
    for _ in SEEDS:
        began = time.monotonic()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.monotonic() - began)
    return min(seconds)


def _settings(
    shape: Shape, compiled: bool = False, seed: int = 0, experts: int = 1, method: str = "ltdd", **matching: Any
) -> RunSettings:
    """A run of this shape in which nothing is learnt: the time of a step is not in its numbers."""
    still = {"image_lr": 0.0, "label_lr": 0.0, "beta_lr": 0.0, "max_start_epoch": 1}
    return RunSettings.model_validate(
        {
            "method": method,
            "seed": seed,
            "ipc": shape.batch // CLASSES,
            "experts": {
                "width": shape.width,
                "depth": shape.depth,
                "num_experts": experts,
                "epochs": EPOCHS,
                "batch_size": shape.batch,
                "optimizer": "sgd",
            },
            "classifier_experts": {"epochs": EPOCHS, "batch_size": shape.batch},
            "matching": {"iterations": ITERATIONS, "batch_syn": shape.batch} | still | matching,
            "evaluate": {"epochs": 2 * shape.steps, "batch_size": shape.batch},
            "compile": "always" if compiled else "never",
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


PRESSURE = Path("/proc/pressure/cpu")
FILES, FILE_SIDE = 256, 32
MATRIX_SIDE, EIGEN_SIDE = 1024, 512
# All that a run compiles, a layer, against the features of a network of one layer that are compiled here.
UNITS_A_LAYER = 15.0


def calibrate(device: torch.device, compiler: bool) -> Calibration:
    """Times steps of every kind and keeps the rates in the cache; `compiler`: how long compiling takes, too."""
    began, waited = time.monotonic(), _waited()
    tiny, *others = shapes(device)
    # Before anything else, and into the cache, where it is then ready for runs.
    compiles = (why_not_build() if device.type == "cpu" else why_not_compile(device)) is None
    readings = list(step_readings(tiny, device, compiles))
    before = read_device(device)  # before anything large
    for shape in others:
        readings += step_readings(shape, device, compiles)
    readings += data_readings(device)
    rates, compiled_rates = (_fitted(readings, compiled) for compiled in (False, True))
    rates["compile"] = Rate(layer=compile_seconds(device) if compiler else COMPILE_SECONDS_A_LAYER)
    seconds = time.monotonic() - began
    found = Calibration(
        device=str(device),
        device_name=device_name(device),
        threads=torch.get_num_threads(),
        torch=torch_version(),
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(seconds, 1),
        waited=round((_waited() - waited) / seconds, 2),
        compiler=compiler,
        runtime_gib=round(before.memory_gib, 3),
        rates=rates,
        compiled_rates=compiled_rates,
        memory_gib=round(before.memory_total_gib, 1),
    )
    write_calibration(found, [asdict(reading) for reading in readings])
    return found


def _fitted(readings: Sequence[Reading], compiled: bool) -> dict[Step, Rate]:
    by_step: dict[Step, list[Reading]] = {}
    for reading in readings:
        if reading.compiled == compiled:
            by_step.setdefault(reading.step, []).append(reading)
    return {step: fit(own) for step, own in by_step.items()}


def _waited() -> float:
    """Seconds in which something on this machine waited for a processor, as Linux counts them; 0 where nobody does."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(PRESSURE.read_text().splitlines()[0].rpartition("=")[2]) / 1e6
    return 0.0


def data_readings(device: torch.device) -> Iterator[Reading]:
    """Reading an image file, and the linear algebra of whitening, where a run does it."""
    with tempfile.TemporaryDirectory(prefix="ltdd-calibration-") as folder:
        files = [Path(folder) / f"{number}.png" for number in range(FILES)]
        for file in files:
            Image.frombytes("RGB", (FILE_SIDE, FILE_SIDE), random.Random(0).randbytes(3 * FILE_SIDE**2)).save(file)
        yield Reading("decode", Work(layers=FILES), seconds_of(lambda: read_images(files, FILE_SIDE), device))
    matrix = torch.rand(MATRIX_SIDE, MATRIX_SIDE, device=device, dtype=torch.float64)
    products = Work(flops=2.0 * MATRIX_SIDE**3)
    yield Reading("covariance", products, seconds_of(lambda: matrix.T @ matrix, device))
    single, small = matrix.float(), (matrix + matrix.T)[:EIGEN_SIDE, :EIGEN_SIDE].contiguous()
    yield Reading("whiten", products, seconds_of(lambda: single @ single, device))
    yield Reading("eigen", Work(flops=float(EIGEN_SIDE) ** 3), seconds_of(lambda: torch.linalg.eigh(small), device))


def compile_seconds(device: torch.device) -> float:
    """Of one layer of a student's steps, from compiling something small that this machine has not compiled before."""
    if why_not_compile(device):
        return 0.0
    width = random.SystemRandom().randrange(64, 1024)
    shape = {"channels": 3, "classes": 10, "image_size": 8, "depth": 1}
    module = build_network("convnet", width=width, seed=0, **shape)
    network = FlatNetwork(module)
    theta, images = network.flatten(module).to(device), torch.rand(4, 3, 8, 8, device=device)
    features = torch.compile(network.features, dynamic=False)
    began = time.monotonic()
    with torch.no_grad():
        features(theta, images)
    return UNITS_A_LAYER * (time.monotonic() - began)
