"""Two Ray nodes in two network namespaces of this machine: the same bytes as a local sweep, also when one node dies.

    sudo python -m benchmarks.cluster [--sweep FILE] [--shared] [--experts 8]

Needs root, `ip` (iproute2) and Ray. Each node has one CPU and a cache of its own; without --shared it does not see the
driver's folders, which an empty file system hides. Prints, and records in benchmarks/results/cluster.json:

- artifacts of a sweep that is run here, on both nodes, and on both nodes of which one is killed in the middle: how many
  files, and which differ;
- experts on two nodes against one node: seconds, and how many times faster.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from engine.manifest import commit, device_name, versions
from engine.run.folder import write_atomically, write_json
from engine.sweep.grid import load_sweep

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "cluster.json"
HOSTS = ("10.77.0.1", "10.77.0.2")
SMALL = """
preset: quickstart
set: {matching.iterations: 20, matching.max_start_epoch: 2, experts.num_experts: 4, experts.epochs: 8,
      evaluate.epochs: 30, evaluate.every: 10, evaluate.repeats: 1, evaluate.check_repeats: 1}
grid: {method: [ltdd, random], dataset.imbalance_factor: [10, 50], ipc: [1], seed: [0, 1]}
"""
EXPERTS = """
preset: quickstart
set: {{matching.iterations: 1, matching.max_start_epoch: 2, experts.num_experts: {experts}, experts.epochs: {epochs},
      evaluate.epochs: 1, evaluate.every: 10, evaluate.repeats: 1, evaluate.check_repeats: 1}}
grid: {{method: [datm], seed: [0]}}
"""
OF_ONE_MACHINE = {"manifest.json", "events.jsonl", "console.log", "lock", "seconds.json", "stop"}
"""Files that say when and where something was run, and so differ each time."""
OF_ONE_TIME = {"stage_seconds", "memory_gib", "estimated"}
"""The same of metrics.json."""


class Cluster:
    """Two namespaces that see each other, and a Ray node in the first, or in both."""

    def __init__(self, work: Path, shared: bool) -> None:
        self.work, self._shared, self._nodes = work, shared, dict[int, subprocess.Popen[bytes]]()

    def __enter__(self) -> Cluster:
        for number in (0, 1):
            subprocess.run(["ip", "netns", "del", f"ltdd{number}"], check=False, capture_output=True)
            run("ip", "netns", "add", f"ltdd{number}")
        run("ip", "link", "add", "ltdd0", "netns", "ltdd0", "type", "veth", "peer", "name", "ltdd1", "netns", "ltdd1")
        for number, host in enumerate(HOSTS):
            self.inside(number, "ip", "addr", "add", f"{host}/24", "dev", f"ltdd{number}")
            for device in ("lo", f"ltdd{number}"):
                self.inside(number, "ip", "link", "set", device, "up")
        return self

    def __exit__(self, *_: object) -> None:
        for number in list(self._nodes):
            self.kill(number)
        for number in (0, 1):
            run("ip", "netns", "del", f"ltdd{number}")

    def inside(self, number: int, *command: str) -> None:
        run("ip", "netns", "exec", f"ltdd{number}", *command)

    def start(self, number: int) -> None:
        """Starts a node with one CPU, and a cache of its own."""
        head = ["--head", "--port=6379", "--include-dashboard=false", f"--temp-dir={self.work / 'ray'}"]
        place = head if number == 0 else [f"--address={HOSTS[0]}:6379"]
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--node-ip-address={HOSTS[number]}"]
        ray += ["--num-cpus=1", "--object-store-memory=300000000", "--disable-usage-stats", *place]
        # Other paths for what the nodes share of this machine's disk: the driver's folders are hidden from them.
        hidden = "" if self._shared else f"mount -t tmpfs none {self.work / 'driver'} && "
        command = ["ip", "netns", "exec", f"ltdd{number}", "unshare", "--mount", "sh", "-c", hidden + 'exec "$@"', "sh"]
        printed = self.work / f"node{number}.log"
        log = open(printed, "wb")  # noqa: SIM115
        cache = {"LTDD_CACHE": str(self.work / f"cache{number}")}
        self._nodes[number] = subprocess.Popen(
            [*command, *ray], env=environment() | cache, stdout=log, stderr=log, start_new_session=True
        )
        give_up = time.monotonic() + 120
        while "Ray runtime started" not in printed.read_text():
            if time.monotonic() > give_up:
                raise SystemExit(f"node {number} has not started: {printed.read_text()}")
            time.sleep(0.5)

    def kill(self, number: int) -> None:
        """Ends a node as a power cut does: all that runs in its namespace, at once."""
        pids = subprocess.run(["ip", "netns", "pids", f"ltdd{number}"], capture_output=True, text=True, check=True)
        for pid in pids.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        self._nodes.pop(number).wait()

    def sweep(self, folder: Path, kill_after: int | None = None) -> str:
        """Runs a sweep from the first namespace; returns what the driver prints. Kills node 1 after so many cells."""
        command = [sys.executable, "-m", "engine.cluster.driver", str(folder), f"--address={HOSTS[0]}:6379"]
        process = subprocess.Popen(
            ["ip", "netns", "exec", "ltdd0", *command, "--device=cpu"],
            env=environment() | {"LTDD_CACHE": str(folder.parent / "cache")},
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        lines, finished = list[str](), 0
        assert process.stderr is not None
        for line in process.stderr:
            print("   ", line, end="", flush=True)
            lines.append(line)
            finished += ": finished" in line
            # Once it is at work on a cell, and some of its cells and experts are done.
            if kill_after is not None and finished >= kill_after and f"on {HOSTS[1]}" in line:
                print("    ----- node 1 is killed", flush=True)
                self.kill(1)
                kill_after = None
        if process.wait():
            raise SystemExit(f"the sweep ended with code {process.returncode}")
        return "".join(lines)


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def environment() -> dict[str, str]:
    return os.environ | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
    }


def begin(folder: Path, text: str) -> Path:
    """A sweep's folder."""
    write_atomically(folder.parent / f"{folder.name}.yaml", text)
    write_atomically(folder / "sweep.yaml", load_sweep(str(folder.parent / f"{folder.name}.yaml")).resolved)
    return folder


