"""Speed and memory of devices for the estimates: built-in profiles, and calibrations measured on this machine.

A built-in profile is used until `python -m engine calibrate` has measured the device.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, TypeAdapter

from engine.run.fields import NetworkName, Precision
from engine.run.folder import cache_root, read_json, write_json
from engine.run.network_cost import Work

# A step costs seconds for each layer (launching it), each number that passes through memory, and each operation. Which
# of the three dominates differs by device and width: narrow networks wait for memory, tiny ones for launches, and only
# wide ones for arithmetic.

StepKind = Literal[
    "train",  # one first-order step of an expert, forward and backward
    "evaluate",  # the same of a network of an evaluation
    "classifier",  # one step of a classifier expert: features without a gradient, then the classifier's own
    "test",  # a forward pass of test images
    "student",  # one student step of phase rep, in pass 1 and pass 2, the published gradient
    "student_exact",  # the same, the exact gradient
    "head",  # one student step of phase cls, which moves the classifier; calibration files have this name
    "decode",  # reading an image file
    "covariance",  # whitening: the covariance of the train images, in float64
    "eigen",  # whitening: its eigenvectors
    "whiten",  # whitening images by those, in float32
    "compile",  # compiling a layer of the student by torch
]


Quantity = Annotated[float, Field(ge=0, le=1e9)]
"""As a file of a calibration may hold it: another one would make every estimate nonsense."""


@dataclass(frozen=True)
class Rate:
    """Seconds for each layer, each number and each operation of a step."""

    layer: Quantity = 0.0
    value: Quantity = 0.0
    flop: Quantity = 0.0

    def seconds(self, work: Work) -> float:
        """Seconds of one step of this size."""
        return self.layer * work.layers + self.value * work.values + self.flop * work.flops


@dataclass(frozen=True)
class Device:
    """A device as the estimates see it; `name` begins with cpu or cuda.

    rates: of eager steps. compiled_rates: of compiled steps of a ConvNet, as far as they were timed; empty without a
    compiler. runtime_gib: memory of torch itself. calibrated: when it was measured (ISO 8601), or None.
    busy: whether other programs disturbed the measurement. memory_gib: the device's memory, where that is known.
    scaled: steps with built-in rates, scaled to what was measured.
    """

    name: str
    rates: Mapping[StepKind, Rate]
    compiled_rates: Mapping[StepKind, Rate]
    runtime_gib: float
    calibrated: str | None = None
    busy: bool = False
    memory_gib: float | None = None
    scaled: tuple[StepKind, ...] = ()

    @property
    def kind(self) -> str:
        """`cuda` or `cpu`, as torch calls it."""
        return self.name.split()[0]

    def faster(self, precision: Precision) -> float:
        """How many times faster a step is than in float32."""
        return FASTER[self.kind].get(precision, 1.0)

    def seconds(self, step: StepKind, work: Work, network: NetworkName = "convnet", compiled: bool = False) -> float:
        """Seconds of one step; a network compiled by torch gains by the factors that were measured elsewhere."""
        eager = self.rates[step].seconds(work)
        if not compiled or not self.compiled_rates:
            return eager
        if network == "convnet" and step in self.compiled_rates:
            return self.compiled_rates[step].seconds(work)
        return eager * COMPILED_BY_TORCH.get(step, 1.0)


# A ConvNet's steps on one core of a server of 2023 (AMX, 2.6 GHz), as `python -m engine calibrate` timed them.
ONE_CORE: dict[StepKind, Rate] = {
    "train": Rate(4.0e-4, 3.3e-9, 1.9e-11),
    "evaluate": Rate(4.2e-4, 3.2e-9, 2.0e-11),
    "classifier": Rate(1.5e-4, 1.6e-9, 5.9e-12),
    "test": Rate(2.2e-4, 9.2e-10, 8.6e-12),
    "student": Rate(1.4e-3, 1.55e-8, 8.5e-11),
    "student_exact": Rate(1.65e-3, 1.4e-8, 1.0e-10),
    "head": Rate(5.8e-4, 5.8e-9, 1.5e-11),
    "decode": Rate(layer=7.5e-5),
    "covariance": Rate(flop=1.25e-11),
    "eigen": Rate(flop=1.9e-10),
    "whiten": Rate(flop=6.2e-12),
}
# The other steps have no compiled form.
ONE_CORE_COMPILED: dict[StepKind, Rate] = {
    "train": Rate(4.6e-4, 6.1e-10, 2.1e-11),
    "evaluate": Rate(4.2e-4, 7.8e-10, 2.1e-11),
    "classifier": Rate(1.5e-4, 6.7e-10, 5.7e-12),
    "student": Rate(9.5e-4, 3.3e-9, 4.4e-11),
    "student_exact": Rate(1.15e-3, 3.5e-9, 5.7e-11),
    "head": Rate(4.0e-4, 3.0e-9, 3.8e-12),
}
# How many times faster a GPU is than that core: in launches, their replay, memory and arithmetic. Guesses.
GPU_LAUNCHES, GPU_REPLAYS, GPU_MEMORY, GPU_ARITHMETIC = 2.0, 10.0, 1500.0, 300.0
# How many times faster a step is than in float32, which is the precision that is timed. The CPU's factors are from that
# server (benchmarks/results: iteration-*.json, expert_epoch*.json), and evaluations gained as much on another one with
# AMX (docs/log.md); a processor without it gains less. The GPU's are guesses.
FASTER: dict[str, dict[Precision, float]] = {"cpu": {"bf16": 3.2}, "cuda": {"tf32": 2.5, "bf16": 3.5}}
# A step of another network that torch has compiled takes this share of its eager time.
COMPILED_BY_TORCH: dict[StepKind, float] = {
    "train": 0.6,
    "evaluate": 0.6,
    "classifier": 0.6,
    "student": 0.45,
    "student_exact": 0.45,
    "head": 0.6,
}
# Of a student, where no calibration has measured it.
COMPILE_SECONDS_A_LAYER = 15.0


def cpu_name(cores: int) -> str:
    """The name of a CPU with so many cores."""
    return f"cpu with {cores} core{'s' if cores > 1 else ''}"


def cpu(cores: int) -> Device:
    """The built-in profile of a CPU with so many cores."""
    # Launches stay as slow as on one core.
    eager, compiled = (_scaled(rates, 1, cores, cores) for rates in (ONE_CORE, ONE_CORE_COMPILED))
    return Device(cpu_name(cores), eager, compiled, runtime_gib=0.7)


def _scaled(rates: Mapping[StepKind, Rate], launches: float, memory: float, arithmetic: float) -> dict[StepKind, Rate]:
    """The rates of a device that is so many times faster in each respect."""
    compile_rate: dict[StepKind, Rate] = {"compile": Rate(layer=COMPILE_SECONDS_A_LAYER)}
    return {
        step: Rate(rate.layer / launches, rate.value / memory, rate.flop / arithmetic) for step, rate in rates.items()
    } | compile_rate


CUDA = Device(
    "cuda",
    _scaled(ONE_CORE, GPU_LAUNCHES, GPU_MEMORY, GPU_ARITHMETIC),
    _scaled(ONE_CORE_COMPILED, GPU_REPLAYS, GPU_MEMORY, GPU_ARITHMETIC),
    runtime_gib=0.1,
)


# This machine's processor, named without torch: a calibration of another processor does not apply.

_INFO = Path("/proc/cpuinfo")


def processor() -> str:
    """The processor's model, such as `Intel(R) Xeon(R) Processor`, or as much as the system says."""
    model = _line("model name").partition(":")[2].strip()
    return model or platform.processor() or platform.machine()


