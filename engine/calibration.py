"""`python -m engine calibrate`: times ten seconds of real work on this machine, for the estimates of its runs.

The stages themselves are timed, on random images of a few shapes. So whatever makes a stage faster makes the estimate
smaller, with nothing to change here.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.optimize import nnls

from engine.compilation import why_not_compile
from engine.context import Clock, Context
from engine.data.dataset import LongTailedData
from engine.data.decoding import read_images
from engine.data.whitening import Whitening
from engine.device import peak_memory_gib, total_memory_gib
from engine.manifest import device_name
from engine.matching.synthetic import Synthetic
from engine.nets import build_network
from engine.nets.functional import FlatNetwork
from engine.nets.norm_pool_cpp import why_not_build
from engine.run.device_profiles import (
    COMPILE_SECONDS_A_LAYER,
    Calibration,
    Rate,
    StepKind,
    built_in,
    is_degenerate,
    torch_version,
    write_calibration,
)
from engine.run.events import Event, ExpertEpoch, MatchingStep, StageStarted
from engine.run.folder import RunFolder, write_atomically
from engine.run.network_cost import TEST_IMAGES_AT_ONCE, Work, network_cost
from engine.run.settings import RunSettings
from engine.stages.distill import distill, student_matcher
from engine.stages.experts import train_classifier_experts, train_experts
from engine.training.accuracy import per_class_accuracy
from engine.training.from_scratch import TrainingSet, cost_of, fresh_network, train_from_scratch
from engine.training.groups import group_size
from engine.trajectories import Trajectory

CLASSES = 10
EPOCHS, ITERATIONS = 2, 3
REPEATS = 3
"""Once to warm up, then twice; the fastest counts, since other programs on the machine only make a step slower."""
MOST_AT_ONCE = 16
FILES, FILE_SIDE = 256, 32
MATRIX_SIDE, EIGEN_SIDE = 1024, 512
COMPILED_UNITS_A_LAYER = 15.0
"""What a run compiles for each layer, in units of compiling the features of a one-layer network, as is timed here."""


@dataclass(frozen=True)
class TimedStep:
    """A step that was timed: its kind, the work in it, its seconds, and whether it was compiled."""

    step: StepKind
    work: Work
    seconds: float
    compiled: bool = False


def calibrate(device: torch.device, compiler: bool) -> Calibration:
    """Times steps of every kind and saves their rates in the cache; `compiler`: also how long compiling takes."""
    began, waited = time.monotonic(), _seconds_waited_for_cpu()
    smallest, *others = shapes(device)
    # Built before anything is timed, and into the cache, where runs will find it.
    compiles = (why_not_build() if device.type == "cpu" else why_not_compile(device)) is None
    timed = list(time_stages(smallest, device, compiles))
    idle_gib = peak_memory_gib(device)  # what torch itself takes, so before any large tensor
    for shape in others:
        timed += time_stages(shape, device, compiles)
    timed += time_data_steps(device)
    by_form: dict[bool, dict[StepKind, list[TimedStep]]] = {False: {}, True: {}}
    for one in timed:
        by_form[one.compiled].setdefault(one.step, []).append(one)
    known, scaled = built_in(str(device)), set[StepKind]()
    rates, compiled_rates = dict[StepKind, Rate](), dict[StepKind, Rate]()
    for form, fitted, like in ((False, rates, known.rates), (True, compiled_rates, known.compiled_rates)):
        for step, own in by_form[form].items():
            fitted[step] = fit(own)
            if is_degenerate(str(device), step, fitted[step]):
                fitted[step] = scaled_to(own, like[step])
                scaled.add(step)
    rates["compile"] = Rate(layer=time_compiling_a_layer(device) if compiler else COMPILE_SECONDS_A_LAYER)
    seconds = time.monotonic() - began
    calibration = Calibration(
        device=str(device),
        device_name=device_name(device),
        threads=torch.get_num_threads(),
        torch=torch_version(),
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(seconds, 1),
        waited=round((_seconds_waited_for_cpu() - waited) / seconds, 2),
        compiler=compiler,
        runtime_gib=round(idle_gib, 3),
        rates=rates,
        compiled_rates=compiled_rates,
        memory_gib=round(total_memory_gib(device), 1),
        scaled=tuple(sorted(scaled)),
    )
    write_calibration(calibration, [asdict(one) for one in timed])
    return calibration


def fit(timed: Sequence[TimedStep]) -> Rate:
    """The rate with the least squared relative errors among those without a negative part."""
    # Rows are divided by their seconds: a step of a millisecond counts as much as one of a second.
    rows = np.array([astuple(one.work) for one in timed]) / [[one.seconds] for one in timed]
    # Columns are scaled too: layers, values and flops differ by many powers of ten.
    scales = np.where(rows.any(axis=0), np.linalg.norm(rows, axis=0), 1.0)
    scaled, _ = nnls(rows / scales, np.ones(len(rows)))
    return Rate(*(scaled / scales).tolist())


def scaled_to(timed: Sequence[TimedStep], like: Rate) -> Rate:
    """The rate `like`, as many times faster or slower as all the timed steps together were."""
    factor = sum(one.seconds for one in timed) / sum(like.seconds(one.work) for one in timed)
    return Rate(like.layer * factor, like.value * factor, like.flop * factor)


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest of a few calls of `work`."""
    seconds = []
    for _ in range(REPEATS):
        began = time.monotonic()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.monotonic() - began)
    return min(seconds)


