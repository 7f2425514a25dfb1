"""What a device is to an estimate: how fast each kind of step is on it, and what torch itself takes of its memory.

The built-in devices are for machines that have measured nothing yet; a calibration is better.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, get_args

from engine.run.folder import cache_root, read_json, write_json
from engine.run.settings import NetworkName, Precision

# How long a step of a network takes on a device, from what it is made of.
#
# A step costs something for each layer (launching it), for each number that passes through memory, and for each
# operation. Which of the three weighs most differs by device and width: narrow networks wait for memory, tiny ones for
# launches, and only wide ones for arithmetic.


Step = Literal[
    "train",  # one first-order step of an expert, forward and backward
    "evaluate",  # the same of a network of an evaluation
    "classifier",  # one step of a classifier expert: features without a gradient, then the classifier's own
    "test",  # a forward pass of test images
    "student",  # one student step of phase rep, on the walk and on the sweep, the published gradient
    "student_exact",  # the same, the exact gradient
    "head",  # one student step of phase cls
    "decode",  # an image file
    "covariance",  # of the train images, in float64
    "eigen",  # its eigenvectors
    "whiten",  # images by those, in float32
    "compile",  # a layer of the student
]


@dataclass(frozen=True)
class Work:
    """What a step is made of: layers, numbers that pass through memory and floating-point operations in one pass."""

    layers: float = 0.0
    values: float = 0.0
    flops: float = 0.0

    def __mul__(self, factor: float) -> Work:
        return Work(self.layers * factor, self.values * factor, self.flops * factor)

    @property
    def amounts(self) -> tuple[float, float, float]:
        """The three as a row."""
        return self.layers, self.values, self.flops


@dataclass(frozen=True)
class Rate:
    """Seconds for each layer, each number and each operation of a step."""

    layer: float = 0.0
    value: float = 0.0
    flop: float = 0.0

    def seconds(self, work: Work) -> float:
        """What a step of this work takes."""
        return self.layer * work.layers + self.value * work.values + self.flop * work.flops

    def __mul__(self, factor: float) -> Rate:
        return Rate(self.layer * factor, self.value * factor, self.flop * factor)


@dataclass(frozen=True)
class Device:
    """`name` begins with cpu or cuda. runtime_gib: what torch itself takes. calibrated: when it was measured, where it
    was; busy: while other programs were at work. memory_gib: all that it has, where that is known.

    rates: of eager steps; compiled_rates: of those of a ConvNet that were timed in their compiled form, too, none where
    there is no compiler. holds_experts: whether the experts' snapshots lie in the same memory.
    """

    name: str
    rates: Mapping[Step, Rate]
    compiled_rates: Mapping[Step, Rate]
    runtime_gib: float
    holds_experts: bool
    calibrated: str | None = None
    busy: bool = False
    memory_gib: float | None = None

    @property
    def kind(self) -> str:
        """`cuda` or `cpu`, as torch calls it."""
        return self.name.split()[0]

    def faster(self, precision: Precision) -> float:
        """How many times faster a step is than in float32."""
        return FASTER[self.kind].get(precision, 1.0)

    def seconds(self, step: Step, work: Work, network: NetworkName = "convnet", compiled: bool = False) -> float:
        """What one step of a network takes; compiled by torch, as much less as where that was tried."""
        eager = self.rates[step].seconds(work)
        if not compiled or not self.compiled_rates:
            return eager
        if network == "convnet" and step in self.compiled_rates:
            return self.compiled_rates[step].seconds(work)
        return eager * COMPILED_BY_TORCH.get(step, 1.0)


# A ConvNet's steps on one core of a server of 2023 (AMX, 2.6 GHz), as `python -m engine calibrate` timed them.
ONE_CORE: dict[Step, Rate] = {
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
# What is not here has no compiled form.
ONE_CORE_COMPILED: dict[Step, Rate] = {
    "train": Rate(4.6e-4, 6.1e-10, 2.1e-11),
    "evaluate": Rate(4.2e-4, 7.8e-10, 2.1e-11),
    "classifier": Rate(1.5e-4, 6.7e-10, 5.7e-12),
    "student": Rate(9.5e-4, 3.3e-9, 4.4e-11),
    "student_exact": Rate(1.15e-3, 3.5e-9, 5.7e-11),
    "head": Rate(4.0e-4, 3.0e-9, 3.8e-12),
}
# A GPU against that core: launches, or their replay, memory and arithmetic. Guessed until one is measured.
GPU_LAUNCHES, GPU_REPLAYS, GPU_MEMORY, GPU_ARITHMETIC = 2.0, 10.0, 1500.0, 300.0
# How many times faster a step is in another precision than float32, which is the one that is timed. The CPU's as an
# iteration and an expert epoch took on that server (benchmarks/results: iteration-*.json, expert_epoch*.json); where
# a processor has no AMX it is less. The GPU's are guessed.
FASTER: dict[str, dict[Precision, float]] = {"cpu": {"bf16": 3.2}, "cuda": {"tf32": 2.5, "bf16": 3.5}}
# How much of its eager time a step of another network takes when torch has compiled it.
COMPILED_BY_TORCH: dict[Step, float] = {
    "train": 0.6,
    "evaluate": 0.6,
    "classifier": 0.6,
    "student": 0.45,
    "student_exact": 0.45,
    "head": 0.6,
}
# All that is compiled of a student, and for whoever has measured none of it.
COMPILE_SECONDS_A_LAYER = 15.0


def cpu_name(cores: int) -> str:
    """How a CPU of so many cores is called."""
    return f"cpu with {cores} core{'s' if cores > 1 else ''}"


def cpu(cores: int) -> Device:
    """A CPU of so many cores like that one."""
    eager, compiled = (_scaled(rates, 1, cores, cores) for rates in (ONE_CORE, ONE_CORE_COMPILED))
    return Device(cpu_name(cores), eager, compiled, runtime_gib=0.7, holds_experts=True)


def _scaled(rates: Mapping[Step, Rate], launches: float, memory: float, arithmetic: float) -> dict[Step, Rate]:
    """The rates of a device that is so many times faster."""
    faster = {
        step: Rate(rate.layer / launches, rate.value / memory, rate.flop / arithmetic) for step, rate in rates.items()
    }
    return faster | {"compile": Rate(layer=COMPILE_SECONDS_A_LAYER)}


CUDA = Device(
    "cuda",
    _scaled(ONE_CORE, GPU_LAUNCHES, GPU_MEMORY, GPU_ARITHMETIC),
    _scaled(ONE_CORE_COMPILED, GPU_REPLAYS, GPU_MEMORY, GPU_ARITHMETIC),
    runtime_gib=0.1,
    holds_experts=False,
)


# What this machine's processor is called, told without torch: what was measured of another one is not this one's.


_INFO = Path("/proc/cpuinfo")


def processor() -> str:
    """Its model, such as `Intel(R) Xeon(R) Processor`, or as much as the system tells."""
    model = _line("model name").partition(":")[2].strip()
    return model or platform.processor() or platform.machine()


def features() -> str:
    """What it can do beyond the rest of its kind, as the system words it; its name where that is all there is."""
    return _line("flags", "features") if _INFO.exists() else platform.processor()


def _line(*keys: str) -> str:
    """The first line that begins with one of these; nothing where there is none."""
    with contextlib.suppress(OSError):
        lines = _INFO.read_text().splitlines()
        return next((line for line in lines if line.lower().startswith(keys)), "")
    return ""


def processor_slug() -> str:
    """The same as a part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", processor().lower()).strip("-")


