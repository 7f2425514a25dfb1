"""Training on all long-tailed images for a number of epochs, by SGD with a step size that changes from step to step.

The teacher and the bounds of a report are trained so. After every epoch a checkpoint is written, from which a killed
run goes on; each epoch has random numbers of its own, so that the bytes of what follows are the same.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from engine.context import generator, warning_of_damage
from engine.data.dataset import LongTailedData
from engine.losses import one_hot
from engine.nets.functional import FlatNetwork
from engine.run.checksums import DamagedFile, sealed_safetensors
from engine.run.events import Emit
from engine.run.expert_cache import ORIGIN
from engine.run.folder import read_verified, verify_file, write_atomically
from engine.run.manifest import Origin
from engine.run.settings import LongTailLoss, RunSettings
from engine.training.batches import TrainingStream, augmented_batches, shuffled_batches
from engine.training.sgd import Batch, Gradient, Sgd, Step, TrainingState, half_cosine, refuse_divergence, train_epoch

# ---- The step size ----

_RISE_SHARE = 0.3
_FIRST_DIVISOR, _LAST_DIVISOR = 25.0, 1e4


def one_cycle(step: int, steps: int) -> float:
    """The step size at `step` of `steps` as a share of its peak: two cosines, up for 3/10 of the steps, then down.

    From 1/25 of the peak to 1/250,000: the form and the defaults of torch.optim.lr_scheduler.OneCycleLR (Smith and
    Topin 2017), with the momentum left as it is.
    """
    top = _RISE_SHARE * steps - 1
    first, last = 1 / _FIRST_DIVISOR, 1 / _FIRST_DIVISOR / _LAST_DIVISOR
    if step <= top:
        return _cosine(first, 1.0, step / top if top > 0 else 1.0)
    return _cosine(1.0, last, (step - top) / (steps - 1 - top))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * half_cosine(share)


# ---- The loss and the order of images, against the imbalance ----


def balanced_softmax(gradient: Gradient, network: FlatNetwork, class_counts: list[int]) -> Gradient:
    """The gradient of the cross-entropy of logits + log(class share) (Ren et al. 2020), from the plain one.

    What is added to the logits can be added to the classifier's bias, which the plain gradient is then taken at.
    """
    prior = torch.tensor(class_counts, dtype=torch.float64).log() - math.log(sum(class_counts))
    _, bias = network.classifier_weights(torch.arange(network.num_parameters))

    def at_prior(theta: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        shifted = theta.clone()
        shifted[:, bias] += prior.to(theta)
        return gradient(shifted, images, targets)

    return at_prior


def weighted_batches(weights: Tensor, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """As many indices as there are images, drawn with replacement by their weights (N,), in batches."""
    yield from torch.multinomial(weights, len(weights), replacement=True, generator=generator).split(batch_size)


# ---- The epochs ----


@dataclass(frozen=True)
class EpochTraining:
    """How one network is trained: weights (P,) at the start, and for each epoch, from 1, its gradient and batches.

    rate: the SGD step size at a step of all the steps, `steps` an epoch.
    """

    start: Tensor
    gradient: Callable[[int], Gradient]
    batches: Callable[[int], Iterator[Batch]]
    rate: Callable[[int, int], float]
    epochs: int
    steps: int
    sgd: Sgd

    def run(
        self,
        where: str,
        checkpoint: Path,
        epoch_done: Callable[[int, float], None],
        emit: Emit,
        origin: Origin | None = None,
    ) -> Tensor:
        """The weights (P,) after the last epoch, from where `checkpoint` was left.

        where: names the network in errors. epoch_done: told each epoch and its mean loss once that epoch is on disk; it
        may raise Stopped. origin: of all epochs, where the checkpoint lies outside of the run. Emits Warned for a
        damaged checkpoint: the one of the epoch before is kept beside it. Raises RunFailed before anything is written
        that is not finite.
        """
        state = TrainingState.started([self.start], [0.0])
        for epoch in range(1 + _read(checkpoint, state, emit), self.epochs + 1):
            (loss,) = train_epoch(self._step(state, epoch), self.batches(epoch))
            refuse_divergence([loss], state.theta, f"{where}, epoch {epoch}", "teacher.learning_rate")
            tensors = {"theta": state.theta, "velocity": state.velocity, "epoch": torch.tensor(epoch)}
            if checkpoint.exists():
                os.replace(checkpoint, _epoch_before(checkpoint))
            metadata = {ORIGIN: origin.model_dump_json()} if origin else None
            content = save({name: tensor.cpu() for name, tensor in tensors.items()}, metadata)
            write_atomically(checkpoint, sealed_safetensors(content))
            epoch_done(epoch, loss)
        return state.theta[0]

    def _step(self, state: TrainingState, epoch: int) -> Callable[[Tensor, Tensor], Tensor]:
        step, numbers = Step(state, self.gradient(epoch), self.sgd), iter(range((epoch - 1) * self.steps, 2**53))

        def at_its_rate(images: Tensor, targets: Tensor) -> Tensor:
            state.rate.fill_(self.rate(next(numbers), self.epochs * self.steps))
            return step(images, targets)

        return at_its_rate


def _read(checkpoint: Path, state: TrainingState, emit: Emit) -> int:
    """Copies the newest checkpoint that can be read into the state; the epochs that it has done, 0 without one."""
    for path in _checkpoints_of(checkpoint):
        try:
            tensors = load(read_verified(path))
            theta, velocity, epoch = tensors["theta"], tensors["velocity"], int(tensors["epoch"])
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            emit(warning_of_damage(path, error, "trained again from the epoch before, or from the start"))
            # Else it would take the place of the sound one.
            path.unlink(missing_ok=True)
            continue
        if theta.shape == state.theta.shape and velocity.shape == state.velocity.shape:
            state.theta.copy_(theta)
            state.velocity.copy_(velocity)
            return epoch
    return 0


def delete_checkpoint(checkpoint: Path) -> None:
    """Deletes what `EpochTraining.run` has kept, once the result is on disk."""
    for path in _checkpoints_of(checkpoint):
        path.unlink(missing_ok=True)


def newest_checkpoint(checkpoint: Path) -> Path | None:
    """The file that `EpochTraining.run` would go on from; None where nothing is under way, or all is damaged."""
    for path in _checkpoints_of(checkpoint):
        with contextlib.suppress(OSError, DamagedFile):
            verify_file(path)
            return path
    return None


def _checkpoints_of(checkpoint: Path) -> list[Path]:
    """Those of the last two epochs, the newest first, as far as they are there."""
    return [path for path in (checkpoint, _epoch_before(checkpoint)) if path.exists()]


def _epoch_before(checkpoint: Path) -> Path:
    """Where the checkpoint of the epoch before is kept."""
    return checkpoint.with_name(f"{checkpoint.stem}-before.safetensors")


def long_tailed_training(
    settings: RunSettings,
    data: LongTailedData,
    network: FlatNetwork,
    start: Tensor,
    gradient: Gradient,
    loss: LongTailLoss,
    epochs: int,
    names: Sequence[str | int],
) -> EpochTraining:
    """A network's training from weights (P,) by the teacher's recipe; `gradient` is that of the plain cross-entropy.

    plain: every image once an epoch. class_balanced: as many images, each class as often as the others.
    balanced_softmax: every image once, and the loss corrected by the class shares. `names` seed the order of images.
    """
    recipe = settings.teacher
    of_loss = balanced_softmax(gradient, network, data.class_counts) if loss == "balanced_softmax" else gradient
    labels, counts = data.train_labels.cpu(), torch.tensor(data.class_counts)
    targets = data.train_labels
    if recipe.cutmix:  # mixed labels are no indices
        targets = one_hot(targets, data.train_images.new_empty(0, data.num_classes))

    def batches(epoch: int) -> Iterator[Batch]:
        draws = generator(settings.seed, *names, "epoch", epoch)
        order = shuffled_batches(len(labels), recipe.batch_size, draws)
        if loss == "class_balanced":
            order = weighted_batches(1 / counts[labels], recipe.batch_size, draws)
        stream = TrainingStream(data.train_images, targets, order, draws, recipe.cutmix)
        return augmented_batches([stream], settings.dataset.augmentation)

    return EpochTraining(
        start,
        lambda epoch: of_loss,
        batches,
        lambda step, steps: recipe.learning_rate * one_cycle(step, steps),
        epochs,
        -(-len(labels) // recipe.batch_size),
        Sgd(recipe.momentum, recipe.weight_decay),
    )