def features() -> str:
    """The processor's features, such as avx512f, as the system lists them; its name where there is no list."""
    return _line("flags", "features") if _INFO.exists() else platform.processor()


def _line(*keys: str) -> str:
    """The first line of /proc/cpuinfo that begins with one of these keys, or nothing."""
    lines = _INFO.read_text().splitlines() if _INFO.exists() else []
    return next((line for line in lines if line.lower().startswith(keys)), "")


# Calibrations: what a machine has measured of itself, kept in the cache, one file for each device, processor and number
# of threads. Also a GPU's file names the processor, which launches its kernels. `python -m engine calibrate` writes it,
# the app (ltdd_tui) reads it without torch.

SCHEMA = 2
"""Goes up when what is measured, or what it is used for, changes: older files are then ignored."""
# From this share of time on in which some process waited for a processor, other programs disturbed the measurement.
BUSY = 0.25


@dataclass(frozen=True)
class Calibration:
    """The measured rates of a device with so many threads, under one version of torch.

    measured: when (ISO 8601). It took `seconds`; `waited` is the share of them in which processes waited for a
    processor. compiler: whether compiling by torch was timed, too. runtime_gib: memory of torch before any work.
    memory_gib: of the device; for a GPU only torch knows it. scaled: steps whose times fitted no rate; they have the
    built-in rates, scaled to their times.
    """

    device: str
    device_name: str
    threads: int
    torch: str
    measured: str
    seconds: Quantity
    waited: Quantity
    compiler: bool
    runtime_gib: Quantity
    rates: Mapping[StepKind, Rate]
    compiled_rates: Mapping[StepKind, Rate]
    memory_gib: Quantity | None = None
    scaled: tuple[StepKind, ...] = ()

    def as_device(self) -> Device:
        """The device as the estimates use it."""
        kind = self.device.partition(":")[0]
        name = cpu_name(self.threads) if kind == "cpu" else f"{kind} {self.device_name}"
        return Device(
            name,
            self.rates,
            self.compiled_rates,
            self.runtime_gib,
            self.measured,
            self.waited > BUSY or bool(self.scaled),
            self.memory_gib,
            self.scaled,
        )


