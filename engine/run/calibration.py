"""What a machine has measured of itself, kept in the cache: one file for each device, processor and number of threads.

Machines that share a cache have their own: also a GPU's launches are as fast as the processor that makes them.
The worker writes it (`python -m engine calibrate`), the face reads it without torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, get_args

from engine.run.devices import CUDA, Device, cpu, cpu_name
from engine.run.folder import cache_root, read_json, write_json
from engine.run.processor import processor_slug
from engine.run.rates import Rate, Step

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
