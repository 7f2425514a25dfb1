"""What the nodes of a cluster do. Each function is a Ray task; the driver (engine/cluster/driver.py) submits it.

A task works in Ray's own worker process, which takes one task after another and so loads torch once.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import shutil
import signal
import socket
import struct
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.run.folder import LockHeld, RunFolder, cache_root, write_atomically
from engine.run.settings import RunSettings
from engine.sweep.cells import State, SweepFolder, at_rest
from engine.sweep.grid import Cell

# Of Linux, in bits/ioctls.h: asks an interface for its address.
_SIOCGIFADDR = 0x8915

LEFT_OUT = ("lock", "stop")
"""Files of a run folder that say what happens on one machine alone."""
LOCKED_SECONDS = 60.0
"""A node that died may hold the lock of a cell on a shared file system a little longer."""

Files = dict[str, bytes]
"""Files of the cache: their paths below its root, and what they hold."""


@dataclass(frozen=True)
class Place:
    """Where the files of a sweep lie: on the driver's machine, and, where the nodes see the same files, there.

    key: names the sweep's folder below the cache of a node that does not. mark: what the driver wrote into `MARK`.
    """

    sweep: str
    cache: str
    shared: bool
    key: str
    mark: str

    def on_this_node(self) -> SweepFolder:
        """The sweep's folder here; names the cache in the environment, for all that this process does."""
        if not self.shared:
            return SweepFolder(cache_root() / "cluster" / self.key / Path(self.sweep).name)
        if unseen := [place for place in (self.sweep, self.cache) if not is_marked(place, self.mark)]:
            # Such as a node that joined later.
            raise FileNotFoundError(f"{unseen[0]} is not the driver's on {os.uname().nodename}")
        os.environ["LTDD_CACHE"] = self.cache
        return SweepFolder(self.sweep)


MARK = ".cluster"


def is_marked(folder: str, mark: str) -> bool:
    """Whether this machine sees the driver's folder, and not another one of the same path."""
    with contextlib.suppress(OSError):
        return (Path(folder) / MARK).read_text() == mark
    return False


# ---- Files that travel ----


def packed(folder: RunFolder) -> bytes:
    """The run folder as a tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(folder.root.iterdir()):
            if path.name not in LEFT_OUT:
                tar.add(path, path.name)
    return buffer.getvalue()


def unpack(content: bytes, folder: RunFolder) -> None:
    """Puts a packed run folder in the place of what is there."""
    incoming = folder.root.with_name(f".{folder.name}.incoming")
    shutil.rmtree(incoming, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        tar.extractall(incoming, filter="data")
    shutil.rmtree(folder.root, ignore_errors=True)
    incoming.rename(folder.root)


def read_files(paths: Sequence[Path]) -> Files:
    """Files of this machine's cache."""
    return {str(path.relative_to(cache_root())): path.read_bytes() for path in paths}


def write_files(files: Mapping[str, bytes]) -> None:
    """Puts files into this machine's cache; those that are there stay."""
    for name, content in files.items():
        if not (cache_root() / name).exists():
            write_atomically(cache_root() / name, content)


# ---- Tasks ----


@dataclass(frozen=True)
class Outcome:
    """How a cell ended: its state, the node, and its run folder as a tar where files are not shared."""

    state: State
    node: str
    folder: bytes | None = None
    note: str = ""


@dataclass(frozen=True)
class CellTask:
    """A cell, and what it needs: its run folder as far as it got, as a tar, and files of the cache.

    parts: names of files, and the Ray object that holds them.
    """

    place: Place
    cell: Cell
    device: str
    begun: bytes | None = None
    parts: Sequence[tuple[Sequence[str], Any]] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def received(self) -> SweepFolder:
        """The sweep's folder on this node, with all that the cell needs."""
        import ray

        folder = self.place.on_this_node()
        for names, files in self.parts:
            if not all((cache_root() / name).exists() for name in names):
                write_files(ray.get(files))
        run = folder.run(self.cell)
        if self.begun is not None and not run.exists():
            unpack(self.begun, run)
        return folder


