"""Expert trajectories: what is kept of an expert's training, in memory and in a cache on disk shared between runs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from engine.context import Context, warning_of_damage
from engine.cores import give_cores_back
from engine.run.checksums import sealed_safetensors
from engine.run.errors import RunFailed
from engine.run.events import Emit, Warned
from engine.run.expert_cache import ABOUT, ORIGIN, expert_file, experts_root
from engine.run.folder import clear_temporaries, verify_file, write_atomically, write_json
from engine.run.locks import LockHeld, exclusive
from engine.run.manifest import Origin
from engine.run.settings import Storage
from engine.training.accuracy import ClassFigures


@dataclass(frozen=True)
class Trajectory:
    """One expert's weights over its training, and how it did on the test set.

    `weights` (K, P): rows 0 to K-2 are the weights after epochs 0 to K-2, the last row those after the last epoch.
    They stay as they are stored: mapped from the file, so that memory holds only what is read, and float16 where that
    was asked for. For a classifier expert P counts the classifier's weights alone.
    `per_class` (C,): test accuracy of each class in percent. `norms` (C,): L2 norm of each row of the classifier.
    `confidence` (C,): the mean probability that test images of a class give that class, in percent; None of experts
    that an older version trained.
    """

    weights: Tensor
    per_class: Tensor
    norms: Tensor
    confidence: Tensor | None = None

    @property
    def last(self) -> Tensor:
        """The weights after the last epoch, (P,) float32."""
        return _as_float32(self.weights[-1])

    @property
    def last_epoch_kept(self) -> int:
        """Epochs 0 to this one can be read with `at`."""
        return self.weights.shape[0] - 2

    def at(self, epoch: int) -> Tensor:
        """The weights after `epoch` epochs, (P,) float32."""
        assert epoch <= self.last_epoch_kept, f"epoch {epoch} was not kept (last kept: {self.last_epoch_kept})"
        return _as_float32(self.weights[epoch])


def _as_float32(weights: Tensor) -> Tensor:
    # Tests in float64 keep their precision: only what was stored in half is widened.
    return weights.float() if weights.dtype == torch.float16 else weights


class Recorder:
    """Collects snapshots of G experts that are trained together: epochs 0 to `last_epoch`, and the final one.

    Later epochs are never read again (matching starts at max_start_epoch at the latest), so they are not kept.
    """

    def __init__(self, theta: Tensor, last_epoch: int) -> None:
        """`theta`: the weights (G, P) of epoch 0."""
        self._last_epoch, self._snapshots = last_epoch, [_cpu_copy(theta)]

    def record(self, theta: Tensor) -> None:
        """Keeps the weights (G, P) after one more epoch, if that epoch is read again."""
        if len(self._snapshots) <= self._last_epoch:
            self._snapshots.append(_cpu_copy(theta))

    def finish(self, theta: Tensor, tested: list[ClassFigures], norms: list[list[float]]) -> list[Trajectory]:
        """The trajectory of each expert, with `theta` (G, P) as its last weights."""
        weights = torch.stack([*self._snapshots, _cpu_copy(theta)], dim=1)
        row_norms = torch.tensor(norms, dtype=theta.dtype)
        return [
            Trajectory(own, of_expert.per_class, of_rows, of_expert.confidence)
            for own, of_expert, of_rows in zip(weights, tested, row_norms, strict=True)
        ]


def _cpu_copy(theta: Tensor) -> Tensor:
    # Training steps the weights in place, so a view would change with them.
    return theta.detach().to("cpu", copy=True)


class ExpertStore:
    """The cached experts of one hash, `<cache>/experts/<hash>/0000.safetensors` and so on, each written atomically.

    The hash covers everything that changes an expert's bytes, so that runs share experts exactly when they would train
    the same ones.
    """

    def __init__(self, key: str, storage: Storage, emit: Emit = lambda event: None) -> None:
        self.key, self._emit = key, emit
        self.folder = experts_root() / key
        self.lock = self.folder / "lock"
        self._dtype = {"float32": torch.float32, "float16": torch.float16}[storage]

    def path(self, expert: int) -> Path:
        """The file of one expert."""
        return expert_file(self.folder, expert)

    def checkpoint(self, expert: int) -> Path:
        """Where one that is under way is kept after every epoch, where it is."""
        return self.path(expert).with_suffix(".epochs.safetensors")

    def describe(self, about: dict[str, Any]) -> None:
        """Writes what these experts are made from, for readers without the images (engine/run/expert_cache.py)."""
        write_json(self.folder / ABOUT, about, sealed=True)

    def load(self, expert: int, last_epoch: int) -> Trajectory | None:
        """The expert, or None where its file is missing, damaged, not finite, or ends before `last_epoch`.

        Emits Warned for one that is damaged or not finite.
        """
        path = self.path(expert)
        try:
            verify_file(path)
            # load_file maps the file: the system pages in what is used, and drops it again when memory is short.
            tensors = load_file(path)
            measured = tensors["per_class"], tensors["norms"], tensors.get("confidence")
            trajectory = Trajectory(tensors["weights"], *measured)
            # What has left the finite numbers never comes back to them, so the last weights tell of all before.
            if not bool(trajectory.weights[-1].isfinite().all()):
                raise ValueError("its weights are not finite")
        except FileNotFoundError:
            return None
        except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
            self._emit(warning_of_damage(path, error, "made again"))
            return None
        return trajectory if trajectory.last_epoch_kept >= last_epoch else None

    def save(self, expert: int, trajectory: Trajectory, origin: Origin | None = None) -> None:
        """Writes one expert, atomically, with the origin that made it where that is known.

        Raises RunFailed where its weights are not finite as they are kept.
        """
        weights = trajectory.weights.to(self._dtype).contiguous()
        if not bool(weights.isfinite().all()):
            hint = "lower the learning rate of the experts, or set experts.storage float32"
            raise RunFailed(f"weights of expert {expert} are not finite as {self._dtype}", str(self.path(expert)), hint)
        tensors = {"weights": weights, "per_class": trajectory.per_class, "norms": trajectory.norms}
        if trajectory.confidence is not None:
            tensors["confidence"] = trajectory.confidence
        metadata = {ORIGIN: origin.model_dump_json()} if origin else None
        write_atomically(self.path(expert), sealed_safetensors(save(tensors, metadata)))

    @contextlib.contextmanager
    def locked(self, context: Context) -> Iterator[None]:
        """Holds these experts for this run; while another run trains them, waits, and raises Stopped when asked to."""
        with contextlib.ExitStack() as held:
            warned = False
            while True:
                try:
                    held.enter_context(exclusive(self.lock, "another run trains the same experts"))
                    break
                except LockHeld:
                    if not warned:
                        context.emit(Warned("another run trains the same experts; waiting for them", str(self.folder)))
                    warned = True
                    context.check_stop()
                    give_cores_back()
                    time.sleep(0.5)
            clear_temporaries(self.folder)
            yield
