"""What this machine has, asked of its files alone: devices, memory, room on the disk. No torch, no other program."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from engine.run.device_profiles import Device
from engine.run.estimate import GIB
from engine.run.expert_cache import experts_root
from ltdd_tui.planning import device_here

NVIDIA_DEVICES = Path("/dev")
NVIDIA_FACTS = Path("/proc/driver/nvidia/gpus")
MODEL = re.compile(r"^Model:\s*(.+)$", re.MULTILINE)


def device_choices(asked: str = "auto") -> list[tuple[str, str]]:
    """What can be picked as device, each as (words, value); `asked` is among them whatever it is."""
    gpus = gpu_names()
    found = [(f"auto: {_what_auto_is(gpus)}", "auto"), *((f"{name} {model}", name) for name, model in gpus.items())]
    found.append((device_here("cpu").name, "cpu"))
    return found if asked in dict((value, words) for words, value in found) else [*found, (asked, asked)]


def gpu_names() -> dict[str, str]:
    """The models of NVIDIA's GPUs by their device, as far as the driver tells."""
    numbers = sorted(
        int(path.name.removeprefix("nvidia")) for path in NVIDIA_DEVICES.glob("nvidia[0-9]*") if path.name[6:].isdigit()
    )
    models = [_model(path) for path in sorted(NVIDIA_FACTS.glob("*/information"))]
    return {f"cuda:{i}": models[i] if i < len(models) else "" for i in range(len(numbers))}


def _what_auto_is(gpus: dict[str, str]) -> str:
    return next((f"{name} {model}".strip() for name, model in gpus.items()), device_here("cpu").name)


def _model(path: Path) -> str:
    try:
        found = MODEL.search(path.read_text())
    except OSError:
        return ""
    return found[1].strip().removeprefix("NVIDIA ") if found else ""


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
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        return shutil.disk_usage(place).free / GIB
    except OSError:
        return None


def experts_gib() -> float:
    """What all cached experts take."""
    total = 0
    for folder, _, names in os.walk(experts_root()):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                continue  # gone meanwhile
    return total / GIB