def _seconds_waited_for_cpu() -> float:
    """Seconds in which something on this machine waited for a processor, as Linux counts them; elsewhere 0."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(Path("/proc/pressure/cpu").read_text().splitlines()[0].rpartition("=")[2]) / 1e6
    return 0.0


# --- Steps of the stages ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    """Random images (channels, side, side) in batches of `batch`, a ConvNet, and how many steps are timed at a time."""

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
    """One that waits for launches, one for memory and one for arithmetic, so that `fit` can tell the three apart."""
    tiny, narrow, wide = Shape(1, 8, 32, 2, 30, 10, 5), Shape(3, 32, 32, 3, 60, 2, 1), Shape(3, 32, 128, 3, 20, 2, 1)
    if device.type == "cuda":
        return [tiny, *(replace(shape, batch=250, steps=5, student_steps=5) for shape in (narrow, wide))]
    return [tiny, narrow, wide]


def time_stages(shape: Shape, device: torch.device, compiler: bool) -> Iterator[TimedStep]:
    """Every kind of step, timed at a shape; `compiler`: also in its compiled form."""
    own_cache = os.environ.get("LTDD_CACHE")
    with tempfile.TemporaryDirectory(prefix="ltdd-calibration-") as folder:
        # The experts that are trained here must not stay in the user's cache.
        os.environ["LTDD_CACHE"] = folder
        try:
            timer = _StageTimer(shape, device, Path(folder))
            for compiled in (False, True)[: 1 + compiler]:
                yield from timer.training(compiled)
                yield from timer.classifying(compiled)
                yield from timer.matching(compiled)
            yield timer.testing()
        finally:
            del os.environ["LTDD_CACHE"]
            if own_cache is not None:
                os.environ["LTDD_CACHE"] = own_cache


@dataclass
class _StageTimer:
    shape: Shape
    device: torch.device
    folder: Path
    experts: tuple[list[Trajectory], list[Trajectory]] = ([], [])
    events: list[tuple[float, Event]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.data = _random_data(self.shape, self.device)
        self.network, self.theta = fresh_network(_settings(self.shape), self.data, "convnet")
        # As many networks as a run would train at once; a rate is for one of them.
        cost = cost_of(_settings(self.shape), self.data, "convnet")
        self.group = group_size(MOST_AT_ONCE, cost, self.shape.batch, self.device)

    def training(self, compiled: bool) -> Iterator[TimedStep]:
        """Steps of representation experts and of evaluations."""
        for seed in range(REPEATS):  # another seed, so that nothing is taken from the cache
            context = self._context(_settings(self.shape, compiled, seed=seed, experts=self.group))
            self.experts = train_experts(context, self.data, self.network), self.experts[1]
        yield self._timed("train", self._expert_step_seconds() / self.group, compiled)
        start, names = self._start(), [("timed", number) for number in range(self.group)]
        sets = [TrainingSet(start.images, start.label_logits.softmax(1), 0.01)] * self.group
        work = functools.partial(train_from_scratch, context, self.data, sets, "convnet", names)
        epochs = context.settings.evaluate.epochs * self.group
        yield self._timed("evaluate", seconds_of(work, self.device) / epochs, compiled)

    def classifying(self, compiled: bool) -> Iterator[TimedStep]:
        """Steps of classifier experts."""
        representation = self.experts[0]
        for seed in range(REPEATS):
            context = self._context(_settings(self.shape, compiled, seed=seed))
            classifiers = train_classifier_experts(context, self.data, self.network, representation[:1])
        self.experts = representation, classifiers
        yield self._timed("classifier", self._expert_step_seconds(), compiled)

    def testing(self) -> TimedStep:
        """A forward pass of test images, which has no compiled form."""
        batches, at_once = 2, TEST_IMAGES_AT_ONCE[self.device.type]
        images = self.data.train_images[:1].repeat(batches * at_once, 1, 1, 1)
        labels = torch.zeros(len(images), dtype=torch.long, device=self.device)
        seconds = seconds_of(lambda: per_class_accuracy(self.network, self.theta, images, labels), self.device)
        return TimedStep("test", self.shape.work(at_once), seconds / batches)

    def matching(self, compiled: bool) -> Iterator[TimedStep]:
        """Student steps of phase rep with both gradients, and of phase cls, by what they add to an iteration."""
        steps = self.shape.student_steps
        published = self._iteration_seconds("datm", compiled, syn_steps=steps)
        yield self._timed("student", published / steps, compiled)
        exact = self._iteration_seconds("datm", compiled, syn_steps=steps, gradient="exact")
        yield self._timed("student_exact", exact / steps, compiled)
        classifier_steps = 4 * steps
        both = self._iteration_seconds("ltdd", compiled, syn_steps=steps, syn_steps_cls=classifier_steps)
        # Should noise have eaten the difference: no less than a forward pass of it can take.
        yield self._timed("head", max(both - published, 0.1 * published) / classifier_steps, compiled)

    def _timed(self, step: StepKind, seconds: float, compiled: bool) -> TimedStep:
        return TimedStep(step, self.shape.work(self.shape.batch), seconds, compiled)

    def _iteration_seconds(self, method: str, compiled: bool, **matching: Any) -> float:
        """Seconds of the fastest iteration of a short distillation."""
        context, start = self._context(_settings(self.shape, compiled, method=method, **matching)), self._start()
        matcher = student_matcher(context, self.data, self.network, *self.experts, start)
        self.events.clear()
        for _ in distill(context, start, matcher):
            pass
        return min(event.seconds for _, event in self.events if isinstance(event, MatchingStep))

    def _expert_step_seconds(self) -> float:
        """The mean step of the fastest training since the last call.

        Of whole trainings, from their start to their last epoch: batches are prepared ahead, so that single epochs are
        not alike.
        """
        seconds, began = [], 0.0
        for at, event in self.events:
            if isinstance(event, StageStarted):
                began = at
            elif isinstance(event, ExpertEpoch) and event.epoch == event.epochs:
                seconds.append(at - began)
        self.events.clear()
        return min(seconds) / (EPOCHS * self.shape.steps)

    def _context(self, settings: RunSettings) -> Context:
        folder = RunFolder(self.folder / "runs" / f"{time.monotonic_ns()}")
        write_atomically(folder.config, "")

        def emit(event: Event) -> None:
            self.events.append((time.monotonic(), event))

        return Context(settings, folder, self.device, emit, lambda: None, Clock(folder))

    def _start(self) -> Synthetic:
        images = self.data.train_images[:: self.shape.steps].clone()
        logits = torch.zeros(len(images), CLASSES, device=self.device)
        return Synthetic(images, logits, torch.tensor(0.01, device=self.device))


def _settings(
    shape: Shape, compiled: bool = False, seed: int = 0, experts: int = 1, method: str = "ltdd", **matching: Any
) -> RunSettings:
    """A run of this shape at learning rates of 0: how long a step takes does not depend on the numbers in it."""
    still = {"image_lr": 0.0, "label_lr": 0.0, "beta_lr": 0.0, "max_start_epoch": 1}
    network = {"width": shape.width, "depth": shape.depth, "num_experts": experts, "optimizer": "sgd"}
    return RunSettings.model_validate(
        {
            "method": method,
            "seed": seed,
            "ipc": shape.batch // CLASSES,
            "experts": {"epochs": EPOCHS, "batch_size": shape.batch} | network,
            "classifier_experts": {"epochs": EPOCHS, "batch_size": shape.batch},
            "matching": {"iterations": ITERATIONS, "batch_syn": shape.batch} | still | matching,
            "evaluate": {"epochs": 2 * shape.steps, "batch_size": shape.batch},
            "compile": "always" if compiled else "never",
        }
    )


def _random_data(shape: Shape, device: torch.device) -> LongTailedData:
    of_a_class = shape.batch * shape.steps // CLASSES
    noise = torch.Generator().manual_seed(0)
    images = torch.rand(of_a_class * CLASSES, shape.channels, shape.side, shape.side, generator=noise)
    labels = torch.arange(CLASSES).repeat_interleave(of_a_class)
    return LongTailedData(
        train_images=images.to(device),
        train_labels=labels.to(device),
        test_images=images[::of_a_class].to(device),
        test_labels=labels[::of_a_class].to(device),
        class_names=[str(label) for label in range(CLASSES)],
        class_counts=[of_a_class] * CLASSES,
        groups=["many"] * CLASSES,
        grouping="none",
        whitening=Whitening.fit(images, "none", 0.1),
        channels=shape.channels,
        image_size=shape.side,
        fingerprint="random",
    )


# --- Steps of the data, and compiling ---------------------------------------------------------------------------------


def time_data_steps(device: torch.device) -> Iterator[TimedStep]:
    """Reading an image file, and the linear algebra of whitening on the device where a run does it."""
    with tempfile.TemporaryDirectory(prefix="ltdd-calibration-") as folder:
        files = [Path(folder) / f"{number}.png" for number in range(FILES)]
        for file in files:
            Image.frombytes("RGB", (FILE_SIDE, FILE_SIDE), random.Random(0).randbytes(3 * FILE_SIDE**2)).save(file)
        yield TimedStep("decode", Work(layers=FILES), seconds_of(lambda: read_images(files, FILE_SIDE), device))
    matrix = torch.rand(MATRIX_SIDE, MATRIX_SIDE, device=device, dtype=torch.float64)
    product = Work(flops=2.0 * MATRIX_SIDE**3)
    yield TimedStep("covariance", product, seconds_of(lambda: matrix.T @ matrix, device))
    single, symmetric = matrix.float(), (matrix + matrix.T)[:EIGEN_SIDE, :EIGEN_SIDE].contiguous()
    yield TimedStep("whiten", product, seconds_of(lambda: single @ single, device))
    cube = Work(flops=float(EIGEN_SIDE) ** 3)
    yield TimedStep("eigen", cube, seconds_of(lambda: torch.linalg.eigh(symmetric), device))


def time_compiling_a_layer(device: torch.device) -> float:
    """Seconds to compile one layer of a student's steps; 0 where nothing can be compiled."""
    if why_not_compile(device):
        return 0.0
    # A random width: torch keeps what it has compiled, so a shape that was compiled before would take no time.
    width = random.SystemRandom().randrange(64, 1024)
    module = build_network("convnet", width=width, seed=0, channels=3, classes=10, image_size=8, depth=1)
    network = FlatNetwork(module)
    theta, images = network.flatten(module).to(device), torch.rand(4, 3, 8, 8, device=device)
    features = torch.compile(network.features, dynamic=False)
    began = time.monotonic()
    with torch.no_grad():
        features(theta, images)
    return COMPILED_UNITS_A_LAYER * (time.monotonic() - began)
