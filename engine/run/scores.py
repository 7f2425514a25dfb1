"""Two scores of a set beside its accuracy, LRS and ARS of DD-Ranking 0.2.0, and scores.json, which holds them.

Both are computed on fractions. DD-Ranking's own code puts percent into `exp`: its numbers do not compare with these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from engine.run.checksums import DamagedFile
from engine.run.errors import Fault
from engine.run.folder import RunFolder, read_verified
from engine.run.metrics import Count, Percent

STEP_SIZES = (0.001, 0.005, 0.01, 0.05, 0.1)
"""Those among which DD-Ranking searches."""
WEIGHT = 0.5
"""Of IOR in LRS, and of augmented training in ARS (DD-Ranking's)."""
RULE = (
    "step sizes are searched on held-out training images, with one network each (random images have none of these, the"
    " set was made from all); DD-Ranking takes the test set"
)

Fraction = Annotated[float, Field(ge=-1, le=1)]
Score = Annotated[float, Field(ge=0, le=1)]

PARTS = {
    "full_hard": "all images, hard labels",
    "set_hard": "the set, hard labels",
    "random_hard": "random images, hard labels",
    "set": "the set, its own recipe",
    "random": "random images, the same recipe",
    "set_plain": "the set, its own recipe without augmentation",
    "random_plain": "random images, the same recipe without augmentation",
}
"""What is evaluated for the scores, by its name in scores.json."""


class Part(BaseModel, strict=True):
    """One evaluation: accuracy in percent, mean and sample standard deviation over `repeats` fresh networks.

    `searched`: whether their SGD step size was searched; else it belongs to the set or to the recipe.
    """

    accuracy_mean: Percent
    accuracy_std: Percent
    repeats: Count
    learning_rate: float
    searched: bool


class Scores(BaseModel, strict=True):
    """All of scores.json. IOR, HLR and the gain without augmentation are differences of accuracies, as fractions of 1.

    labels: the label regime of the set's own recipe. held_out: training images that step sizes were chosen on; random
    images of a search have none of them, the set was made from all.
    """

    schema_version: Any = Field(1, alias="schema")
    lrs: Score
    ars: Score
    ior: Fraction
    hlr: Fraction
    plain_gain: Fraction
    weight: Score = WEIGHT
    labels: str
    arch: str
    repeats: Count
    step_sizes: list[float]
    held_out: Count
    rule: str = RULE
    parts: dict[str, Part]


def label_robust_score(ior: float, hlr: float, weight: float = WEIGHT) -> float:
    """LRS, 0 to 1: what a set is worth beside its labels.

    ior: accuracy of the set less that of random images, under the set's own recipe. hlr: accuracy of all images less
    that of the set, both with hard labels. Fractions of 1. A set that equals random images and all images has 0.269.
    """
    return _normalized(weight * ior - (1 - weight) * hlr)


def augmentation_robust_score(ior: float, plain_gain: float, weight: float = WEIGHT) -> float:
    """ARS, 0 to 1: what a set is worth beside the augmentation.

    ior: as of LRS; plain_gain: the same without augmentation.
    """
    return _normalized(weight * ior + (1 - weight) * plain_gain)


def _normalized(gain: float) -> float:
    """From [-1, 1] to [0, 1], steeper at the upper end."""
    return (math.exp(gain) - math.exp(-1)) / (math.e - math.exp(-1))


def scores_of(parts: Mapping[str, Part], labels: str, arch: str, repeats: int, held_out: int) -> Scores:
    """The scores of all PARTS."""
    share = {name: part.accuracy_mean / 100 for name, part in parts.items()}
    ior, hlr = share["set"] - share["random"], share["full_hard"] - share["set_hard"]
    plain = share["set_plain"] - share["random_plain"]
    return Scores(
        lrs=label_robust_score(ior, hlr),
        ars=augmentation_robust_score(ior, plain),
        ior=ior,
        hlr=hlr,
        plain_gain=plain,
        labels=labels,
        arch=arch,
        repeats=repeats,
        step_sizes=list(STEP_SIZES),
        held_out=held_out,
        parts=dict(parts),
    )


def read_scores(folder: RunFolder) -> tuple[Scores | None, list[Fault]]:
    """The scores of a run, None where it has none; and what is wrong with the file where it cannot be read."""
    hint = f"`ltdd-tui scores {folder.cli_name}` writes them anew"
    try:
        return Scores.model_validate_json(read_verified(folder.scores)), []
    except FileNotFoundError:
        return None, []
    except OSError as error:
        return None, [Fault(str(error.strerror), folder.scores.name)]
    except DamagedFile as error:
        return None, [Fault(str(error), folder.scores.name, hint)]
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([folder.scores.name, *map(str, first["loc"])])
        return None, [Fault(first["msg"], where, hint)]
