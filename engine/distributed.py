"""A gang: several processes (ranks) that share the trajectories of one run, each with a GPU or cores of its own.

Rank 0 does the run; `torchrun -m engine run FOLDER` starts all of them. The others keep nothing: for each iteration
they get the synthetic set, and return the gradients of their trajectories. So the run folder, checkpoints, stop
requests and a resume are rank 0's alone, and no rank is ever an iteration ahead. Rank 0 sums the gradients in the order
of the trajectories and not by all_reduce, whose order follows the ranks: a gang gives the bytes of one process.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from engine.run.errors import InputError, RunFailed

# The other ranks wait while rank 0 trains experts and evaluates. A rank that died is seen at once: its sockets close.
_LONGEST_WAIT = timedelta(days=30)


@dataclass(frozen=True)
class Gang:
    """This process's place among the ranks of a run; a run in one process is rank 0 of 1."""

    rank: int = 0
    size: int = 1

    def refuse_unequal_shares(self, trajectories: int) -> None:
        """Raises InputError where the ranks cannot share an iteration's trajectories equally."""
        if trajectories % self.size:
            what = f"{self.size} ranks cannot share an iteration of {trajectories:,} trajectories equally"
            hint = f"set matching.trajectories to a multiple of {self.size}; methods without trajectories take one rank"
            raise InputError(what, "matching.trajectories", hint)

    def share(self, trajectories: int) -> range:
        """The numbers of this rank's trajectories."""
        own = trajectories // self.size
        return range(self.rank * own, (self.rank + 1) * own)

    def send(self, content: bytes) -> None:
        """Rank 0 gives all others something to do; nothing (b"") tells them that the run is over."""
        if self.size > 1:
            with _other_ranks_at_work(self):
                dist.broadcast(torch.tensor([len(content)]), 0)
                if content:
                    dist.broadcast(torch.frombuffer(bytearray(content), dtype=torch.uint8), 0)

    def receive(self) -> bytes:
        """What rank 0 sent."""
        with _other_ranks_at_work(self):
            length = torch.zeros(1, dtype=torch.long)
            dist.broadcast(length, 0)
            content = torch.empty(int(length), dtype=torch.uint8)
            if len(content):
                dist.broadcast(content, 0)
        return bytes(content.numpy())

    def gather(self, own: Tensor) -> Tensor:
        """On rank 0 the rows (n, V) of all ranks, in their order, (n * size, V); on the others only their own."""
        if self.size == 1:
            return own
        # By way of the CPU: a set is small, and so ranks on GPUs, on CPUs or on one shared GPU are the same to gloo.
        rows = own.cpu().contiguous()
        parts = [torch.empty_like(rows) for _ in range(self.size)] if self.rank == 0 else None
        with _other_ranks_at_work(self):
            dist.gather(rows, parts)
        return torch.cat(parts).to(own.device) if parts else own


ALONE = Gang()


@contextlib.contextmanager
def _other_ranks_at_work(gang: Gang) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        what = f"another rank of the gang has ended: {str(error).splitlines()[0]}"
        hint = "its own message says why; resuming the run continues from the last checkpoint"
        raise RunFailed(what, f"rank {gang.rank} of {gang.size}", hint) from None


def rank_here() -> int:
    """The rank that torchrun, or whoever started this process, gave it; 0 where it is alone."""
    return int(os.environ.get("RANK", "0")) if int(os.environ.get("WORLD_SIZE", "1")) > 1 else 0


@contextlib.contextmanager
def joined() -> Iterator[Gang]:
    """Joins the gang that the environment names (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT), or is alone.

    When rank 0 leaves, for whatever reason, the others are told that the run is over.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    gang = Gang(rank_here(), size)
    dist.init_process_group("gloo", timeout=_LONGEST_WAIT)
    try:
        yield gang
    finally:
        if gang.rank == 0:
            with contextlib.suppress(RunFailed):
                gang.send(b"")
        dist.destroy_process_group()
