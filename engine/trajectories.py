"""Expert trajectories: what is kept of an expert's training, on disk (a cache shared between runs) and in memory."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from engine.context import Context
from engine.run.errors import InputError
from engine.run.events import ExpertDone, ExpertKind, Warned
from engine.run.expert_cache import ABOUT, expert_file, experts_root
from engine.run.folder import exclusive, write_atomically, write_json
from engine.run.settings import Storage
from engine.training.accuracy import balanced
from engine.training.groups import in_groups

_DTYPES: dict[Storage, torch.dtype] = {"float32": torch.float32, "float16": torch.float16}


@dataclass(frozen=True)
class Trajectory:
    """One expert's weights: `weights` (K, P) at epochs 0..K-2 and, as the last row, after the last epoch.

    As they are stored: mapped from the file, so that memory holds what is read, and float16 where that was asked for.
    For a classifier expert P counts the classifier alone. per_class: its test accuracy in percent (C,).
    norms: the lengths of its classifier's rows (C,).
    """

    weights: Tensor
    per_class: Tensor
    norms: Tensor

    @property
    def last(self) -> Tensor:
        """The weights after the last epoch, (P,)."""
        return self._row(-1)

    @property
    def last_epoch_kept(self) -> int:
        """Epochs 0 to this one can be read."""
        return self.weights.shape[0] - 2

    def at(self, epoch: int) -> Tensor:
        """The weights after `epoch` epochs, (P,)."""
        assert epoch <= self.last_epoch_kept, f"epoch {epoch} was not kept (last kept: {self.last_epoch_kept})"
        return self._row(epoch)

    def _row(self, row: int) -> Tensor:
        weights = self.weights[row]
        return weights.float() if weights.dtype == torch.float16 else weights


@dataclass
class Recorder:
    """Collects the snapshots of experts trained at once: epochs 0..keep and the last, copies that training leaves."""

    keep: int
    kept: list[Tensor]

    @staticmethod
    def started(theta: Tensor, keep: int) -> Recorder:
        """A recorder that has seen epoch 0 of weights (G, P)."""
        return Recorder(keep, [_copied(theta)])

    def record(self, theta: Tensor) -> None:
        """Takes the weights after one more epoch, where they will be read again."""
        if len(self.kept) <= self.keep:
            self.kept.append(_copied(theta))

    def finish(self, theta: Tensor, per_class: list[Tensor], norms: list[list[float]]) -> list[Trajectory]:
        """Each expert's trajectory, with theta as its last weights."""
        weights = torch.stack([*self.kept, _copied(theta)], dim=1)
        lengths = torch.tensor(norms, dtype=theta.dtype)
        return [Trajectory(*parts) for parts in zip(weights, per_class, lengths, strict=True)]


def _copied(theta: Tensor) -> Tensor:
    return theta.detach().to("cpu", copy=True)


class ExpertStore:
    """One kind of experts under one hash, `<cache>/experts/<hash>/0000.safetensors`, written whole or not at all."""

    def __init__(self, key: str, storage: Storage) -> None:
        self.key = key
        self.folder = experts_root() / key
        self.lock = self.folder / "lock"
        self._dtype = _DTYPES[storage]

    def path(self, expert: int) -> Path:
        """The file of one expert."""
        return expert_file(self.folder, expert)

    def describe(self, about: dict[str, Any]) -> None:
        """Writes down what these experts are made from, for those who ask without the images."""
        write_json(self.folder / ABOUT, about)

    def load(self, expert: int, keep: int) -> Trajectory | None:
        """The expert, or None where it is not there, is damaged, or holds fewer epochs than `keep`."""
        try:
            # Mapped, not read: the system brings in what is used, and gives it up again when memory is short.
            tensors = load_file(self.path(expert))
            trajectory = Trajectory(tensors["weights"], tensors["per_class"], tensors["norms"])
        except (OSError, KeyError, ValueError, RuntimeError, SafetensorError):
            return None
        return trajectory if trajectory.last_epoch_kept >= keep else None

    def save(self, expert: int, trajectory: Trajectory) -> None:
        """Writes one expert, atomically."""
        weights = trajectory.weights.to(self._dtype).contiguous()
        tensors = {"weights": weights, "per_class": trajectory.per_class, "norms": trajectory.norms}
        write_atomically(self.path(expert), save(tensors))


# What representation and classifier experts share: taking them from the cache or training them, a group at a time.


Train = Callable[[Sequence[int]], list[Trajectory]]
"""Trains the experts of these numbers at once."""


def obtain_experts(
    context: Context,
    kind: ExpertKind,
    store: ExpertStore,
    count: int,
    keep: int,
    group: int,
    train: Train,
    release: Callable[[], object] = lambda: None,
) -> list[Trajectory]:
    """`count` experts, each from the cache where epochs 0..keep are there; the others trained `group` at once.

    What a group has learned is on disk before the next one begins. `release` is that of in_groups.
    """
    stage = "experts" if kind == "representation" else "classifier_experts"
    with context.stage(stage, count, "experts") as progress, _held(context, store):
        experts = {expert: found for expert in range(count) if (found := store.load(expert, keep))}

        def done(expert: int, cached: bool) -> None:
            context.emit(_expert_done(kind, expert, cached, experts[expert]))
            progress()

        for expert in list(experts):
            done(expert, cached=True)
        missing = [expert for expert in range(count) if expert not in experts]
        for members, trained in in_groups(context, missing, group, train, release):
            for expert, trajectory in zip(members, trained, strict=True):
                store.save(expert, trajectory)
                # Mapped from its file again, what was trained leaves memory, and the first run sees what later ones do.
                experts[expert] = store.load(expert, keep) or trajectory
                done(expert, cached=False)
    return [experts[expert] for expert in range(count)]


def _expert_done(kind: ExpertKind, expert: int, cached: bool, trajectory: Trajectory) -> ExpertDone:
    per_class = trajectory.per_class
    return ExpertDone(kind, expert, cached, balanced(per_class), per_class.tolist(), trajectory.norms.tolist())


@contextlib.contextmanager
def _held(context: Context, store: ExpertStore) -> Iterator[None]:
    """Holds the experts' folder; while another run trains them, waits for it, and still stops when asked to."""
    with contextlib.ExitStack() as held:
        waiting = False
        while not _take(store, held):
            if not waiting:
                context.emit(Warned("another run trains the same experts; waiting for them", str(store.folder)))
            waiting = True
            context.check_stop()
            time.sleep(0.5)
        yield


def _take(store: ExpertStore, held: contextlib.ExitStack) -> bool:
    try:
        held.enter_context(exclusive(store.lock))
    except InputError:
        return False
    return True
