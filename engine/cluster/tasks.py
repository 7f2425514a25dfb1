"""What the nodes of a cluster do. Each function is a Ray task; the driver (engine/cluster/driver.py) submits it.

A task works in Ray's own worker process, which takes one task after another and so loads torch once.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import math
import os
import shutil
import signal
import socket
import struct
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.cluster.nodes import is_marked
from engine.run.expert_cache import epochs_kept
from engine.run.folder import RunFolder, cache_root, write_atomically
from engine.run.locks import LockHeld
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

    key: names the sweep's folder below the cache of a node that does not. mark: what shows the driver's folders, as of
    `engine.cluster.nodes.marked`.
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
        if unseen := [place for place in (self.sweep, self.cache) if not is_marked(place, self.key, self.mark)]:
            # Such as a node that joined later.
            raise FileNotFoundError(f"{unseen[0]} is not the driver's on {os.uname().nodename}")
        os.environ["LTDD_CACHE"] = self.cache
        return SweepFolder(self.sweep)


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


def is_further(run: RunFolder, content: bytes) -> bool:
    """Whether a run folder is as far as a packed one, or further: events are only ever added."""
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        packed_bytes = sum(member.size for member in tar if member.name == run.events.name)
    return run.exists() and (run.events.stat().st_size if run.events.exists() else 0) >= packed_bytes


def read_files(paths: Sequence[Path]) -> Files:
    """Files of this machine's cache."""
    return {str(path.relative_to(cache_root())): path.read_bytes() for path in paths}


def write_files(files: Mapping[str, bytes]) -> None:
    """Puts files into this machine's cache; those that it has stay, as of `has_file`."""
    for name, content in files.items():
        if not has_file(name, len(content)):
            write_atomically(cache_root() / name, content)


def has_file(name: str, length: int) -> bool:
    """Whether this machine's cache has a file of at least `length` bytes, which is no damaged expert.

    An expert of the same name with fewer epochs is shorter; one with more epochs serves as well.
    """
    path = cache_root() / name
    try:
        there = path.stat().st_size
    except OSError:
        return False
    return there >= length and (path.suffix != ".safetensors" or epochs_kept(path) > -math.inf)


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

    parts: names of files with their lengths in bytes, and the Ray object that holds them.
    """

    place: Place
    cell: Cell
    device: str
    begun: bytes | None = None
    parts: Sequence[tuple[Mapping[str, int], Any]] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def received(self) -> SweepFolder:
        """The sweep's folder on this node, with what the cell needs in the cache."""
        import ray

        folder = self.place.on_this_node()
        for lengths, files in self.parts:
            if not all(has_file(name, length) for name, length in lengths.items()):
                write_files(ray.get(files))
        return folder


class Board:
    """An actor to which nodes tell what they begin with: Ray itself does not tell a driver where a task runs.

    It keeps the outcomes of those processes that end with them (`run_cell`).
    """

    def __init__(self) -> None:
        self._news: list[tuple[str, str]] = []
        self._outcomes: dict[str, Outcome] = {}

    def keep(self, name: str, outcome: Outcome) -> None:
        """How a cell ended, whose process does not live to return it."""
        self._outcomes[name] = outcome

    def kept(self, name: str) -> Outcome | None:
        """The outcome that was kept of a cell."""
        return self._outcomes.get(name)

    def begun(self, name: str, node: str) -> None:
        """A node begins with a cell."""
        self._news.append((name, node))

    def read(self) -> list[tuple[str, str]]:
        """What is new: cells and nodes."""
        news, self._news = self._news, []
        return news


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
    """One cell, as a worker of a sweep does it; what it fails of is in its run folder.

    After an unknown error this process is not trusted, as in engine/sweep_worker.py: it leaves the outcome with the
    board and ends. Ray then does the task again, in another process, which returns that outcome.
    """
    import ray

    from engine.device import keep_freed_memory
    from engine.queue import stop_signals
    from engine.sweep_worker import do_cell, forget_cell

    kept: Outcome | None = ray.get(board.kept.remote(task.cell.name))
    if kept:
        return kept
    keep_freed_memory()
    node = node_address()
    board.begun.remote(task.cell.name, node)
    folder, cell = task.received(), task.cell
    run, note = folder.run(cell), ""
    # A process that died may have left more here than the driver knows, or less: another node went on since then.
    if task.begun is not None and not run.is_running() and not is_further(run, task.begun):
        unpack(task.begun, run)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # Only a run that is there can be held: on this node it may be new.
    run.root.mkdir(parents=True, exist_ok=True)
    try:
        with held_soon(run), _as_rank(task.environment):
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
    outcome = Outcome(at_rest(cell, run).state, node, None if task.place.shared else packed(run), note)
    if not task.place.shared:
        shutil.rmtree(run.root)
    if note and not task.environment:  # a process of a gang does nothing else
        ray.get(board.keep.remote(cell.name, outcome))
        os._exit(1)
    return outcome


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
def held_soon(run: RunFolder) -> Iterator[None]:
    """Holds the run folder, for which it waits at most `LOCKED_SECONDS`; raises LockHeld after that."""
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


