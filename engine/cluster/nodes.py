"""Connects to a Ray cluster, and asks its nodes what they are: versions, folders in common, files that they lack.

`python -m engine.cluster.nodes --address A` prints the answers as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.run.errors import DONE, Fault, InputError, LtddError, listed
from engine.run.folder import cache_root, write_atomically

ANSWER_SECONDS = 120.0
MARK = ".cluster-"
"""How the files begin by which nodes know a driver's folders; a key follows, since drivers may share a cache."""


@dataclass(frozen=True)
class Node:
    """One node: its resources as Ray counts them, and what it said of itself.

    sees: those of the driver's folders that it sees, too. lacks: files and folders that it needs and does not have.
    problem: why it said nothing.
    """

    id: str
    address: str
    cpus: float
    gpus: float
    versions: dict[str, str]
    processor: str = ""
    sees: Sequence[str] = ()
    lacks: Sequence[str] = ()
    cache: str = ""
    problem: str = ""


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """Ray, connected to a cluster: `local` starts one on this machine, `auto` is the one that this machine belongs to.

    Raises InputError where Ray is not installed, is of another version, or where there is no cluster.
    """
    # Both are read at the import: nothing is reported to Ray's makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # `ray start` asks for the user's token where there is one; a program that connects does not send it by itself.
    if "RAY_AUTH_TOKEN" in os.environ or (Path.home() / ".ray" / "auth_token").is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
    except ImportError:
        raise InputError("Ray is not installed", "--cluster", "pip install 'ltdd-tui[ray]'") from None
    local: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error", **local)
    except ImportError as error:  # ray:// needs gRPC
        raise InputError(f"Ray's client is not installed: {error}", address, "pip install 'ltdd-tui[ray]'") from None
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _refused(address, str(error)) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _refused(address: str, message: str) -> InputError:
    """Why there is no connection, in one line."""
    lines = [line.strip() for line in message.splitlines() if line.strip()] or ["no answer"]
    if "ersion mismatch" in message:
        what = f"the cluster has another version of Ray or Python: {' '.join(lines)}"
        return InputError(what, address, "install the same versions on all machines")
    if "uthentication" in message or "Unauthenticated" in message:
        hint = "copy ~/.ray/auth_token of the head node to this machine"
        return InputError("the cluster asks for another token", address, hint)
    hint = "`ray start --head` starts a cluster (docs/cluster.md); --cluster local needs none"
    why = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return InputError(f"there is no Ray cluster: {why}", address, hint)


@contextlib.contextmanager
def marked(folders: Sequence[Path], key: str) -> Iterator[str]:
    """Shows the nodes that these are the driver's folders, which are created where they are not there.

    key: no two drivers at work have the same. Yields the mark: what the files hold.
    """
    # The key alone would let a file that a killed driver left on another machine count.
    mark, paths = uuid.uuid4().hex, [folder / f"{MARK}{key}" for folder in folders]
    try:
        for path in paths:
            write_atomically(path, mark)
        yield mark
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


def is_marked(folder: str, key: str, mark: str) -> bool:
    """Whether this machine sees the driver's folder, and not another one of the same path."""
    with contextlib.suppress(OSError):
        return (Path(folder) / f"{MARK}{key}").read_text() == mark
    return False


def versions_here(ray: Any) -> dict[str, str]:
    """What has to be the same on all nodes, as this process has it."""
    from engine.manifest import commit, versions

    return {**versions(), "commit": commit() or "none", "ray": ray.__version__}


def facts(places: Sequence[str], key: str, mark: str, needed: Sequence[str]) -> dict[str, Any]:
    """What this node is and has: versions, device, which of the driver's folders it sees, which files it lacks."""
    import ray

    from engine.device import pick_device
    from engine.manifest import device_name

    # What stopped an earlier start of this sweep must not stop this one.
    for stop in (cache_root() / "cluster" / key).glob("*/stop"):
        stop.unlink(missing_ok=True)
    return {
        "versions": versions_here(ray),
        "processor": device_name(pick_device("cpu")),
        "sees": [place for place in places if is_marked(place, key, mark)],
        "lacks": [path for path in needed if not os.path.exists(path)],
        "cache": str(cache_root()),
    }


