"""What this machine has, read from files and without torch: devices, memory, disk, and their calibration.

Also whether a run or a sweep fits: what it lacks is told, warned of, or refused before it starts.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from engine.run.compile_policy import may_compile_by_torch
from engine.run.device_profiles import Device, device_for, read_calibration
from engine.run.errors import Fault, InputError, SettingsError
from engine.run.estimate import Estimate, estimate_remaining
from engine.run.expert_cache import experts_root
from engine.run.folder import RunFolder, cache_root, size_of
from engine.run.network_cost import GIB
from engine.run.presets import load_preset
from engine.run.settings import RunSettings
from ltdd_tui.formatting import gibibytes
from ltdd_tui.runs import worker

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
    """The memory that the work would be done in: what the machine has, or this process's control group may take.

    None for a GPU that was not measured yet: only torch can ask it.
    """
    if device.kind != "cpu":
        return device.memory_gib
    try:
        has = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    except (ValueError, OSError):
        return None
    return min(has, control_group_gib())


def control_group_gib(groups: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")) -> float:
    """What the control group of this process (a container, a batch job) and those above it let it take; else infinite.

    groups: a line `number:controllers:path` for each; of version 2 there is one, without controllers.
    """
    limits = [math.inf]
    with contextlib.suppress(OSError):
        for line in groups.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                root, name = mounted, "memory.max"
            elif "memory" in controllers.split(","):
                root, name = mounted / "memory", "memory.limit_in_bytes"
            else:
                continue
            # In a container its own group may be mounted as the root; the path is then that outside of it.
            own = root / path.lstrip("/")
            for folder in (own, *own.parents):
                with contextlib.suppress(OSError, ValueError):  # `max` is no number
                    limits.append(int((folder / name).read_text()) / GIB)
                if folder == root:
                    break
    return min(limits)


def free_gib(place: Path) -> float | None:
    """Room on the disk where a folder is, or would be."""
    try:
        return shutil.disk_usage(_existing(place)).free / GIB
    except OSError:
        return None


def on_one_disk(one: Path, other: Path) -> bool:
    """Whether two folders are, or would be, on the same file system."""
    return _existing(one).stat().st_dev == _existing(other).stat().st_dev


def _existing(place: Path) -> Path:
    place = place.absolute()
    return next(folder for folder in (place, *place.parents) if folder.exists())


def experts_gib() -> float:
    """What all cached experts take."""
    return size_of(experts_root()) / GIB


# ---- What a run or a sweep needs, against what is there ----

CLOSE = 0.8
"""A larger share than this of what is there is warned of: an estimate may be wrong by some percent."""


@dataclass(frozen=True)
class Needs:
    """What is needed at least, in GiB: memory, without what is only mapped from files; files of the runs and the cache.

    mapped_gib: what is mapped from files, which leaves the memory when that is short.
    """

    memory_gib: float
    mapped_gib: float
    runs_gib: float
    cache_gib: float


def needs_of(estimate: Estimate, device: Device) -> Needs:
    """What a run needs."""
    mapped = estimate.snapshots_gib if device.kind == "cpu" else 0.0
    runs = estimate.disk_gib - estimate.snapshots_gib
    return Needs(estimate.memory_gib - mapped, mapped, runs, estimate.cache_gib)


@dataclass(frozen=True)
class Room:
    """One kind of room: `label` for a plan, `needed_gib` of `has_gib`, None where that is not known.

    least_gib: with less than this it certainly fails.
    """

    label: str
    where: str
    needed_gib: float
    has_gib: float | None
    least_gib: float
    hint: str

    @property
    def lacks(self) -> bool:
        """Whether there is certainly too little."""
        return self.has_gib is not None and self.least_gib > self.has_gib

    @property
    def is_close(self) -> bool:
        """Whether there may be too little."""
        return self.has_gib is not None and self.needed_gib > CLOSE * self.has_gib

    @property
    def text(self) -> str:
        """`2.1 GiB of 16.0 GiB`, or of a disk `2.1 GiB, 70.0 GiB free`."""
        if self.has_gib is None:
            return gibibytes(self.needed_gib)
        has = gibibytes(self.has_gib)
        return f"{gibibytes(self.needed_gib)}{f' of {has}' if self.label == 'memory' else f', {has} free'}"


def rooms(needs: Needs, device: Device, runs_dir: Path, goes_on: bool = False) -> list[Room]:
    """The memory, and the disk of the runs and of the cache, which may be one; goes_on: of a run that is there."""
    less = "lower the settings that take it (`ltdd-tui estimate`), or take a larger machine"
    whole = needs.memory_gib + needs.mapped_gib
    # A GPU that is full is given fewer images at a time (matching/matcher.py).
    least = needs.memory_gib if device.kind == "cpu" else 0.0
    found = [Room("memory", device.name, whole, memory_gib(device), least, less)]
    cache = cache_root()
    own = [("disk", runs_dir, needs.runs_gib), ("cache", cache, needs.cache_gib)]
    if on_one_disk(runs_dir, cache):
        own = [("disk", runs_dir, needs.runs_gib + needs.cache_gib)]
    for label, place, needed in own:
        other = f"name another place with {'LTDD_CACHE' if label == 'cache' else '--runs-dir'}"
        other = f"make room, or {'move the run to another disk' if goes_on and label == 'disk' else other}"
        found.append(Room(label, str(place), needed, free_gib(place), needed, other))
    return found


def check_room(found: Sequence[Room]) -> list[str]:
    """What is close, in a line each; raises InputError where there is certainly too little."""
    if lacking := [room for room in found if room.lacks]:
        raise InputError([Fault(f"too little {_named(room)}: {room.text}", room.where, room.hint) for room in lacking])
    return [f"{room.where}: {_named(room)} may be too little: {room.text}" for room in found if room.is_close]


def check_run(settings: RunSettings, device_name: str, place: Path, written_gib: float = 0.0) -> list[str]:
    """As `check_room`, of a run at this place that has written so much; nothing where its cost is not known."""
    device = device_here(device_name)
    cost, _ = estimate_remaining(settings, device)
    if cost is None:
        return []
    needs = needs_of(cost, device)
    left = replace(needs, runs_gib=max(0.0, needs.runs_gib - written_gib))
    return check_room(rooms(left, device, place, goes_on=written_gib > 0))


def check_rest(folder: RunFolder, device_name: str) -> list[str]:
    """As `check_run`, of what is left of a run that goes on; nothing where its settings cannot be read."""
    try:
        settings = load_preset(str(folder.config), quiet=True)
    except (SettingsError, OSError):
        return []
    return check_run(settings, device_name, folder.root, size_of(folder.root) / GIB)


def _named(room: Room) -> str:
    return {"disk": "free disk", "cache": "free disk of the cache"}.get(room.label, room.label)
