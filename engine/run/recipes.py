"""Evaluation: how networks are trained on a small set in each label regime, as settings and as one recipe for all.

And what is kept of each network in checkpoint/evaluations.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired, TypedDict, TypeGuard, cast, get_args

from pydantic import Field, field_validator

from engine.run.errors import InputError, shortened
from engine.run.fields import AugmentationName, LabelRegime, NetworkName, Precision, Strict, official, ours, paper, rldd


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

    @property
    def decay_epochs(self) -> list[int]:
        """The epochs, counted from 0, from which on the rate is multiplied once more."""
        return [math.ceil(share * self.epochs) for share in self.decay_at]


class EvaluateSettings(Strict):
    """Fresh networks trained only on the synthetic set, then tested on the balanced test set.

    From `epochs` on, the recipe of the stored label regime; hard and online have blocks of their own.
    """

    every: int = official(
        500,
        "iterations between checks of the synthetic set on the way; `best` is the best check",
        unit="iterations",
        ge=1,
    )
    check_from: int = official(
        0, "first iteration that is checked; at 0 the starting set can be `best`", unit="iterations", ge=0
    )
    labels: tuple[LabelRegime, ...] = ours(
        ("stored",),
        "label regimes: classes alone (hard), one soft label stored with each image (stored, as published), or a"
        " teacher that labels every augmented batch (online, several times the work of stored); the first one gives"
        " final, best, checks on the way and further networks",
        min_length=1,
        strict=False,
    )
    check_repeats: int = official(1, "networks of a check on the way", unit="networks", ge=1)
    repeats: int = ours(5, "networks of every reported figure", unit="networks", ge=1)
    arch: tuple[NetworkName, ...] = paper(
        ("convnet",),
        "networks that are trained on the result; the first gives final, best, random, initialization",
        min_length=1,
        strict=False,
    )
    epochs: int = paper(1000, "epochs of a network", unit="epochs", ge=1)
    batch_size: int = official(128, "synthetic images a batch", unit="images", ge=1)
    learning_rate: Annotated[float, Field(gt=0)] | Literal["learnt"] = official(
        "learnt", "SGD step size; learnt: the synthetic set's own beta"
    )
    real_learning_rate: float = ours(
        0.01,
        "step size on random real images, which have no learnt one; 0.01 suits SGD, optimizer adamw needs about 0.001",
        gt=0,
    )
    momentum: float = official(0.9, "SGD momentum", ge=0, lt=1)
    weight_decay: float = official(5.0e-4, "SGD weight decay", ge=0)
    decay_at: float = official(
        0.5, "share of the epochs after which the rate falls to a tenth (official code: 502 of 1001)", gt=0, le=1
    )
    optimizer: Literal["sgd", "adamw"] = official(
        "sgd", "SGD, or AdamW, which has no use for momentum and needs a learning_rate of about 0.001"
    )
    cutmix: float = official(0.0, "alpha of CutMix's Beta distribution, which mixes each batch; 0: no mixing", ge=0)
    ema: float = official(
        0.0, "decay of the exponential moving average (EMA) of the weights, which is tested; 0: none", ge=0, lt=1
    )
    precision: Precision = ours(
        "float32",
        "products and convolutions in training, in every label regime: float32, with TF32 where a GPU has it, or of"
        " bfloat16, for wide networks 3 to 4 times as fast on a CPU with AMX; trained networks are tested in float32",
    )

    def recipe(self, augmentation: tuple[AugmentationName, ...]) -> Recipe:
        """The recipe of the stored regime."""
        return Recipe(
            self.epochs,
            self.batch_size,
            self.optimizer,
            self.momentum,
            self.weight_decay,
            (self.decay_at,),
            0.1,
            augmentation,
            self.cutmix,
            self.ema,
        )

    @field_validator("labels", mode="after")
    @classmethod
    def _each_regime_once(cls, labels: tuple[LabelRegime, ...]) -> tuple[LabelRegime, ...]:
        return tuple(dict.fromkeys(labels))


class HardSettings(Strict):
    """The recipe of the hard label regime: SGD on images whose only label is their class."""

    epochs: int = paper(1000, "epochs of a network", unit="epochs", ge=1)
    batch_size: int = official(128, "images a batch", unit="images", ge=1)
    learning_rate: float = ours(0.01, "SGD step size, of all sets: a learnt one belongs to soft labels", gt=0)
    momentum: float = official(0.9, "SGD momentum", ge=0, lt=1)
    weight_decay: float = official(5.0e-4, "SGD weight decay", ge=0)
    decay_at: float = official(0.5, "share of the epochs after which the rate falls to a tenth", gt=0, le=1)

    def recipe(self, augmentation: tuple[AugmentationName, ...]) -> Recipe:
        """The recipe of the hard regime."""
        weight_decay, decay_at = self.weight_decay, (self.decay_at,)
        return Recipe(self.epochs, self.batch_size, "sgd", self.momentum, weight_decay, decay_at, 0.1, augmentation)


class OnlineSettings(Strict):
    """The recipe of the online label regime: the teacher labels each augmented, mixed batch (RLDD's on CIFAR-10).

    The loss is the mean squared error to the teacher's logits, and a little cross-entropy to the classes.
    """

    epochs: int = rldd(1000, "epochs of a network", unit="epochs", ge=1)
    batch_size: int = rldd(25, "images a batch", unit="images", ge=1)
    learning_rate: float = rldd(1.0e-3, "AdamW step size", gt=0)
    weight_decay: float = rldd(0.01, "AdamW weight decay", ge=0)
    decay_at: float = rldd(
        0.8,
        "share of the epochs after which the rate is halved; halved again each time that half of the rest is over,"
        " twice (0.8: at 0.8, 0.9 and 0.95)",
        gt=0,
        le=1,
    )
    cutmix: float = rldd(1.0, "alpha of CutMix's Beta distribution, which mixes each batch; 0: no mixing", ge=0)
    cross_entropy_weight: float = rldd(0.025, "weight of the cross-entropy to the classes", ge=0)
    ema: float = rldd(
        0.99, "decay of the exponential moving average (EMA) of the weights, which is tested; 0: none", ge=0, lt=1
    )

    def recipe(self, augmentation: tuple[AugmentationName, ...]) -> Recipe:
        """The recipe of the online regime."""
        return Recipe(
            self.epochs,
            self.batch_size,
            "adamw",
            0.0,
            self.weight_decay,
            tuple(1 - (1 - self.decay_at) / 2**halvings for halvings in range(3)),
            0.5,
            augmentation,
            self.cutmix,
            self.ema,
            self.cross_entropy_weight,
        )


def rate_setting(subject: str, labels: str) -> str:
    """The setting of the step size of networks that were trained on `random` or another set in a label regime."""
    if labels != "stored":
        return f"{labels}.learning_rate"
    return "evaluate.real_learning_rate" if subject == "random" else "evaluate.learning_rate"


# ---- Networks and regimes that are named from outside ----


def known_network(name: str, where: str = "arch") -> NetworkName:
    """A name from outside as that of a network; raises InputError, which lists the networks, for any other name."""
    return cast(NetworkName, _known(name, "network", get_args(NetworkName), where))


def known_regime(name: str, where: str = "labels") -> LabelRegime:
    """A name from outside as that of a label regime; raises InputError, which lists the regimes, for any other name."""
    return cast(LabelRegime, _known(name, "label regime", get_args(LabelRegime), where))


def _known(name: str, kind: str, known: tuple[str, ...], where: str) -> str:
    if name not in known:
        near = difflib.get_close_matches(name.lower(), known, n=1)
        hint = f"did you mean {near[0]}?" if near else "name one of these"
        raise InputError(f"there is no {kind} {shortened(name)!r}; known: {', '.join(known)}", where, hint)
    return name


# ---- What is kept of each network ----


class NetworkResult(TypedDict):
    """One trained network: test accuracy of each class in percent, and the L2 norm of each row of its classifier.

    `confidence`: the mean probability that test images of a class give that class, in percent; not in a file of an
    older version. `confusion`: test images by true (row) and predicted class, of a set that a run may end with. Not
    where there are very many classes, nor in a file of an older version. `right`: of each validation image, by which
    something is chosen, whether it was put into its class (1 or 0).
    """

    per_class: list[float]
    norms: list[float]
    confidence: NotRequired[list[float]]
    confusion: NotRequired[list[list[int]]]
    right: NotRequired[list[int]]


def network_results(found: Any, classes: int | None = None) -> list[NetworkResult]:
    """What a file of such results, one or a list, holds, once read as JSON; none of a file of another form.

    classes: None where their number is not known.
    """
    results = found if isinstance(found, list) else [found]
    return results if all(_is_network_result(one, classes) for one in results) else []


def _is_network_result(found: Any, classes: int | None) -> TypeGuard[NetworkResult]:
    if not isinstance(found, dict) or not isinstance(found.get("per_class"), list):
        return False
    per_class, right = found["per_class"], found.get("right", [])
    classes = len(per_class) if classes is None else classes
    confusion = found.get("confusion", [[0] * classes] * classes)
    return (
        all(_are_numbers(row, classes, 100.0) for row in (per_class, found.get("confidence", per_class)))
        and _are_numbers(found.get("norms"), classes, math.inf)
        and isinstance(confusion, list)
        and len(confusion) == classes
        and all(_are_numbers(row, classes, 2**53) and all(isinstance(one, int) for one in row) for row in confusion)
        and isinstance(right, list)
        and all(one in (0, 1) for one in right)
    )


def _are_numbers(row: Any, count: int, largest: float) -> bool:
    # NaN stands for a class without test images, and for a network that diverged.
    return (
        isinstance(row, list)
        and len(row) == count
        and all(type(one) in (int, float) and (0 <= one <= largest or one != one) for one in row)
    )