def threads_here() -> int:
    """How many threads torch will use: what OMP_NUM_THREADS says, else all processors that this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) else len(usable_cores())


def usable_cores() -> list[int]:
    """The numbers of the cores on which the system lets this process run."""
    affinity = getattr(os, "sched_getaffinity", None)
    return sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))


def torch_version() -> str:
    """The version of torch from its package's metadata, so that torch need not be imported."""
    try:
        return version("torch").partition("+")[0]
    except PackageNotFoundError:
        return "not installed"


def calibration_file(device: str, threads: int) -> Path:
    """The file of the calibration of `cpu` or `cuda:0`; the number of threads matters on the CPU alone."""
    name = f"cpu-{threads}-threads" if device == "cpu" else device.replace(":", "-")
    processor_slug = re.sub(r"[^a-z0-9]+", "-", processor().lower()).strip("-")
    return cache_root() / "calibration" / f"{name}-{processor_slug}.json"


def read_calibration(device: str) -> Calibration | None:
    """The calibration of `cpu` or `cuda:0` on this machine; None where there is none for this torch and schema."""
    written = read_json(calibration_file(device, threads_here()))
    try:
        if (written["schema"], written["torch"]) != (SCHEMA, torch_version()):
            return None
        calibration = TypeAdapter(Calibration).validate_python(written)
    except (KeyError, TypeError, ValueError):
        return None
    forms = (calibration.rates, calibration.compiled_rates)
    # An older version kept such fits, which take seconds for minutes.
    if any(is_degenerate(device, step, rate) for rates in forms for step, rate in rates.items()):
        return None
    return calibration if set(get_args(StepKind)) <= calibration.rates.keys() else None


def device_for(device: str) -> Device:
    """The device for estimates of `cpu` or `cuda:0`: as it was measured here, else a built-in profile."""
    calibration = read_calibration(device)
    return calibration.as_device() if calibration else built_in(device)


def built_in(device: str) -> Device:
    """The built-in profile of `cpu` with the threads that torch will use, or of `cuda:0`."""
    return CUDA if device.startswith("cuda") else cpu(threads_here())


def is_degenerate(device: str, step: StepKind, rate: Rate) -> bool:
    """Whether a fit found no time for arithmetic, as on a CPU that other programs kept busy; wide networks cost none.

    On a GPU the shapes that are timed may truly wait for launches and memory alone.
    """
    return device == "cpu" and step in ONE_CORE and ONE_CORE[step].flop > 0 and rate.flop == 0


def write_calibration(calibration: Calibration, readings: Any) -> None:
    """Writes the calibration with the timed steps (`readings`) that its rates were fitted to."""
    path = calibration_file(calibration.device, calibration.threads)
    write_json(path, {"schema": SCHEMA, **asdict(calibration), "readings": readings}, sealed=True)
