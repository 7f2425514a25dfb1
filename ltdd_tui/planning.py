"""What a preset will cost on the device that this machine has, told without torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.run.catalog import CUDA, Device, Estimate, cpu, estimate, long_tailed
from engine.run.class_folders import survey
from engine.run.errors import InputError
from engine.run.settings import RunSettings

UNKNOWN_COST = "the cost is known only when the data is: its classes or the size of its images are in the files alone"


def device_here(name: str) -> Device:
    """The estimate's device for `auto`, `cpu` or `cuda:0`; auto is a GPU where its driver shows one."""
    if name == "auto":
        name = "cuda" if any(Path("/dev").glob("nvidia[0-9]*")) else "cpu"
    return CUDA if name.startswith("cuda") else cpu(_cores())


def device_type(device: Device) -> str:
    """`cuda` or `cpu`, as torch calls it."""
    return device.name.split()[0]


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def cost(settings: RunSettings, device: Device, counts: Sequence[int] | None = None) -> Estimate | None:
    """The estimate, or None where only the data's own files could give it; `counts` where they are known already."""
    try:
        return estimate(settings, device, class_counts=counts or _folder_counts(settings))
    except (InputError, OSError):
        return None


def _folder_counts(settings: RunSettings) -> list[int] | None:
    """Images of each class in a folder data set, counted by name alone; None where the catalog knows or nobody does."""
    dataset = settings.dataset
    if dataset.name != "folder" or dataset.path is None:
        return None
    return [max(1, count) for count in long_tailed(survey(dataset.path, dataset.test_share).counts, dataset)]


def as_plain(found: Estimate | None, device: Device) -> dict[str, Any]:
    """An estimate as JSON, null where it is not known, with the device it is for."""
    figures = asdict(found) if found else dict.fromkeys(Estimate.__dataclass_fields__)
    return {"device": device.name} | figures