def artifacts(place: Path) -> dict[str, bytes]:
    """The files of all run folders and of the experts in the driver's cache, without what tells of times."""
    found = {}
    for path in [*(place / "sweep").glob("*/**/*"), *(place / "cache" / "experts").rglob("*")]:
        if path.is_file() and path.name not in OF_ONE_MACHINE:
            content = path.read_bytes()
            if path.name in ("metrics.json", "README.md"):
                content = without_times(content.decode()).encode()
            found[str(path.relative_to(place))] = content
    return found


def without_times(text: str) -> str:
    """A report without seconds, bytes of memory, and the commit."""
    with contextlib.suppress(ValueError):
        return json.dumps({key: own for key, own in json.loads(text).items() if key not in OF_ONE_TIME})
    return re.sub(r".*(seconds|memory| s\b| min\b|GiB).*\n", "", text)


def compare(local: dict[str, bytes], other: dict[str, bytes]) -> dict[str, object]:
    """How many files, and which are missing, new or different."""
    differ = sorted(name for name in local.keys() | other.keys() if local.get(name) != other.get(name))
    return {"files": len(local), "megabytes": round(sum(map(len, local.values())) / 1e6, 1), "different": differ}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweep", type=Path)
    parser.add_argument("--shared", action="store_true")
    parser.add_argument("--experts", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=450)
    parser.add_argument("--only", choices=("bytes", "kill", "speed"))
    own = parser.parse_args()
    text = own.sweep.read_text() if own.sweep else SMALL
    with tempfile.TemporaryDirectory(prefix="ltdd-cluster-") as temporary:
        result = measured(Path(temporary), own, text)
    print(json.dumps(result, indent=2))
    if own.only is None:
        write_json(RESULT, result)


def measured(work: Path, own: argparse.Namespace, text: str) -> dict[str, object]:
    about = {"commit": commit(), "versions": versions(), "device": device_name(torch.device("cpu"))}
    result: dict[str, object] = {**about, "cores": os.cpu_count(), "shared": own.shared}
    if own.only in (None, "bytes", "kill"):
        print("here")
        local = begin(work / "local" / "sweep", text)
        began = time.monotonic()
        command = [sys.executable, "-m", "engine.sweep.supervisor", str(local), "--jobs", "2", "--device", "cpu"]
        subprocess.run(command, check=True, cwd=ROOT, env=environment() | {"LTDD_CACHE": str(work / "local" / "cache")})
        result["local_seconds"], expected = time.monotonic() - began, artifacts(work / "local")
        for name, kill_after in (("cluster", None), ("killed", 1)):
            if own.only == "bytes" and name == "killed":
                continue
            with nodes(work, own.shared) as cluster:
                print("on two nodes" if kill_after is None else "on two nodes, one of which is killed")
                began = time.monotonic()
                cluster.sweep(begin(work / "driver" / "sweep", text), kill_after)
                result[f"{name}_seconds"] = time.monotonic() - began
                result[name] = compare(expected, artifacts(work / "driver"))
    if own.only in (None, "speed"):
        result["experts"] = {"epochs": own.epochs}
        for count in (1, 2):
            with nodes(work, own.shared, count) as cluster:
                print(f"{own.experts} experts on {count} node(s)")
                # A first one brings torch's files into memory, and is not counted. Loading torch is: 4 s on each node.
                for name, experts, epochs in (("warm", 2, 1), ("experts", own.experts, own.epochs)):
                    given = EXPERTS.format(experts=experts, epochs=max(3, epochs))
                    printed = cluster.sweep(begin(work / "driver" / name, given))
            seconds = re.search(r"are there after ([\d.]+) s", printed)
            assert seconds
            result["experts"][f"{count}_nodes_seconds"] = float(seconds[1])  # type: ignore[index]
        times = result["experts"]
        times["times_faster"] = times["1_nodes_seconds"] / times["2_nodes_seconds"]  # type: ignore[index]
    return result


@contextlib.contextmanager
def nodes(work: Path, shared: bool, count: int = 2) -> Iterator[Cluster]:
    """A cluster with empty caches, and an empty folder for the driver."""
    for name in ("driver", "cache0", "cache1"):
        shutil.rmtree(work / name, ignore_errors=True)
        (work / name).mkdir()
    with Cluster(work, shared) as cluster:
        for number in range(count):
            cluster.start(number)
        yield cluster


if __name__ == "__main__":
    main()