# ---- A gang: one cell by several ranks of torch.distributed, each with a GPU or cores of its own ----

GANG_STARTS = 3
"""How often a gang is started: one whose node died goes on from its last checkpoint, or begins anew."""

END_SECONDS = 30.0
"""The other ranks have that long to end after rank 0."""


def run_gang(task: CellTask, board: Any, ranks: int, resources: Mapping[str, Any], environment: Any) -> Outcome:
    """Does one cell by `ranks` tasks, with `resources` and an `environment` (Ray's runtime_env) for each.

    It is a task itself, which waits for the others.
    """
    import ray

    for start in range(1, GANG_STARTS + 1):
        try:
            return _run_once(task, board, ranks, resources, environment)
        except ray.exceptions.RayTaskError as error:
            return Outcome("failed", node_address(), note=f"a rank of its gang failed: {error.cause}")
        except ray.exceptions.RayError as error:
            last = error
            print(f"{task.cell.name}: a rank died, start {start} of {GANG_STARTS}: {str(error).splitlines()[0]}")
    raise last


def _run_once(task: CellTask, board: Any, ranks: int, resources: Mapping[str, Any], environment: Any) -> Outcome:
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    bundle = {"CPU": resources["num_cpus"]} | ({"GPU": gpus} if (gpus := resources["num_gpus"]) else {})
    # On as few nodes as possible: ranks talk in every iteration.
    group = placement_group([bundle] * ranks, strategy="PACK")

    def at(rank: int, function: Any, **own: Any) -> Any:
        place = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank)
        options = {**resources, "runtime_env": environment, "max_retries": 0, "scheduling_strategy": place, **own}
        return ray.remote(max_calls=1)(function).options(**options)

    running: list[Any] = []
    try:
        ray.get(group.ready())
        host, port = ray.get(at(0, free_address, num_cpus=0, num_gpus=0).remote())
        common = {"MASTER_ADDR": host, "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks), "LOCAL_RANK": "0"}
        members = [replace(task, environment=common | {"RANK": str(rank)}) for rank in range(ranks)]
        first = at(0, run_cell).remote(members[0], board)
        running = [first, *(at(rank, assist).remote(members[rank]) for rank in range(1, ranks))]
        while first in running:
            # Whoever fails first says why; the others would wait for it, or only say that it has ended.
            done, running = ray.wait(running)
            results = ray.get(done)
        _, running = ray.wait(running, num_returns=len(running), timeout=END_SECONDS) if running else ([], [])
        return next(result for result in results if isinstance(result, Outcome))
    finally:
        for left in running:
            ray.cancel(left, force=True)
        remove_placement_group(group)


def free_address() -> tuple[str, int]:
    """This node's address and a free port, for rank 0."""
    with socket.socket() as free:
        free.bind(("", 0))
        return node_address(), int(free.getsockname()[1])
