"""`python -m engine.run.estimate_lines` brings the `# Estimate, DEVICE: ...` line of each shipped preset up to date."""

from __future__ import annotations

import re

from engine.run.device_profiles import CUDA, cpu
from engine.run.errors import InputError
from engine.run.estimate import estimate
from engine.run.folder import write_atomically
from engine.run.presets import load_preset, preset_files
from engine.run.settings import RunSettings

DEVICES = {"one H200-class GPU": CUDA, "two CPU cores": cpu(2)}
LINE = re.compile(r"^# Estimate, (?P<device>[^:\n]+):.*$", re.MULTILINE)


def estimate_line(settings: RunSettings, device: str) -> str:
    """Time, memory and disk of a preset on one of DEVICES, as its comment tells them."""
    cost = estimate(settings, DEVICES[device])
    memory = "memory" if device.endswith("cores") else "GPU memory"
    return (
        f"# Estimate, {device}: {_duration(cost.total_seconds)}, {cost.memory_gib:.1f} GiB of {memory},"
        f" {_size(cost.disk_gib)} of disk."
    )


def updated(text: str, settings: RunSettings) -> str:
    """A preset's text with its estimate recomputed; raises InputError where it has no such line."""
    found = LINE.search(text)
    if found is None or found["device"] not in DEVICES:
        raise InputError("there is no estimate", hint=f"# Estimate, {' | '.join(DEVICES)}: ...")
    return LINE.sub(estimate_line(settings, found["device"]), text, count=1)


def main() -> None:
    """Rewrites the shipped presets in place."""
    for path, origin in preset_files().values():
        if origin == "shipped":
            write_atomically(path, updated(path.read_text(), load_preset(str(path))))


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _size(gib: float) -> str:
    return f"{gib:.1f} GiB" if gib >= 1 else f"{1024 * gib:.0f} MiB"


if __name__ == "__main__":
    main()