def ask_nodes(ray: Any, folders: Sequence[Path], key: str, mark: str, needed: Sequence[str] = ()) -> list[Node]:
    """What each node says; `folders` are the driver's, `marked`.

    key: of the sweep (`engine.cluster.tasks.Place`). needed: paths that each node must have.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    alive = [node for node in ray.nodes() if node["Alive"]]
    asked = []
    for node in alive:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ask = ray.remote(facts).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        asked.append(ask.remote([str(folder) for folder in folders], key, mark, needed))
    nodes = []
    for node, answer in zip(alive, asked, strict=True):
        own = node["Resources"]
        of_ray = node["NodeID"], node["NodeManagerAddress"], own.get("CPU", 0.0), own.get("GPU", 0.0)
        try:
            nodes.append(Node(*of_ray, **ray.get(answer, timeout=ANSWER_SECONDS)))
        except ray.exceptions.GetTimeoutError:
            nodes.append(Node(*of_ray, {}, problem=f"it gave no answer within {ANSWER_SECONDS:.0f} s"))
        except ray.exceptions.RayError as error:
            missing = "No module named 'engine" in str(error) or "engine.cluster" in str(error)
            problem = "ltdd-tui is missing, or an older one" if missing else last_line(error)
            nodes.append(Node(*of_ray, {}, problem=problem))
    return nodes


def last_line(error: BaseException) -> str:
    """The line of one of Ray's errors that says what happened; those before it are a traceback."""
    return str(error).strip().rpartition("\n")[2] or type(error).__name__


def faults_of(nodes: Sequence[Node], here: dict[str, str]) -> list[Fault]:
    """Why a sweep cannot run on these nodes; `here`: the driver's versions."""
    faults = []
    for node in nodes:
        where = f"node {node.address}"
        if node.problem:
            faults.append(Fault(node.problem, where, "install the same version of ltdd-tui there as here"))
            continue
        others = [f"{name} {own}, here {here[name]}" for name, own in node.versions.items() if own != here[name]]
        if others:
            faults.append(Fault(f"other versions: {'; '.join(others)}", where, "install the same on all machines"))
        if node.lacks:
            hint = "put it at the same path on every node, or on a file system that all share"
            faults.append(Fault(f"{listed(node.lacks)} is not there", where, hint))
    return faults


def refuse_unfit(nodes: Sequence[Node], here: dict[str, str], threads: int, gpus: int, ranks: int) -> None:
    """Raises InputError with all faults; one is that `ranks` processes of so many threads and GPUs have no room.

    Ray itself would wait for a larger node.
    """
    faults = faults_of(nodes, here)
    room = sum(int(min(node.cpus // threads, node.gpus // gpus if gpus else node.cpus)) for node in nodes)
    if room < ranks:
        of_each = f"{threads:,} CPUs" + (f" and {gpus} GPU" if gpus else "")
        what = f"the cluster has room for {room:,} processes of {of_each}, {ranks:,} are needed at a time"
        faults.append(Fault(what, "--ranks" if ranks > 1 else "--threads", "lower it, or add nodes"))
    if faults:
        raise InputError(faults)


def main() -> int:
    """Prints as JSON the nodes, with the faults of each, and the versions here; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m engine.cluster.nodes")
    parser.add_argument("--address", default="auto")
    parser.add_argument("--folder", type=Path, action="append", default=[])
    own = parser.parse_args()
    folders, key = [*own.folder, cache_root()], uuid.uuid4().hex
    try:
        with connected(own.address) as ray, marked(folders, key) as mark:
            here, nodes = versions_here(ray), ask_nodes(ray, folders, key, mark)
    except LtddError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    described = [asdict(node) | {"faults": [str(fault) for fault in faults_of([node], here)]} for node in nodes]
    print(json.dumps({"here": here, "folders": list(map(str, folders)), "nodes": described}))
    return DONE


if __name__ == "__main__":
    sys.exit(main())
