"""manifest.json: the settings, code, versions and device that a run was made with."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from engine.run.device_profiles import processor
from engine.run.folder import RunFolder, read_json, write_json
from engine.run.settings import RunSettings, settings_hash

_CODE = Path(__file__).parents[1]


def write_manifest(
    folder: RunFolder,
    settings: RunSettings,
    device: torch.device,
    estimate: Callable[[], dict[str, Any] | None] = lambda: None,
    imported_sources: dict[str, Any] | None = None,
) -> None:
    """Writes manifest.json for the worker that begins now.

    `created`, `forms` and `estimate` stay those of the run's first worker: an estimate made after an interruption
    would leave out what is already done, and could not be compared with the whole run. So `estimate` is called for the
    first worker only. `imported_sources`: what the run takes that it did not make (`engine.importing.imported_sets`).
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    before = _read(folder)
    write_json(
        folder.manifest,
        {
            "schema": 1,
            "created": before.get("created") or now,
            "updated": now,
            "settings_hash": settings_hash(settings),
            "seed": settings.seed,
            "commit": commit(),
            "versions": versions(),
            "device": str(device),
            "device_name": device_name(device),
            "threads": torch.get_num_threads(),
            # Added to while the run goes on, where it is decided what is compiled (engine/compilation.py).
            "forms": before.get("forms") or {},
            "platform": platform.platform(),
            "argv": sys.argv,
            "made_elsewhere": imported_sources or {},
            "estimate": before["estimate"] if "estimate" in before else estimate(),
        },
        sealed=True,
    )


def estimated_seconds(folder: RunFolder) -> dict[str, float]:
    """Seconds that each stage was estimated to take before the run began; empty without an estimate.

    Checks are counted to the stage during which they are made, and not to `evaluate`.
    """
    estimate = _read(folder).get("estimate") or {}
    seconds, checks = dict(estimate.get("stage_seconds") or {}), estimate.get("check_seconds", 0.0)
    if checks:
        seconds["distill"] += checks
        seconds["evaluate"] -= checks
    return seconds


def versions() -> dict[str, str]:
    """The versions of the tool itself, Python, torch and torchvision."""
    # torch.__version__, unlike its package's version, also names the build, such as +cpu or +cu132.
    return {
        "ltdd-tui": _version("ltdd-tui"),
        "torch": str(torch.__version__),
        "torchvision": _version("torchvision"),
        "python": platform.python_version(),
    }


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's with the widest vectors that torch uses: `Intel(R) Xeon(R), AVX512`."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor()}, {torch.backends.cpu.get_cpu_capability()}"


def commit() -> str | None:
    """The commit of the checkout that runs, with -dirty where files differ from it; None outside of a checkout."""
    # An installed package may lie inside another repository: only our own has .git right beside the package.
    if not (_CODE / ".git").exists():
        return None
    command = ["git", "-C", str(_CODE), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _read(folder: RunFolder) -> dict[str, Any]:
    """The manifest of an earlier worker; empty where there is none, or a damaged one."""
    manifest = read_json(folder.manifest)
    return manifest if isinstance(manifest, dict) else {}