def facts(places: Sequence[str], mark: str, needed: Sequence[str], key: str = "") -> dict[str, Any]:
    """What this node is and has: versions, device, which of the driver's folders it sees, which files it lacks."""
    import ray

    from engine.device import pick_device
    from engine.manifest import commit, device_name, versions

    if key:  # what stopped an earlier start of this sweep must not stop this one
        for stop in (cache_root() / "cluster" / key).glob("*/stop"):
            stop.unlink(missing_ok=True)
    return {
        "versions": {**versions(), "commit": commit() or "none", "ray": ray.__version__},
        "processor": device_name(pick_device("cpu")),
        "sees": [place for place in places if is_marked(place, mark)],
        "lacks": [path for path in needed if not os.path.exists(path)],
        "cache": str(cache_root()),
    }


def train_experts(place: Place, settings: RunSettings, device: str, numbers: Sequence[int]) -> Files:
    """Experts of these numbers, with their classifier experts; the files that hold them, where they have to travel."""
    from engine.device import keep_freed_memory, pick_device
    from engine.parallel import make_experts

    keep_freed_memory()
    place.on_this_node()
    paths = make_experts(settings, pick_device(device), numbers)
    return {} if place.shared else read_files(paths)


def train_teacher(place: Place, settings: RunSettings, device: str, number: int) -> Files:
    """One network of the teacher, as `train_experts`."""
    from engine.device import keep_freed_memory, pick_device
    from engine.parallel import make_teacher_network

    keep_freed_memory()
    place.on_this_node()
    paths = make_teacher_network(settings, pick_device(device), number)
    return {} if place.shared else read_files(paths)


def run_cell(task: CellTask, board: Any) -> Outcome:
    """One cell, as a worker of a sweep does it; what it fails of is in its run folder."""
    from engine.device import keep_freed_memory
    from engine.queue import stop_signals
    from engine.sweep_worker import do_cell, forget_cell

    keep_freed_memory()
    node = node_address()
    board.begun.remote(task.cell.name, node)
    folder, cell = task.received(), task.cell
    run, note = folder.run(cell), ""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with _held(run), _as_rank(task.environment):
            if at_rest(cell, run).state != "finished":
                try:
                    do_cell(folder, cell, task.device, stop_signals())
                except Exception as error:  # told in the run's events and in its console.log
                    note = f"{type(error).__name__}: {error}"
    except LockHeld:
        return Outcome("running", node, note="another worker holds its run folder")
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        forget_cell()
    state = at_rest(cell, run).state
    if task.place.shared:
        return Outcome(state, node, note=note)
    content = packed(run)
    if state == "finished":
        shutil.rmtree(run.root)
    return Outcome(state, node, content, note)


def assist(task: CellTask) -> None:
    """Another rank of a cell's gang."""
    from engine.device import keep_freed_memory, pick_device
    from engine.distributed import joined
    from engine.parallel import assist as assist_rank_0

    keep_freed_memory()
    task.received()
    with _as_rank(task.environment), joined() as gang:
        assist_rank_0(gang, pick_device(task.device))


def request_stop(place: Place) -> None:
    """Asks all cells of the sweep on this node to stop at safe points."""
    folder = place.on_this_node()
    folder.root.mkdir(parents=True, exist_ok=True)
    folder.stop_request.touch()


@contextlib.contextmanager
def _held(run: RunFolder) -> Iterator[None]:
    give_up = time.monotonic() + LOCKED_SECONDS
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(run.held())
                break
            except LockHeld:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.5)
        yield


@contextlib.contextmanager
def _as_rank(environment: Mapping[str, str]) -> Iterator[None]:
    """With the environment that torch.distributed reads, for the ranks of a gang; this process does other tasks too."""
    added = dict(environment) and {**environment, "GLOO_SOCKET_IFNAME": _interface_of(node_address())}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def node_address() -> str:
    """The address by which the other nodes know this one."""
    import ray

    return str(ray.util.get_node_ip_address())


def _interface_of(address: str) -> str:
    """The network interface with this address; gloo itself may choose one that other nodes cannot reach."""
    for _, name in socket.if_nameindex():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket, contextlib.suppress(OSError):
            asked = fcntl.ioctl(any_socket, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            if socket.inet_ntoa(asked[20:24]) == address:
                return name
    return "lo"
