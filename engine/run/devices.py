"""What a device is to an estimate: how fast each kind of step is on it, and what torch itself takes of its memory.

The built-in devices are for machines that have measured nothing yet; a calibration (engine.run.calibration) is better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.run.rates import Rate, Step, Work
from engine.run.settings import NetworkName


@dataclass(frozen=True)
class Device:
    """`name` begins with cpu or cuda. runtime_gib: what torch itself takes. calibrated: when it was
    measured, where it was; busy: while other programs were at work.

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

    @property
    def kind(self) -> str:
        """`cuda` or `cpu`, as torch calls it."""
        return self.name.split()[0]

    def seconds(self, step: Step, work: Work, network: NetworkName = "convnet", compiled: bool = False) -> float:
        """What one step of a network takes; compiled by torch, as much less as where that was tried."""
        eager = self.rates[step].seconds(work)
        if not compiled or not self.compiled_rates:
            return eager
        if network == "convnet" and step in self.compiled_rates:
            return self.compiled_rates[step].seconds(work)
        return eager * COMPILED_BY_TORCH.get(step, 1.0)


# In forward passes of one image; the rest of a step (augmentation, loss, optimizer) grows with them.
PASSES: dict[Step, float] = {
    "train": 3.0,
    "evaluate": 3.0,
    "classifier": 1.2,
    "test": 1.0,
    "student": 12.0,
    "student_exact": 13.5,
    "head": 4.0,
}
# The same of a ConvNet's compiled steps, in forward passes of their own; what is not here has no compiled form.
COMPILED_PASSES: dict[Step, float] = {
    "train": 3.0,
    "evaluate": 3.0,
    "classifier": 1.2,
    "student": 9.0,
    "student_exact": 10.0,
    "head": 3.0,
}
# How much of its eager time a step of another network takes when torch has compiled it.
COMPILED_BY_TORCH: dict[Step, float] = {
    "train": 0.6,
    "evaluate": 0.6,
    "classifier": 0.6,
    "student": 0.45,
    "student_exact": 0.45,
    "head": 0.6,
}
COMPILE_SECONDS_A_LAYER = 15.0


def _built_in(forward: Rate, gflops64: float, gflops32: float, file_seconds: float) -> dict[Step, Rate]:
    rates = {step: forward * passes for step, passes in PASSES.items()}
    return rates | {
        "decode": Rate(layer=file_seconds),
        "covariance": Rate(flop=1e-9 / gflops64),
        "eigen": Rate(flop=13e-9 / gflops64),
        "whiten": Rate(flop=1e-9 / gflops32),
        "compile": Rate(layer=COMPILE_SECONDS_A_LAYER),
    }


def _compiled(forward: Rate) -> dict[Step, Rate]:
    return {step: forward * passes for step, passes in COMPILED_PASSES.items()}


CUDA = Device(
    "cuda",
    _built_in(Rate(layer=1.2e-4, value=5.0e-13, flop=1.2e-14), 5_000.0, 30_000.0, 3.0e-4),
    _compiled(Rate(layer=2.0e-5, value=4.0e-13, flop=1.0e-14)),
    runtime_gib=0.3,
    holds_experts=False,
)


def cpu_name(cores: int) -> str:
    """How a CPU of so many cores is called."""
    return f"cpu with {cores} core{'s' if cores > 1 else ''}"


def cpu(cores: int) -> Device:
    """A CPU of so many cores, each as fast as those of the machine this was written on."""
    forward = Rate(layer=1.5e-4, value=1.3e-9 / cores, flop=5.5e-12 / cores)
    rates = _built_in(forward, 70.0 * cores, 150.0 * cores, 1.0e-4 / cores)
    compiled_rates = _compiled(Rate(layer=5.0e-5, value=0.5e-9 / cores, flop=5.5e-12 / cores))
    return Device(cpu_name(cores), rates, compiled_rates, runtime_gib=0.5, holds_experts=True)
