"""What this machine has, read from files and without torch: devices, memory, disk, and their calibration."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.run.compile_policy import may_compile_by_torch
from engine.run.device_profiles import Device, device_for, read_calibration
from engine.run.estimate import Estimate
from engine.run.expert_cache import experts_root
from engine.run.network_cost import GIB
from engine.run.settings import RunSettings
from ltdd_tui.runs import manage, worker

# What NVIDIA's driver shows without torch.
NVIDIA_DEVICES = Path("/dev")
NVIDIA_FACTS = Path("/proc/driver/nvidia/gpus")
MODEL = re.compile(r"^Model:\s*(.+)$", re.MULTILINE)
UNKNOWN_COST = "no estimate: class counts or image size are unknown until the files are read"


def torch_name(name: str) -> str:
    """The device that `auto`, `cpu`, `cuda` or `cuda:1` is, as torch calls it; auto is a GPU where its driver shows."""
    if name == "auto":
        name = "cuda" if any(NVIDIA_DEVICES.glob("nvidia[0-9]*")) else "cpu"
    return "cuda:0" if name == "cuda" else name


def device_here(name: str) -> Device:
    """The estimate's device for `auto`, `cpu` or `cuda:0`: as it was measured here, else a built-in one."""
    return device_for(torch_name(name))


def calibration_lacks(settings: RunSettings, device: str) -> bool:
    """Whether an estimate of these settings would have to guess what a calibration of `auto`, `cpu` ... could tell."""
    calibration = read_calibration(torch_name(device))
    return calibration is None or (may_compile_by_torch(settings, torch_name(device)) and not calibration.compiler)


def calibrate(settings: RunSettings, device: str) -> bool:
    """Lets a worker measure this machine, also how it compiles where these settings do; returns whether it could."""
    return worker.run_and_wait(_calibration_arguments(settings, device)) == 0


def calibrate_silently(settings: RunSettings, device: str) -> bool:
    """As `calibrate`, without output: for a screen."""
    with open(os.devnull, "wb") as nowhere:
        return worker.spawn(_calibration_arguments(settings, device), nowhere).wait() == 0


def _calibration_arguments(settings: RunSettings, device: str) -> list[str]:
    compiler = ["--compiler"] if may_compile_by_torch(settings, torch_name(device)) else []
    return ["calibrate", "--device", torch_name(device), *compiler]


def as_plain(estimate: Estimate | None, device: Device) -> dict[str, Any]:
    """An estimate as JSON, null where it is not known, with the device it is for and when that was measured."""
    figures = asdict(estimate) if estimate else dict.fromkeys(Estimate.__dataclass_fields__)
    return {"device": device.name, "calibrated": device.calibrated} | figures


# ---- Devices, memory and disk. ----


def device_choices(asked: str = "auto") -> list[tuple[str, str]]:
    """What can be picked as device, each as (words, value); `asked` is among them whatever it is."""
    gpus, cpu = gpu_names(), device_here("cpu").name
    auto = next((f"{name} {model}".strip() for name, model in gpus.items()), cpu)
    choices = [(f"auto: {auto}", "auto"), *((f"{name} {model}", name) for name, model in gpus.items()), (cpu, "cpu")]
    return choices if asked in [value for _, value in choices] else [*choices, (asked, asked)]


def gpu_names() -> dict[str, str]:
    """The models of NVIDIA's GPUs by their device, as far as the driver tells."""
    numbers = sorted(
        int(path.name.removeprefix("nvidia")) for path in NVIDIA_DEVICES.glob("nvidia[0-9]*") if path.name[6:].isdigit()
    )
    models = [_model(path) for path in sorted(NVIDIA_FACTS.glob("*/information"))]
    return {f"cuda:{i}": models[i] if i < len(models) else "" for i in range(len(numbers))}


def _model(path: Path) -> str:
    try:
        match = MODEL.search(path.read_text())
    except OSError:
        return ""
    return match[1].strip().removeprefix("NVIDIA ") if match else ""


def memory_gib(device: Device) -> float | None:
    """The memory that the work would be done in; None for a GPU that was not measured yet: only torch can ask it."""
    if device.kind != "cpu":
        return device.memory_gib
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    except (ValueError, OSError):
        return None


def free_gib(place: Path) -> float | None:
    """Room on the disk where a folder is, or would be."""
    place = place.absolute()
    existing = next(folder for folder in (place, *place.parents) if folder.exists())
    try:
        return shutil.disk_usage(existing).free / GIB
    except OSError:
        return None


def experts_gib() -> float:
    """What all cached experts take."""
    return manage.size_of(experts_root()) / GIB
