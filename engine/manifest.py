"""manifest.json: on what, by what and from which code a run was made."""

from __future__ import annotations

import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import yaml

from engine.run.compile_policy import Form
from engine.run.device_profiles import device_for, processor
from engine.run.errors import InputError
from engine.run.estimate import estimate_record
from engine.run.folder import RunFolder, read_json, write_json
from engine.run.settings import RunSettings, settings_hash

_CODE = Path(__file__).parents[1]


def write_manifest(folder: RunFolder, settings: RunSettings, device: torch.device) -> None:
    """Writes manifest.json for the worker that begins now; `created` stays the time of the run's first one."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    before = _written(folder)
    # The first estimate stays: one of what is left after an interruption would be compared with the whole run.
    estimated = before["estimate"] if "estimate" in before else estimate_record(settings, device_for(str(device)))
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
            "forms": before.get("forms") or {},
            "platform": platform.platform(),
            "argv": sys.argv,
            "estimate": estimated,
        },
    )


def note_form(folder: RunFolder, part: str, form: Form) -> None:
    """Adds in which form a part of the run has its steps: another one has other bytes."""
    if found := _written(folder):
        write_json(folder.manifest, found | {"forms": {**(found.get("forms") or {}), part: form}})


def refuse_changed_settings(folder: RunFolder, settings: RunSettings) -> None:
    """Raises InputError where config.yaml is not what the run began with: its checkpoints belong to other settings."""
    began_with = _written(folder).get("settings_hash")
    if began_with and folder.checkpoint.exists() and began_with != settings_hash(settings):
        # An older version hashed the settings of its time; its config.yaml holds them all, also those deleted since.
        if folder.config.exists() and began_with == settings_hash(yaml.safe_load(folder.config.read_text())):
            return
        raise InputError(
            "the settings were changed since the run began",
            str(folder.config),
            "put them back to resume, or start a new run from this file: `ltdd-tui run FILE --name ANOTHER`",
        )


def versions() -> dict[str, str]:
    """The versions of the tool itself, Python, torch and torchvision."""
    # torch's own word also tells its build, such as +cpu or +cu132.
    return {
        "ltdd-tui": _version("ltdd-tui"),
        "torch": str(torch.__version__),
        "torchvision": _version("torchvision"),
        "python": platform.python_version(),
    }


def device_name(device: torch.device) -> str:
    """What the device is called: the GPU's name, or the processor's as far as it is known."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    # The widest vectors that torch uses of it tell more than its model; `Intel(R) Xeon(R) Processor, AVX512`.
    return f"{processor()}, {torch.backends.cpu.get_cpu_capability()}"


def commit() -> str | None:
    """The commit of the checkout that runs, with -dirty where files differ from it; None outside of a checkout."""
    # An installed package may lie inside somebody else's repository: only its own has .git right beside it.
    if not (_CODE / ".git").exists():
        return None
    ask = ["git", "-C", str(_CODE), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(ask, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _written(folder: RunFolder) -> dict[str, Any]:
    """The manifest that is there; nothing where there is none, or a damaged one."""
    found = read_json(folder.manifest)
    return found if isinstance(found, dict) else {}
