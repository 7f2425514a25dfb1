"""What a device is to an estimate: how fast each kind of step is on it, and what torch itself takes of its memory.

The built-in devices are for machines that have measured nothing yet; a calibration (engine.run.calibration) is better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.run.rates import Rate, Step, Work
from engine.run.settings import NetworkName, Precision


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