# What a machine has measured of itself, kept in the cache: one file for each device, processor and number of threads.
#
# Machines that share a cache have their own: also a GPU's launches are as fast as the processor that makes them.
# The worker writes it (`python -m engine calibrate`), the face reads it without torch.


SCHEMA = 2
"""Goes up when what is measured, or what it is taken for, changes: older files are then measured anew."""


# The share of the time in which somebody waited for a processor, from which on the machine was busy with other things.
BUSY = 0.25


@dataclass(frozen=True)
class Calibration:
    """The rates of a device with so many threads, under one version of torch.

    measured: the time, as ISO 8601; it took `seconds`, in a share of which (waited) processes queued for a processor.
    compiler: whether compiling by torch was timed, too. runtime_gib: what torch takes before any work. memory_gib: what
    the device has, which of a GPU only torch tells.
    """

    device: str
    device_name: str
    threads: int
    torch: str
    measured: str
    seconds: float
    waited: float
    compiler: bool
    runtime_gib: float
    rates: Mapping[Step, Rate]
    compiled_rates: Mapping[Step, Rate]
    memory_gib: float | None = None

    def as_device(self) -> Device:
        """The device that estimates are made for."""
        kind = self.device.partition(":")[0]
        name = cpu_name(self.threads) if kind == "cpu" else f"{kind} {self.device_name}"
        return Device(
            name,
            self.rates,
            self.compiled_rates,
            self.runtime_gib,
            kind == "cpu",
            self.measured,
            self.waited > BUSY,
            self.memory_gib,
        )


def threads_here() -> int:
    """How many threads torch will use: what OMP_NUM_THREADS says, else all processors that this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    affinity = getattr(os, "sched_getaffinity", None)
    return int(asked) if asked.isdecimal() and int(asked) else len(affinity(0)) if affinity else os.cpu_count() or 1


def torch_version() -> str:
    """The version of torch as its package tells it, the same with torch loaded or not."""
    try:
        return version("torch").partition("+")[0]
    except PackageNotFoundError:
        return "not installed"


def calibration_file(device: str, threads: int) -> Path:
    """Where the calibration of `cpu` or `cuda:0` lies; only on the CPU do threads make another one of it."""
    name = f"cpu-{threads}-threads" if device == "cpu" else device.replace(":", "-")
    return cache_root() / "calibration" / f"{name}-{processor_slug()}.json"


def read_calibration(device: str) -> Calibration | None:
    """What was measured of `cpu` or `cuda:0` on this machine; None where nothing was, or by another torch or tool."""
    written = read_json(calibration_file(device, threads_here()))
    try:
        if written["schema"] != SCHEMA or written["torch"] != torch_version():
            return None
        known = {key: written[key] for key in Calibration.__dataclass_fields__ if key in written}
        known |= {key: _rates(known[key]) for key in ("rates", "compiled_rates")}
        if known.get("memory_gib") is not None:
            known["memory_gib"] = float(known["memory_gib"])
        found = Calibration(**known)
    except (KeyError, TypeError, ValueError):
        return None
    return found if set(get_args(Step)) <= found.rates.keys() else None


def device_for(device: str) -> Device:
    """What estimates for `cpu` or `cuda:0` are made with: as it was measured here, else a built-in one."""
    if found := read_calibration(device):
        return found.as_device()
    return CUDA if device.startswith("cuda") else cpu(threads_here())


def write_calibration(calibration: Calibration, readings: Any) -> None:
    """Keeps it, atomically, with the timed steps that its rates were fitted to."""
    path = calibration_file(calibration.device, calibration.threads)
    write_json(path, {"schema": SCHEMA, **asdict(calibration), "readings": readings})


def _rates(written: Mapping[str, Mapping[str, float]]) -> dict[Step, Rate]:
    steps: tuple[Step, ...] = get_args(Step)
    return {
        step: Rate(**{key: float(value) for key, value in written[step].items()}) for step in steps if step in written
    }
