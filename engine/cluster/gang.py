"""One cell by several ranks of torch.distributed, each with a GPU or cores of its own, in a placement group."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine.cluster.tasks import CellTask, Outcome, assist, node_address, run_cell

STARTS = 3
"""How often a gang is started: one whose node died goes on from its last checkpoint, or begins anew."""

END_SECONDS = 30.0
"""The other ranks have that long to end after rank 0."""


def run_gang(task: CellTask, board: Any, ranks: int, resources: Mapping[str, Any], environment: Any) -> Outcome:
    """Does one cell by `ranks` tasks, with `resources` and an `environment` (Ray's runtime_env) for each.

    It is a task itself, which waits for the others.
    """
    import ray

    for start in range(1, STARTS + 1):
        try:
            return _run_once(task, board, ranks, resources, environment)
        except ray.exceptions.RayTaskError as error:
            return Outcome("failed", node_address(), note=f"a rank of its gang failed: {error.cause}")
        except ray.exceptions.RayError as error:
            last = error
            print(f"{task.cell.name}: a rank died, start {start} of {STARTS}: {str(error).splitlines()[0]}")
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
        return ray.remote(function).options(**options)

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
