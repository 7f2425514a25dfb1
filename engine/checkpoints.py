"""Checkpoints of distillation: the last two states, to resume from, and every set that was checked, to pick the best.

checkpoint/distill-000100.safetensors   set and momentum after iteration 100
checkpoint/sets/000100.safetensors      the set alone, where it was checked
checkpoint/checks.json                  accuracy in percent of each check, by iteration
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from engine.context import warning_of_damage
from engine.matching.synthetic import Synthetic
from engine.run.checksums import sealed_safetensors
from engine.run.errors import RunFailed, listed
from engine.run.event_log import told_since_start
from engine.run.events import Emit, Evaluated, Warned
from engine.run.folder import RunFolder, read_typed, read_verified, write_atomically, write_json
from engine.run.metrics import CHECKS, SECONDS_OF_EACH


@dataclass(frozen=True)
class DistillState:
    """Everything that the next iteration depends on: iterations done, the set, and the momentum of its parts.

    `average`: the set's average over the iterations, where the settings ask for one. `extra`: what else a method
    carries from one iteration to the next, such as an optimizer's second moments. `stepped_down`: the iterations at
    which matching went back to its best set and lowered its rates; their number says how often. `recovered`: the same
    of those at which it diverged, and went back to an earlier state with all rates halved.
    """

    iteration: int
    synthetic: Synthetic
    velocity: Synthetic
    average: Synthetic | None = None
    extra: dict[str, Tensor] = field(default_factory=dict)
    stepped_down: tuple[int, ...] = ()
    recovered: tuple[int, ...] = ()

    @property
    def result(self) -> Synthetic:
        """The set that is checked, shown, and in the end kept."""
        return self.average or self.synthetic

    @staticmethod
    def at_start(synthetic: Synthetic) -> DistillState:
        """The state before the first iteration: no momentum yet."""
        return DistillState(0, synthetic, synthetic.map(by=torch.zeros_like))

    def back_at(self, best: Synthetic) -> DistillState:
        """This state with the set that was best so far, at rest; the iterations are counted on."""
        average = best if self.average else None
        at_rest, stepped_down = best.map(by=torch.zeros_like), (*self.stepped_down, self.iteration)
        return replace(self, synthetic=best, velocity=at_rest, average=average, stepped_down=stepped_down)


def save_state(folder: RunFolder, state: DistillState, keep: int | None = None) -> None:
    """Writes the state atomically: a run goes on from here. Deletes all but this, the one before, and that of `keep`.

    Later ones are damaged, or the run went back from them.
    """
    tensors = _tensors("synthetic", state.synthetic) | _tensors("velocity", state.velocity)
    if state.average:
        tensors |= _tensors("average", state.average)
    tensors |= {f"extra.{name}": tensor.cpu().contiguous() for name, tensor in state.extra.items()}
    for name in ("stepped_down", "recovered"):
        if at := getattr(state, name):
            tensors[name] = torch.tensor(at)
    path = folder.checkpoint / f"distill-{state.iteration:06d}.safetensors"
    write_atomically(path, sealed_safetensors(save(tensors)))
    # Two, not one: should the disk damage the newest, the one before it costs a few iterations instead of all.
    files = _state_files(folder)
    kept = [file for file in files if file <= path][-2:]
    for file in files:
        if file not in kept and _iteration_of(file) != keep:
            file.unlink()


def load_state(
    folder: RunFolder, device: torch.device, emit: Emit = lambda event: None, until: int | None = None
) -> DistillState | None:
    """The newest state that can be read, of those up to iteration `until`; on the device, or None.

    Emits Warned for a damaged one.
    """
    for path in reversed(_state_files(folder)):
        if until is not None and _iteration_of(path) > until:
            continue
        try:
            tensors = load(read_verified(path))
            parts = [_part(tensors, role, device) for role in ("synthetic", "velocity")]
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            emit(warning_of_damage(path, error, "the run goes on from the checkpoint before it, or from its start"))
            continue
        average = _part(tensors, "average", device) if "average.images" in tensors else None
        extra = {name[6:]: tensor.to(device) for name, tensor in tensors.items() if name.startswith("extra.")}
        went_back = (tuple(tensors[name].tolist()) if name in tensors else () for name in ("stepped_down", "recovered"))
        return DistillState(_iteration_of(path), parts[0], parts[1], average, extra, *went_back)
    return None


def save_set(folder: RunFolder, iteration: int, synthetic: Synthetic) -> None:
    """Keeps the set of a checked iteration, so that the best one can be evaluated at the end."""
    write_atomically(_set_path(folder, iteration), sealed_safetensors(save(_tensors("synthetic", synthetic))))


def load_set(folder: RunFolder, iteration: int, device: torch.device) -> Synthetic:
    """The set that was kept at an iteration; raises RunFailed where it is missing or damaged."""
    path = _set_path(folder, iteration)
    try:
        return _part(load(read_verified(path)), "synthetic", device)
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise _damaged(path, error) from None


def _set_path(folder: RunFolder, iteration: int) -> Path:
    return folder.checkpoint / "sets" / f"{iteration:06d}.safetensors"


def _state_files(folder: RunFolder) -> list[Path]:
    return sorted(folder.checkpoint.glob("distill-*.safetensors"))


def _iteration_of(state_file: Path) -> int:
    return int(state_file.stem.split("-")[1])


def _tensors(role: str, part: Synthetic) -> dict[str, Tensor]:
    return {f"{role}.{name}": tensor.cpu().contiguous() for name, tensor in part._asdict().items()}


def _part(tensors: dict[str, Tensor], role: str, device: torch.device) -> Synthetic:
    return Synthetic(*(tensors[f"{role}.{name}"].to(device) for name in Synthetic._fields))


def record_check(folder: RunFolder, iteration: int, accuracy: float) -> None:
    """Adds the check of an iteration, its accuracy in percent, to checks.json."""
    known = checks(folder) | {iteration: accuracy}
    write_json(folder.checkpoint / "checks.json", {str(at): own for at, own in known.items()}, sealed=True)


def best_check(folder: RunFolder, until: int | None = None) -> int | None:
    """The iteration of the most accurate check, the earliest of equals; None without checks.

    until: the last iteration that counts: a run that was killed may have checks past the state that it goes on from.
    """
    return best_of({at: accuracy for at, accuracy in checks(folder).items() if until is None or at <= until})


def best_of(accuracies: Mapping[int, float]) -> int | None:
    """The iteration of the highest accuracy, the earliest of equals; None of none."""
    return min(accuracies, key=lambda iteration: (-accuracies[iteration], iteration), default=None)


def checks(folder: RunFolder) -> dict[int, float]:
    """The accuracy in percent of each check, by iteration; as the events tell it where the file is lost or damaged."""
    noted = read_typed(folder.checkpoint / "checks.json", CHECKS)
    return _told_checks(folder) if noted is None else {int(at): accuracy for at, accuracy in noted.items()}


def restore_checks(folder: RunFolder, emit: Emit) -> None:
    """Writes into checks.json the checks that only the events tell of, with a Warned: else another set would be best.

    Raises RunFailed where a set was kept of a check that neither of them knows.
    """
    path, told = folder.checkpoint / "checks.json", _told_checks(folder)
    noted = {int(at): accuracy for at, accuracy in (read_typed(path, CHECKS) or {}).items()}
    if lost := sorted(told.keys() - noted.keys()):
        write_json(path, {str(at): accuracy for at, accuracy in sorted((told | noted).items())}, sealed=True)
        emit(Warned(f"checks.json lacked the checks of iterations {listed([*map(str, lost)])}; the events told them"))
    # A set is kept before it is checked: of the latest, a worker that was killed may not have known the accuracy.
    kept = sorted(int(path.stem) for path in (folder.checkpoint / "sets").glob("*.safetensors"))
    if unknown := [str(at) for at in kept[:-1] if at not in told | noted]:
        raise _damaged(path, f"it lacks the checks of iterations {listed(unknown)}")


def _told_checks(folder: RunFolder) -> dict[int, float]:
    checked = [event for event in told_since_start(folder.events, Evaluated) if event.subject == "check"]
    return {event.iteration: event.accuracy_mean for event in checked if event.iteration is not None}


def record_seconds(folder: RunFolder, evaluated: str, seconds: float) -> None:
    """Notes in training_seconds.json how long a network of this evaluation trained; apart, as results are alike."""
    # Not synced: what a power failure damages is only not told.
    known = training_seconds(folder) | {evaluated: seconds}
    write_json(folder.checkpoint / "training_seconds.json", known, sync=False, sealed=True)


def training_seconds(folder: RunFolder) -> dict[str, float]:
    """Seconds that a network trained, by evaluation; without those that were taken from the cache."""
    return read_typed(folder.checkpoint / "training_seconds.json", SECONDS_OF_EACH) or {}


def _damaged(path: Path, error: Exception | str) -> RunFailed:
    """An error rather than a silent restart: what is lost can only be made again by all iterations before it."""
    return RunFailed(
        f"the checkpoint is missing or damaged: {error}",
        str(path),
        "delete the run's checkpoint folder and resume: it starts over, with the experts from the cache",
    )
