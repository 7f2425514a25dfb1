"""`doctor`: what this machine has of what a run needs."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.run.device_profiles import read_calibration
from engine.run.folder import cache_root
from ltdd_tui.cli.options import AsJson, RunsDir
from ltdd_tui.cli.output import show, show_json
from ltdd_tui.runs.index import run_folders

GIB = 1 << 30
PROBE_SECONDS = 120
# In a process of its own, since the face never loads torch.
PROBE = """
import json, torch
cuda = torch.cuda.is_available()
devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())] if cuda else []
print(json.dumps({
    "torch": torch.__version__,
    "cuda": torch.version.cuda,
    "threads": torch.get_num_threads(),
    "devices": [{"device": f"cuda:{i}", "name": d.name, "memory_gib": round(d.total_memory / 2**30, 1)}
                for i, d in enumerate(devices)],
}))
"""


def doctor(runs_dir: RunsDir, as_json: AsJson = False) -> None:
    """Show devices, versions, memory, disk, and which data and experts are already here."""
    found = {
        "python": platform.python_version(),
        **_torch(),
        **_versions(),
        "cpus": os.cpu_count(),
        "memory_gib": _memory_gib(),
        "disks": _disks(runs_dir),
        "cache": _cache(),
        "calibrations": _calibrations(),
        "runs": sum(1 for _ in run_folders(runs_dir)),
    }
    if as_json:
        show_json(found)
    else:
        _show(found)


def _torch() -> dict[str, Any]:
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROBE],
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return facts
    except subprocess.TimeoutExpired:
        return {"torch": None, "devices": [], "problem": f"torch did not load within {PROBE_SECONDS} s"}
    except (subprocess.CalledProcessError, ValueError, IndexError) as error:
        lines = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        return {"torch": None, "devices": [], "problem": lines[-1] if lines else "torch does not load"}


def _versions() -> dict[str, str | None]:
    from importlib.metadata import PackageNotFoundError, version

    def of(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    return {name.replace("-", "_"): of(name) for name in ("ltdd-tui", "torchvision", "textual", "typer", "pydantic")}


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB, 1)
    except (ValueError, OSError):
        return None


def _disks(runs_dir: Path) -> list[dict[str, Any]]:
    def free(place: Path) -> float:
        while not place.exists():
            place = place.parent
        return round(shutil.disk_usage(place).free / GIB, 1)

    places = (("runs", runs_dir.absolute()), ("cache", cache_root()))
    return [{"what": what, "path": str(path), "free_gib": free(path)} for what, path in places]


def _cache() -> dict[str, Any]:
    data, experts = cache_root() / "data", cache_root() / "experts"
    return {
        "data": [path.name for path in _entries(data)],
        "experts": sum(1 for _ in _entries(experts)),
        "gib": round(_bytes(cache_root()) / GIB, 2),
    }


def _calibrations() -> list[dict[str, Any]]:
    """What was measured on this machine, as far as it still holds: for these threads and this torch."""
    gpus = sorted(Path("/dev").glob("nvidia[0-9]*"))
    found = [read_calibration(device) for device in ("cpu", *(f"cuda:{place}" for place in range(len(gpus))))]
    names = ("device", "device_name", "threads", "measured", "seconds", "waited", "compiler")
    return [{name: getattr(one, name) for name in names} for one in found if one]


def _entries(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _bytes(folder: Path) -> int:
    return sum(os.lstat(os.path.join(place, name)).st_size for place, _, names in os.walk(folder) for name in names)


def _show(found: dict[str, Any]) -> None:
    from ltdd_tui.cli.output import plain_table

    table = plain_table("what", "found")
    table.add_row(
        "torch",
        f"{found['torch']} (CUDA {found['cuda'] or 'no'}, {found['threads']} threads)"
        if found["torch"]
        else f"not usable: {found['problem']}",
    )
    devices = [f"{device['device']} {device['name']} {device['memory_gib']} GiB" for device in found["devices"]]
    table.add_row("devices", ", ".join(["cpu", *devices]))
    for name in ("python", "ltdd_tui", "torchvision", "textual", "typer", "pydantic"):
        table.add_row(name.replace("_", "-"), str(found[name] or "not installed"))
    table.add_row("cpus", str(found["cpus"]))
    table.add_row("memory", f"{found['memory_gib'] or '?'} GiB")
    for disk in found["disks"]:
        table.add_row(f"disk of {disk['what']}", f"{disk['free_gib']} GiB free at {disk['path']}")
    cache = found["cache"]
    table.add_row("data in the cache", ", ".join(cache["data"]) or "none; `digits` needs none")
    table.add_row("experts in the cache", f"{cache['experts']} sets, {cache['gib']} GiB with the data")
    measured = [f"{one['device']} at {one['measured']}" for one in found["calibrations"]]
    table.add_row(
        "estimates", f"measured: {', '.join(measured)}" if measured else "rough until `ltdd-tui estimate PRESET`"
    )
    table.add_row("runs", str(found["runs"]))
    show(table)
