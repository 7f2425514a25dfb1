"""`python -m engine.cluster run SWEEP_FOLDER --address A` does a sweep on a Ray cluster; `nodes` prints what is there.

Exit codes: 0 all cells are finished, 1 some are not, 2 bad input, 130 stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from engine.cluster.driver import run_on_cluster
from engine.cluster.nodes import ask_nodes, connected, faults_of
from engine.manifest import commit, versions
from engine.run.errors import DONE, LtddError
from engine.run.folder import cache_root
from engine.sweep.cells import SweepFolder


def main() -> int:
    """Reads the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m engine.cluster")
    commands = parser.add_subparsers(dest="command", required=True)
    run, nodes = commands.add_parser("run"), commands.add_parser("nodes")
    run.add_argument("folder", type=Path)
    run.add_argument("--threads", type=int, default=1)
    run.add_argument("--ranks", type=int, default=1)
    run.add_argument("--device", default="auto")
    run.add_argument("--only", action="append", default=[])
    run.add_argument("--failed", action="store_true")
    nodes.add_argument("--folder", type=Path, action="append", default=[])
    for command in (run, nodes):
        command.add_argument("--address", default="auto")
    own = parser.parse_args()
    try:
        if own.command == "run":
            folder = SweepFolder(own.folder)
            return run_on_cluster(folder, own.address, own.threads, own.ranks, own.device, own.only, own.failed)
        return _print_nodes(own.address, [*own.folder, cache_root()])
    except LtddError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _print_nodes(address: str, folders: list[Path]) -> int:
    """Prints the nodes as JSON, with the faults of each, and the versions here."""
    with connected(address) as ray:
        here = {**versions(), "commit": commit() or "none", "ray": ray.__version__}
        nodes = ask_nodes(ray, folders)
    facts = [asdict(node) | {"faults": [str(fault) for fault in faults_of([node], here)]} for node in nodes]
    print(json.dumps({"here": here, "folders": list(map(str, folders)), "nodes": facts}))
    return DONE


if __name__ == "__main__":
    sys.exit(main())
