"""The recipe by which an evaluation trains a network on a small set, in each label regime. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engine.run.settings import AugmentationName, LabelRegime, RunSettings


@dataclass(frozen=True)
class Recipe:
    """How a network is trained on a small set; the learning rate comes with the set.

    decay_at: shares of the epochs after which the rate is multiplied by `decay_factor`, once for each. cutmix: alpha of
    its Beta distribution, 0 for none. ema: what the averaged weights, which are tested, keep of themselves at a step; 0
    to test the last weights. teacher_weight: where a teacher gives the targets, the weight of the cross-entropy to the
    classes beside them.
    """

    epochs: int
    batch_size: int
    optimizer: Literal["sgd", "adamw"]
    momentum: float
    weight_decay: float
    decay_at: tuple[float, ...]
    decay_factor: float
    augmentation: tuple[AugmentationName, ...]
    cutmix: float = 0.0
    ema: float = 0.0
    teacher_weight: float | None = None


def recipe_of(settings: RunSettings, regime: LabelRegime) -> Recipe:
    """The recipe of a label regime: hard, stored or online."""
    augmentation = settings.dataset.augmentation
    match regime:
        case "hard":
            hard = settings.hard
            return Recipe(
                hard.epochs,
                hard.batch_size,
                "sgd",
                hard.momentum,
                hard.weight_decay,
                (hard.decay_at,),
                0.1,
                augmentation,
            )
        case "stored":
            stored = settings.evaluate
            return Recipe(
                stored.epochs,
                stored.batch_size,
                stored.optimizer,
                stored.momentum,
                stored.weight_decay,
                (stored.decay_at,),
                0.1,
                augmentation,
                stored.cutmix,
                stored.ema,
            )
        case "online":
            online = settings.online
            # At 0.8 of the epochs, and when half of what is left is done, twice: 0.8, 0.9 and 0.95.
            decay_at = tuple(1 - (1 - online.decay_at) / 2**halvings for halvings in range(3))
            return Recipe(
                online.epochs,
                online.batch_size,
                "adamw",
                0.0,
                online.weight_decay,
                decay_at,
                0.5,
                augmentation,
                online.cutmix,
                online.ema,
                online.cross_entropy_weight,
            )
