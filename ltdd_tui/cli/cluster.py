"""What the commands have of a Ray cluster: the options of `sweep`, the driver's lines, and the nodes for `doctor`.

Ray is loaded by the driver, a process of its own (`python -m engine.cluster.driver`, `nodes`).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.run.errors import InputError
from engine.sweep.cells import SweepFolder
from ltdd_tui.cli.output import plain_table, print_data, print_note
from ltdd_tui.runs import worker

Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="ADDRESS",
        help="run cells as tasks of Ray: local (this machine), auto (the cluster it belongs to), ray://HOST:10001 ...",
    ),
]
Threads = Annotated[
    int | None, typer.Option("--threads", help="on a cluster: CPUs and threads of each process; by default 1", min=1)
]
Ranks = Annotated[
    int, typer.Option("--ranks", help="on a cluster: GPUs (or processes) that share matching.trajectories", min=1)
]


def require_ray() -> None:
    """Raises InputError where Ray is not installed."""
    if find_spec("ray") is None:
        raise InputError("Ray is not installed", "--cluster", "pip install 'ltdd-tui[ray]'")


def driver_options(
    cluster: str | None,
    threads: int | None,
    ranks: int,
    jobs: str = "auto",
    after: Sequence[str] | None = None,
    same_bytes: bool = False,
) -> list[str]:
    """The options of the driver; empty without a cluster.

    Raises InputError where Ray is not installed, and for options that the chosen way to run cells does not have.
    """
    if cluster is None:
        if threads or ranks != 1:
            option = "--threads" if threads else "--ranks"
            raise InputError("it is an option of a cluster", option, "add --cluster local, auto or an address")
        return []
    if jobs != "auto":
        hint = "as many cells run at a time as the cluster has room for; --threads says how many CPUs each takes"
        raise InputError("a cluster does not have this option", "--jobs", hint)
    if after:
        hint = "start it when the other run is over: `ltdd-tui watch` waits for that"
        raise InputError("a cluster does not have this option", "--after", hint)
    if same_bytes:
        hint = "its nodes may be of several origins; --any-origin takes what they make, and tells it"
        raise InputError("a cluster does not have this option", "--same-bytes", hint)
    require_ray()
    given = ["--threads", str(threads)] if threads else []  # else as many as when the sweep was begun
    return ["--address", cluster, *given, "--ranks", str(ranks)]


class DriverLines:
    """What the driver prints into the sweep's console.log, line after line."""

    def __init__(self, folder: SweepFolder) -> None:
        self._console, self._told = folder.console, 0

    def tell(self) -> None:
        """Prints the lines that are new; not its errors, which are printed when it has ended."""
        new = self._console.read_bytes()[self._told :]
        whole = new[: new.rfind(b"\n") + 1]
        self._told += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            if not line.startswith(("error: ", "hint: ")):
                print_note(line)


def cluster_facts(address: str, runs_dir: Path) -> dict[str, Any]:
    """The nodes of a cluster, and the versions here; raises InputError with the driver's words where it has none."""
    require_ray()
    command = [*worker.NODES_COMMAND, "--address", address, "--folder", str(runs_dir.absolute())]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=worker.environment(), check=False
    )
    if done.returncode:
        first, *hints = done.stderr[done.stderr.find("error: ") :].splitlines() or ["the driver failed"]
        hint = next((line.removeprefix("hint: ") for line in hints if line.startswith("hint: ")), "")
        raise InputError(first.removeprefix("error: "), hint=hint)
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def print_nodes(facts: dict[str, Any]) -> None:
    """A row for each node: what it has, whether it sees this machine's folders, and what does not fit."""
    table = plain_table("node", "CPUs", "GPUs", "processor", "files", "fits", right=["CPUs", "GPUs"])
    for node in facts["nodes"]:
        shared = set(facts["folders"]) <= set(node["sees"])
        faults = "; ".join(fault.splitlines()[0].partition(": ")[2] for fault in node["faults"])
        files = "shared" if shared else f"sent; cache {node['cache']}"
        counts = f"{node['cpus']:g}", f"{node['gpus']:g}"
        table.add_row(node["address"], *counts, node["processor"], files, faults or "yes")
    print_data(table)
    versions = ", ".join(f"{name} {version}" for name, version in facts["here"].items())
    print_note(f"here: {versions}; `sweep --cluster` runs where all nodes fit")
    if len({node["processor"] for node in facts["nodes"]}) > 1:
        print_note("the processors differ: cells that run on different ones may differ in their last digits")
