"""What distillation keeps in the run folder: the last two states to resume from, and every set that was checked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from engine.matching.synthetic import Synthetic
from engine.run.errors import RunFailed
from engine.run.folder import RunFolder, write_atomically, write_json

_NAMES = ("images", "label_logits", "beta")


@dataclass(frozen=True)
class DistillState:
    """All that the next iteration depends on: the set, its momentum and how many iterations it has seen."""

    iteration: int
    synthetic: Synthetic
    velocity: Synthetic

    @staticmethod
    def at_start(synthetic: Synthetic) -> DistillState:
        """Before the first iteration."""
        return DistillState(0, synthetic, synthetic.map(by=torch.zeros_like))


def save_state(folder: RunFolder, state: DistillState) -> None:
    """Writes checkpoint/distill-<iteration>.safetensors, atomically, and keeps the last two."""
    tensors = _tensors("synthetic", state.synthetic) | _tensors("velocity", state.velocity)
    write_atomically(folder.checkpoint / f"distill-{state.iteration:06d}.safetensors", save(tensors))
    for old in _states(folder)[:-2]:
        old.unlink()


def load_state(folder: RunFolder, device: torch.device) -> DistillState | None:
    """The newest state that can be read, or None."""
    for path in reversed(_states(folder)):
        try:
            tensors = load(path.read_bytes())
            parts = [_part(tensors, role, device) for role in ("synthetic", "velocity")]
        except (OSError, KeyError, SafetensorError):
            continue
        return DistillState(int(path.stem.split("-")[1]), *parts)
    return None


def save_set(folder: RunFolder, iteration: int, synthetic: Synthetic) -> None:
    """Keeps the set of an iteration, so that the best one can be evaluated in the end."""
    write_atomically(_set_path(folder, iteration), save(_tensors("synthetic", synthetic)))


def load_set(folder: RunFolder, iteration: int, device: torch.device) -> Synthetic:
    """The set that was kept at an iteration."""
    path = _set_path(folder, iteration)
    try:
        return _part(load(path.read_bytes()), "synthetic", device)
    except (OSError, KeyError, SafetensorError) as error:
        raise _damaged(path, error) from None


def _set_path(folder: RunFolder, iteration: int) -> Path:
    return folder.checkpoint / "sets" / f"{iteration:06d}.safetensors"


def _states(folder: RunFolder) -> list[Path]:
    return sorted(folder.checkpoint.glob("distill-*.safetensors"))


def _tensors(role: str, part: Synthetic) -> dict[str, Tensor]:
    return {f"{role}.{name}": getattr(part, name).cpu().contiguous() for name in _NAMES}


def _part(tensors: dict[str, Tensor], role: str, device: torch.device) -> Synthetic:
    return Synthetic(*(tensors[f"{role}.{name}"].to(device) for name in _NAMES))


def record_check(folder: RunFolder, iteration: int, accuracy: float) -> None:
    """Notes the accuracy in percent of the check at an iteration."""
    write_json(_checks_path(folder), _checks(folder) | {str(iteration): accuracy})


def best_check(folder: RunFolder) -> int | None:
    """The iteration of the most accurate check (the first of equals), or None where nothing was checked."""
    checks = _checks(folder)
    return min(map(int, checks), key=lambda iteration: (-checks[str(iteration)], iteration), default=None)


def _checks_path(folder: RunFolder) -> Path:
    return folder.checkpoint / "checks.json"


def _checks(folder: RunFolder) -> dict[str, float]:
    path = _checks_path(folder)
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> RunFailed:
    """These cannot be made again without the iterations before them."""
    return RunFailed(
        f"the checkpoint is missing or damaged: {error}",
        str(path),
        "delete the run's checkpoint folder and resume: it begins anew, with the experts from the cache",
    )
