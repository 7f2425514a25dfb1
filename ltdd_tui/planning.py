"""What a preset will cost on the device that this machine has, told without torch."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.run.compile_policy import may_compile_by_torch
from engine.run.device_profiles import Device, device_for, read_calibration
from engine.run.estimate import Estimate, cost, remaining_cost
from engine.run.settings import RunSettings
from ltdd_tui import worker

__all__ = ["UNKNOWN_COST", "as_plain", "calibrate", "calibration_lacks", "cost", "device_here", "remaining_cost"]

UNKNOWN_COST = "the cost is known only when the data is: its classes or the size of its images are in the files alone"


def torch_name(name: str) -> str:
    """The device that `auto`, `cpu`, `cuda` or `cuda:1` is, as torch calls it; auto is a GPU where its driver shows."""
    if name == "auto":
        name = "cuda" if any(Path("/dev").glob("nvidia[0-9]*")) else "cpu"
    return "cuda:0" if name == "cuda" else name


def device_here(name: str) -> Device:
    """The estimate's device for `auto`, `cpu` or `cuda:0`: as it was measured here, else a built-in one."""
    return device_for(torch_name(name))


def calibration_lacks(settings: RunSettings, device: str) -> bool:
    """Whether an estimate of these settings would have to guess what a calibration of `auto`, `cpu` ... could tell."""
    found = read_calibration(torch_name(device))
    return found is None or (may_compile_by_torch(settings, torch_name(device)) and not found.compiler)


def calibrate(settings: RunSettings, device: str) -> bool:
    """Lets a worker measure this machine, also how it compiles where these settings do; returns whether it could."""
    return worker.ask(_calibration(settings, device)) == 0


def calibrate_silently(settings: RunSettings, device: str) -> bool:
    """As calibrate, with nowhere to speak to: for a screen."""
    with open(os.devnull, "wb") as nowhere:
        return worker.consult(_calibration(settings, device), nowhere).wait() == 0


def _calibration(settings: RunSettings, device: str) -> list[str]:
    compiler = ["--compiler"] if may_compile_by_torch(settings, torch_name(device)) else []
    return ["calibrate", "--device", torch_name(device), *compiler]


def as_plain(found: Estimate | None, device: Device) -> dict[str, Any]:
    """An estimate as JSON, null where it is not known, with the device it is for and when that was measured."""
    figures = asdict(found) if found else dict.fromkeys(Estimate.__dataclass_fields__)
    return {"device": device.name, "calibrated": device.calibrated} | figures
