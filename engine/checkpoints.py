"""Checkpoints of distillation: the last two states, to resume from, and every set that was checked, to pick the best.

checkpoint/distill-000100.safetensors   set and momentum after iteration 100
checkpoint/sets/000100.safetensors      the set alone, where it was checked
checkpoint/checks.json                  accuracy in percent of each check, by iteration
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from engine.matching.synthetic import Synthetic
from engine.run.errors import RunFailed
from engine.run.folder import RunFolder, write_atomically, write_json


@dataclass(frozen=True)
class DistillState:
    """Everything that the next iteration depends on: iterations done, the set, and the momentum of its parts.

    `average`: the set's average over the iterations, where the settings ask for one. `extra`: what else a method
    carries from one iteration to the next, such as an optimizer's second moments.
    """

    iteration: int
    synthetic: Synthetic
    velocity: Synthetic
    average: Synthetic | None = None
    extra: dict[str, Tensor] = field(default_factory=dict)

    @property
    def result(self) -> Synthetic:
        """The set that is checked, shown, and in the end kept."""
        return self.average or self.synthetic

    @staticmethod
    def at_start(synthetic: Synthetic) -> DistillState:
        """The state before the first iteration: no momentum yet."""
        return DistillState(0, synthetic, synthetic.map(by=torch.zeros_like))


def save_state(folder: RunFolder, state: DistillState) -> None:
    """Writes the state atomically and deletes all but the last two."""
    tensors = _tensors("synthetic", state.synthetic) | _tensors("velocity", state.velocity)
    if state.average:
        tensors |= _tensors("average", state.average)
    tensors |= {f"extra.{name}": tensor.cpu().contiguous() for name, tensor in state.extra.items()}
    write_atomically(folder.checkpoint / f"distill-{state.iteration:06d}.safetensors", save(tensors))
    # Two, not one: should the disk damage the newest, the one before it costs a few iterations instead of all.
    for old in _state_files(folder)[:-2]:
        old.unlink()


def load_state(folder: RunFolder, device: torch.device) -> DistillState | None:
    """The newest state that can be read, on the device, or None."""
    for path in reversed(_state_files(folder)):
        try:
            tensors = load(path.read_bytes())
            parts = [_part(tensors, role, device) for role in ("synthetic", "velocity")]
        except (OSError, KeyError, SafetensorError):
            continue
        average = _part(tensors, "average", device) if "average.images" in tensors else None
        extra = {name[6:]: tensor.to(device) for name, tensor in tensors.items() if name.startswith("extra.")}
        return DistillState(int(path.stem.split("-")[1]), parts[0], parts[1], average, extra)
    return None


def save_set(folder: RunFolder, iteration: int, synthetic: Synthetic) -> None:
    """Keeps the set of a checked iteration, so that the best one can be evaluated at the end."""
    write_atomically(_set_path(folder, iteration), save(_tensors("synthetic", synthetic)))


def load_set(folder: RunFolder, iteration: int, device: torch.device) -> Synthetic:
    """The set that was kept at an iteration; raises RunFailed where it is missing or damaged."""
    path = _set_path(folder, iteration)
    try:
        return _part(load(path.read_bytes()), "synthetic", device)
    except (OSError, KeyError, SafetensorError) as error:
        raise _damaged(path, error) from None


def _set_path(folder: RunFolder, iteration: int) -> Path:
    return folder.checkpoint / "sets" / f"{iteration:06d}.safetensors"


def _state_files(folder: RunFolder) -> list[Path]:
    return sorted(folder.checkpoint.glob("distill-*.safetensors"))


def _tensors(role: str, part: Synthetic) -> dict[str, Tensor]:
    return {f"{role}.{name}": tensor.cpu().contiguous() for name, tensor in part._asdict().items()}


def _part(tensors: dict[str, Tensor], role: str, device: torch.device) -> Synthetic:
    return Synthetic(*(tensors[f"{role}.{name}"].to(device) for name in Synthetic._fields))


def record_check(folder: RunFolder, iteration: int, accuracy: float) -> None:
    """Adds the check of an iteration, its accuracy in percent, to checks.json."""
    write_json(folder.checkpoint / "checks.json", _checks(folder) | {str(iteration): accuracy})


def best_check(folder: RunFolder) -> int | None:
    """The iteration of the most accurate check, the earliest of equals; None without checks. May raise RunFailed."""
    checks = _checks(folder)
    return min(map(int, checks), key=lambda iteration: (-checks[str(iteration)], iteration), default=None)


def _checks(folder: RunFolder) -> dict[str, float]:
    path = folder.checkpoint / "checks.json"
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> RunFailed:
    """An error rather than a silent restart: what is lost can only be made again by all iterations before it."""
    return RunFailed(
        f"the checkpoint is missing or damaged: {error}",
        str(path),
        "delete the run's checkpoint folder and resume: it starts over, with the experts from the cache",
    )
