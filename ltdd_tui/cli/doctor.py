"""`doctor`: what this machine has of what a run needs."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from engine.run.device_profiles import read_calibration
from engine.run.folder import cache_root, size_of
from engine.run.network_cost import GIB
from ltdd_tui.cli.cluster import Cluster, cluster_facts, print_nodes
from ltdd_tui.cli.options import AsJson, RunsDir
from ltdd_tui.cli.output import plain_table, print_data, print_json
from ltdd_tui.launch import machine
from ltdd_tui.runs import worker
from ltdd_tui.runs.find import run_folders

PROBE_SECONDS = 120
PACKAGES = ("ltdd-tui", "torchvision", "textual", "typer", "pydantic")
CALIBRATION_FIELDS = ("device", "device_name", "threads", "measured", "seconds", "waited", "compiler")
# Run in a process of its own, since this half of the program never loads torch.
TORCH_PROBE = """
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


def doctor(runs_dir: RunsDir, as_json: AsJson = False, cluster: Cluster = None) -> None:
    """Show devices, versions, memory, disk, and which data and experts are already here; or the nodes of a cluster."""
    if cluster is not None:
        nodes = cluster_facts(cluster, runs_dir)
        (print_json if as_json else print_nodes)(nodes)
        return
    facts = {
        "python": platform.python_version(),
        **_torch(),
        **{name.replace("-", "_"): installed_version(name) for name in PACKAGES},
        "cpus": os.cpu_count(),
        "memory_gib": _rounded(machine.memory_gib(machine.device_here("cpu"))),
        "disks": [
            {"what": what, "path": str(path), "free_gib": _rounded(machine.free_gib(path))}
            for what, path in (("runs", runs_dir.absolute()), ("cache", cache_root()))
        ],
        "cache": {
            "data": _names(cache_root() / "data"),
            "experts": len(_names(cache_root() / "experts")),
            "gib": round(size_of(cache_root()) / GIB, 2),
        },
        # The measurements of this machine that still hold: for these threads and this torch.
        "calibrations": [
            {name: getattr(calibration, name) for name in CALIBRATION_FIELDS}
            for device in ("cpu", *machine.gpu_names())
            if (calibration := read_calibration(device))
        ],
        "runs": sum(1 for _ in run_folders(runs_dir)),
    }
    if as_json:
        print_json(facts)
    else:
        _print_table(facts)


def _torch() -> dict[str, Any]:
    """The version of torch and its devices, or under `problem` why it does not load."""
    try:
        probe = subprocess.run(
            [sys.executable, "-P", "-c", TORCH_PROBE],
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
            env=worker.environment(),
        )
        facts: dict[str, Any] = json.loads(probe.stdout.splitlines()[-1])
        return facts
    except subprocess.TimeoutExpired:
        problem = f"torch did not load within {PROBE_SECONDS} s"
    except (subprocess.CalledProcessError, ValueError, IndexError) as error:
        problem = (getattr(error, "stderr", "") or str(error)).strip().rpartition("\n")[2] or "torch does not load"
    return {"torch": None, "devices": [], "problem": problem}


def installed_version(package: str) -> str | None:
    """The version of an installed package, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _rounded(gib: float | None) -> float | None:
    return None if gib is None else round(gib, 1)


def _names(folder: Path) -> list[str]:
    """What is in the folder, which need not exist, without hidden files."""
    return sorted(path.name for path in folder.glob("*") if not path.name.startswith("."))


def _print_table(facts: dict[str, Any]) -> None:
    table = plain_table("what", "found")
    table.add_row(
        "torch",
        f"{facts['torch']} (CUDA {facts['cuda'] or 'no'}, {facts['threads']} threads)"
        if facts["torch"]
        else f"not usable: {facts['problem']}",
    )
    devices = [f"{device['device']} {device['name']} {device['memory_gib']} GiB" for device in facts["devices"]]
    table.add_row("devices", ", ".join(["cpu", *devices]))
    for name in ("python", *PACKAGES):
        table.add_row(name, str(facts[name.replace("-", "_")] or "not installed"))
    table.add_row("cpus", str(facts["cpus"]))
    table.add_row("memory", _gib(facts["memory_gib"]))
    for disk in facts["disks"]:
        table.add_row(f"disk of {disk['what']}", f"{_gib(disk['free_gib'])} free at {disk['path']}")
    cache = facts["cache"]
    table.add_row("data in the cache", ", ".join(cache["data"]) or "none; `digits` needs none")
    table.add_row("experts in the cache", f"{cache['experts']} sets, {cache['gib']} GiB with the data")
    measured = [f"{one['device']} at {one['measured']}" for one in facts["calibrations"]]
    table.add_row(
        "estimates", f"measured: {', '.join(measured)}" if measured else "rough until `ltdd-tui estimate PRESET`"
    )
    table.add_row("runs", str(facts["runs"]))
    print_data(table)


def _gib(value: float | None) -> str:
    return "? GiB" if value is None else f"{value} GiB"
