"""Settings that are `auto`: what the number of images decides becomes a number, with the reason of each. No torch.

A number of epochs says nothing of a network: an epoch of 100 images has a few steps, one of 10,000 has hundreds. So the
steps are what is kept, and the epochs follow. All values are ours; the constants stand in one table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from engine.run.data_settings import DatasetSettings, ValidationSettings
from engine.run.datasets import counts_for, kept_counts
from engine.run.errors import Fault, SettingsError
from engine.run.image_folder import survey
from engine.run.settings import RunSettings
from engine.run.validation import combination_faults
from engine.run.yaml_text import dump_yaml, with_comments


class Epochs(NamedTuple):
    """Steps (of classifiers: draws) that a network should see, and the fewest and most epochs that it may have."""

    work: int
    fewest: int
    most: int

    def of(self, work_of_an_epoch: int) -> int:
        """Epochs in which that work is done."""
        return min(max(math.ceil(self.work / work_of_an_epoch), self.fewest), self.most)


# ---- The table. ----

MANY_IMAGES = 2_000
"""From so many train images on, batches are large."""
SMALL_BATCH, LARGE_BATCH = 16, 64
TEACHER_SMALL_BATCH, TEACHER_LARGE_BATCH = 32, 128
# On 655 images of 20 classes at 32 pixels (one network, test accuracy in %): experts of 600, 1,600 and 4,100 steps gave
# classifier experts of 18.8, 20.2 and 21.9; bounds of 300, 800 and 2,100 steps reached 13.4, 20.0 and 22.6.
EXPERTS = Epochs(work=2_000, fewest=15, most=200)
CLASSIFIERS = Epochs(work=20_000, fewest=2, most=10)
TEACHERS = Epochs(work=2_000, fewest=15, most=200)
START_SHARE = 0.5
"""Start epochs of matching lie in this first share of the experts' epochs."""
EXTREME_TAIL = 2_000
"""From this imbalance on (largest class over smallest), DAM weights sum to 1: the head's would be too large."""


def resolve_auto(settings: RunSettings, counts: Sequence[int]) -> tuple[RunSettings, dict[str, str]]:
    """The settings with numbers in place of `auto`, and the reason of each by its dotted key.

    counts: train images of each class. Raises SettingsError where a number does not fit another setting.
    """
    wanted = settings.unresolved
    if not wanted:
        return settings, {}
    values, reasons = settings.model_dump(), dict[str, str]()

    def resolve(key: str, value: Any, reason: str) -> Any:
        """Puts the value where the setting is auto; returns the one that it has then."""
        block, name = key.split(".")
        if key in wanted:
            values[block][name], reasons[key] = value, reason
        return values[block][name]

    images, classes = sum(counts), len(counts)
    batch, teacher_batch = SMALL_BATCH, TEACHER_SMALL_BATCH
    if images >= MANY_IMAGES:
        batch, teacher_batch = LARGE_BATCH, TEACHER_LARGE_BATCH
    sized = f"{images:,} train images"
    batch = resolve("experts.batch_size", batch, sized)
    resolve("classifier_experts.batch_size", batch, "that of the experts")
    teacher_batch = resolve("teacher.batch_size", teacher_batch, sized)
    # A class may have no images yet: that is a fault elsewhere.
    steps, teacher_steps = (max(1, math.ceil(images / size)) for size in (batch, teacher_batch))
    epochs = resolve("experts.epochs", own := EXPERTS.of(steps), _steps(steps, own, EXPERTS))
    draws = max(1, *counts) * classes
    fewest = max(CLASSIFIERS.fewest, settings.matching.expert_epochs)
    own = CLASSIFIERS._replace(fewest=fewest, most=max(fewest, CLASSIFIERS.most)).of(draws)
    resolve("classifier_experts.epochs", own, f"{draws:,} draws an epoch, {own * draws:,} in all")
    own = TEACHERS.of(teacher_steps)
    for key in ("teacher.epochs", "bounds.epochs"):
        resolve(key, own, _steps(teacher_steps, own, TEACHERS))
    last = epochs + 1 - settings.matching.expert_epochs
    bound = min(max(round(START_SHARE * epochs), settings.matching.min_start_epoch + 1), last)
    resolve("matching.max_start_epoch", bound, f"the first half of {epochs} epochs of the experts")
    imbalance = max(counts) / max(1, min(counts))
    word = "one" if imbalance >= EXTREME_TAIL else "classes"
    resolve("matching.dam_weight_total", word, f"the largest class has {imbalance:,.0f} times the smallest")
    try:
        return RunSettings.model_validate(values), reasons
    except ValidationError as error:
        # A number that follows may lie outside its range, such as a start epoch where experts have one epoch.
        hint = "write a number instead of auto, or change what it follows from"
        first = error.errors()[0]
        of_one = Fault(first["msg"], ".".join(map(str, first["loc"][:2])), hint)
        raise SettingsError(combination_faults(error) or [of_one]) from None


def _steps(an_epoch: int, epochs: int, aim: Epochs) -> str:
    bound = {aim.fewest: ", the fewest epochs", aim.most: ", the most epochs"}.get(epochs, "")
    return f"{an_epoch:,} step{'s' * (an_epoch > 1)} an epoch, {an_epoch * epochs:,} in all{bound}"


def config_text(settings: RunSettings, reasons: Mapping[str, str]) -> str:
    """Every setting as YAML, as config.yaml has them: numbers in place of `auto` with their reasons as comments."""
    return with_comments(dump_yaml(settings.model_dump(mode="json")), reasons)


def train_counts(dataset: DatasetSettings, validation: ValidationSettings) -> list[int] | None:
    """Train images of each class that a run would have; files of a folder are counted by name. None: only files tell.

    Raises InputError where the folder cannot be used.
    """
    if dataset.name == "folder":
        return kept_counts(survey(dataset).counts, dataset, validation)
    return counts_for(dataset, validation)


Count = Callable[[DatasetSettings, ValidationSettings], Sequence[int] | None]
"""What counts train images as `train_counts` does, which may remember them."""


def with_numbers(settings: RunSettings, count: Count = train_counts) -> tuple[RunSettings, dict[str, str]]:
    """As `resolve_auto`, for the train images that the data set has, which are counted only where they decide.

    Raises InputError where the folder cannot be used, SettingsError where only the files tell how many there are.
    """
    if not settings.unresolved:
        return settings, {}
    counts = count(settings.dataset, settings.validation)
    if counts is None:
        what = f"auto needs the number of images, which of {settings.dataset.name} the files alone tell"
        raise SettingsError([Fault(what, key, "write a number") for key in settings.unresolved])
    return resolve_auto(settings, counts)
