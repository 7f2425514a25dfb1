"""Settings for a folder of one's own images: what follows from the images, the machine and the time, with reasons.

`ltdd-tui new` and the page of a new run show these choices; the preset that they write extends `own-images`. What the
number of images alone decides is left `auto` (auto_settings.py has a table of its own). All values are ours. No torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from engine.run.auto_settings import Epochs, resolve_auto
from engine.run.data_settings import DatasetSettings
from engine.run.datasets import kept_counts
from engine.run.device_profiles import Device, features
from engine.run.errors import escaped
from engine.run.estimate import Estimate, estimate
from engine.run.fields import AUTO
from engine.run.held_out import share_of
from engine.run.image_inventory import Inventory
from engine.run.presets import load_preset
from engine.run.schema import flat, leaves
from engine.run.settings import BY_SIZE, RunSettings
from engine.run.yaml_text import dump_yaml, nested, with_comments

BASE = "own-images"
"""The preset that those of `new` extend."""


class Effort(NamedTuple):
    """How much work a run does: experts, iterations, networks of each figure.

    epochs, evaluation: the share that is left of the epochs of experts and bounds, and of the networks of evaluations.
    """

    experts: int
    iterations: int
    networks: int
    epochs: float = 1.0
    evaluation: float = 1.0


# ---- The table. ----

IPC, MOST_STORED = 10, 0.2
"""Images of a class, and the largest share of all train images that the set may have: with 3 images of a class instead
of 6, a set of 20 classes lost three points (docs/log.md)."""
DEPTHS = {32: 3, 64: 4, 96: 4, 128: 5}
"""Blocks of the ConvNet by side in pixels: the last one sees 4 to 8 pixels a side."""
SMALLEST_SIDE = 16
WIDTHS = {"cpu": 32, "cuda": 128}
WIDE = 128
"""From so many channels on, products of bfloat16 are faster on a CPU that has them."""
EFFORTS = (
    Effort(8, 400, 5),
    Effort(6, 200, 3),
    Effort(4, 100, 3),
    Effort(3, 60, 3),
    Effort(3, 40, 3, 1.0, 0.75),
    Effort(2, 30, 3, 0.7, 0.5),
    Effort(2, 20, 2, 0.5, 0.5),
)
"""From the most work to the least. A smaller side is taken before any of the last LEAST."""
LEAST = 2
EVALUATION = Epochs(work=1_500, fewest=100, most=400)
"""Steps and epochs of the networks that are trained on the set."""
CHECKS = 5
"""Checks of the set on the way to its last iteration."""
BUDGET_SHARE = 0.85
"""Of the minutes that are given, what the estimate may take: it is a guess."""
BFLOAT16 = ("amx_bf16", "avx512_bf16")
MANY_LONG = 0.25
"""From this share of long images on, they are padded: cropping would cut a third and more off each."""
ALWAYS: tuple[tuple[str, Any, str], ...] = (
    ("method", "ltdd-plus", "matching from herded mini-images with a debiased teacher's labels"),
    ("teacher.kind", "balanced_softmax", "of extreme tails it labels better than the classifier experts (docs/log.md)"),
    ("dataset.whitening", "none", "mean and std alone: ZCA would be larger than the set"),
    ("validation.share", 0.1, "the start and the end are chosen on these train images, not on the test set"),
    ("validation.smallest", 10, "a class that has as many spares one of them at least"),
    ("evaluate.learning_rate", 0.1, "a start trains better at it than at that of matching, beta (docs/log.md)"),
    ("bounds.losses", ["balanced_softmax"], "what a network reaches that is trained on everything, to compare with"),
    ("export.images", "uint8", "a quarter of the bytes, and rounded before it is measured"),
    ("export.model", True, "result/model.pt2, for `ltdd-tui predict` and for PyTorch"),
)


@dataclass(frozen=True)
class Choice:
    """The value of a setting, by its dotted key, and why it has it."""

    setting: str
    value: Any
    reason: str


def adapt(inventory: Inventory, device: Device, minutes: float) -> list[Choice]:
    """The settings that follow from a folder's images, the machine and the time, in the order of the settings.

    minutes: what a run may take by the estimate; where the least work takes longer, that is chosen and said.
    """
    choices = [Choice(*fixed) for fixed in ALWAYS]
    choices += [_images_per_class(inventory.train), *_of_files(inventory), *_of_tests(inventory)]
    choices += _of_machine(device)
    choices = _within(inventory, choices, device, minutes)
    if not any(settings_of(choices).validation.spared(inventory.train)):
        # As a run says, too. With more images some are set apart.
        told = {
            "validation.share": "no class has train images to spare: none are set apart, and nothing is chosen by them",
            "evaluate.every": f"{CHECKS} checks on the way, on the test images",
        }
        choices = [replace(choice, reason=told.get(choice.setting, choice.reason)) for choice in choices]
    order = {key: place for place, key in enumerate(leaves())}
    return sorted(choices, key=lambda choice: order[choice.setting])


def settings_of(choices: Sequence[Choice]) -> RunSettings:
    """The settings of a preset with these choices, over those of BASE."""
    return load_preset(BASE, [f"{choice.setting}={_flow(choice.value)}" for choice in choices])


def estimate_of(inventory: Inventory, choices: Sequence[Choice], device: Device) -> Estimate:
    """What a run with these choices would cost."""
    return _cost(inventory, settings_of(choices), device)


def too_few(minutes: float, estimate: Estimate) -> str:
    """What to say where even the least work takes longer than the minutes that are given; empty where a run fits."""
    if estimate.total_seconds <= 60 * BUDGET_SHARE * minutes:
        return ""
    least, enough = estimate.total_seconds / 60, math.ceil(estimate.total_seconds / (60 * BUDGET_SHARE))
    return f"{minutes:g} minutes are too few: even the least work takes about {least:.1f}; {enough:,} would do"


def preset_text(folder: Path, inventory: Inventory, choices: Sequence[Choice]) -> str:
    """A preset of these choices, with a comment for each; what BASE has already is left out."""
    base = flat(load_preset(BASE).model_dump(mode="json"))
    # The method brings defaults of its own, so it is always written.
    own = [choice for choice in choices if choice.setting == "method" or base[choice.setting] != choice.value]
    values = {tuple(choice.setting.split(".")): choice.value for choice in own}
    values = {("dataset", "name"): "folder", ("dataset", "path"): str(folder.absolute())} | values
    keys = sorted(values, key=lambda path: len(path) > 1)
    counts = inventory.train
    title = (
        f"# {escaped(folder.absolute().name)}: {len(counts)} classes with {max(counts):,} to {min(counts):,} train"
        f" images, {sum(counts):,} in all. Written by `ltdd-tui new`, to be changed.\n"
    )
    text = dump_yaml({"extends": BASE} | nested({path: values[path] for path in keys}))
    return title + with_comments(text, {choice.setting: choice.reason for choice in own})


def _flow(value: Any) -> str:
    return dump_yaml(value, default_flow_style=True).removesuffix("\n").removesuffix("...").strip()


# ---- What follows from the images. ----


def _images_per_class(counts: Sequence[int]) -> Choice:
    total, classes = sum(counts), len(counts)
    most = int(MOST_STORED * total / classes)
    ipc = max(1, min(IPC, most))
    why = f"{ipc * classes:,} images stand for {total:,}"
    if ipc > most:
        return Choice("ipc", ipc, f"{why}: one of a class is the least")
    return Choice("ipc", ipc, why if ipc == IPC else f"{why}: the set is to have {100 * MOST_STORED:g} % at most")


def _of_files(inventory: Inventory) -> Iterator[Choice]:
    if inventory.aspect >= MANY_LONG:
        share = 100 * inventory.aspect
        yield Choice("dataset.fit", "pad", f"{share:.0f} % of the images are long: cropping would cut off a third")
    if inventory.unreadable:
        files = f"{len(inventory.unreadable):,} file{'s' * (len(inventory.unreadable) > 1)}"
        yield Choice("dataset.unusable_files", "skip", f"{files} cannot be read as images")


def _of_tests(inventory: Inventory) -> Iterator[Choice]:
    """What is held out where there is no test folder."""
    if inventory.folds is None:
        return
    smallest = min(train + test for train, test in zip(inventory.train, inventory.test, strict=True))
    tested = share_of(smallest, DatasetSettings().test_share)
    images = "1 image" if tested == 1 else f"{tested} images"
    why = f"a share of the smallest class would test on {images}; runs of all {inventory.folds} folds test each once"
    yield Choice("dataset.test_folds", inventory.folds, why)


def sides_for(inventory: Inventory) -> list[tuple[int, str]]:
    """Sides in pixels that the images may be scaled to, the largest first, each with its reason."""
    low, median, high = inventory.sides
    own = inventory.common_side
    if own and own < min(DEPTHS) and own >= SMALLEST_SIDE and own % 2 == 0:
        return [(own, "the side of all images")]
    sides = [side for side in sorted(DEPTHS, reverse=True) if side <= median] or [min(DEPTHS)]
    sized = f"{own} pixels" if own else f"{low:,} to {high:,} pixels, half of them {median:,} or more"
    if own in DEPTHS:
        return [(side, "the side of all images" if side == own else f"scaled down from {own}") for side in sides]
    most = f"; networks here are made for {max(DEPTHS)} at most" if median > max(DEPTHS) else ""
    return [(side, f"short sides have {sized}{most}") for side in sides]


# ---- What follows from the machine and the time. ----


def _of_machine(device: Device) -> Iterator[Choice]:
    width = WIDTHS.get(device.kind, max(WIDTHS.values()))
    yield Choice("experts.width", width, f"channels that suit a {'CPU' if device.kind == 'cpu' else 'GPU'}")
    if width >= WIDE and device.kind == "cpu" and any(own in features() for own in BFLOAT16):
        for block in ("experts", "matching", "evaluate"):
            yield Choice(f"{block}.precision", "bf16", "this processor has products of bfloat16")


def _within(inventory: Inventory, choices: Sequence[Choice], device: Device, minutes: float) -> list[Choice]:
    """The choices with the largest side, and the most work, that fit into the time."""
    budget, sides, base = 60 * BUDGET_SHARE * minutes, sides_for(inventory), settings_of(choices)
    plans = [(side, effort) for side in sides for effort in EFFORTS[:-LEAST]]
    plans += [(sides[-1], effort) for effort in EFFORTS[-LEAST:]]
    for side, effort in plans:
        told = "the most work there is" if effort == EFFORTS[0] and side == sides[0] else f"to fit into {minutes:g} min"
        own = _of_effort(inventory, base, side, effort, told)
        seconds = _cost(inventory, _changed(base, own), device).total_seconds
        if seconds <= budget:
            return [*choices, *own]
    over = f"the least work; it takes about {seconds / 60:.1f} min, the limit is {BUDGET_SHARE * minutes:.1f}"
    return [*choices, *_of_effort(inventory, base, *plans[-1], over)]


def _changed(settings: RunSettings, choices: Sequence[Choice]) -> RunSettings:
    values = flat(settings.model_dump()) | {choice.setting: choice.value for choice in choices}
    return RunSettings.model_validate(nested({tuple(key.split(".")): value for key, value in values.items()}))


def _cost(inventory: Inventory, settings: RunSettings, device: Device) -> Estimate:
    return estimate(settings, device, _kept(inventory, settings), sum(inventory.test))


def _kept(inventory: Inventory, settings: RunSettings) -> list[int]:
    """Train images of each class, less those for validation; a class without any is a fault elsewhere."""
    return [max(1, count) for count in kept_counts(inventory.train, settings.dataset, settings.validation)]


# The classifier experts are the teacher; its batches are also those of bounds.
UNUSED = ("teacher", "epochs")


def _of_effort(
    inventory: Inventory, base: RunSettings, side: tuple[int, str], effort: Effort, told: str
) -> list[Choice]:
    """The choices of one plan; what the number of images decides is `auto`, unless it is cut."""
    (pixels, why), largest = side, sides_for(inventory)[0][0]
    cut = f"; {largest} would take too long" if pixels < largest else ""
    depth = DEPTHS.get(pixels, min(DEPTHS.values()))
    steps = math.ceil(base.images_per_class * len(inventory.train) / base.evaluate.batch_size)
    epochs = round(effort.evaluation * EVALUATION.of(steps))
    trained = f"{steps:,} step{'s' * (steps > 1)} an epoch, {steps * epochs:,} in all"
    own = [
        Choice("dataset.resolution", pixels, why + cut),
        Choice("experts.depth", depth, f"{pixels} pixels halved {depth} times are {pixels >> depth}"),
        Choice("experts.num_experts", effort.experts, told),
        Choice("matching.iterations", effort.iterations, told),
        Choice("evaluate.every", max(1, effort.iterations // CHECKS), f"{CHECKS} checks on the validation images"),
        Choice("evaluate.repeats", effort.networks, "networks of each figure"),
        Choice("evaluate.epochs", epochs, trained + (f", {told}" if effort.evaluation < 1 else "")),
    ]
    by_size = {f"{block}.{name}": AUTO for block, name in BY_SIZE if (block, name) != UNUSED}
    auto = [Choice(key, value, "") for key, value in by_size.items()]
    if effort.epochs < 1:
        numbers = flat(resolve_auto(_changed(base, auto), _kept(inventory, base))[0].model_dump())
        for key in ("experts.epochs", "bounds.epochs"):
            own.append(Choice(key, max(4, round(effort.epochs * numbers[key])), f"cut from {numbers[key]} {told}"))
            del by_size[key]
        auto = [*own, *(Choice(key, value, "") for key, value in by_size.items())]
    resolved, reasons = resolve_auto(_changed(base, auto), _kept(inventory, base))
    numbers = flat(resolved.model_dump())
    return own + [Choice(key, AUTO, f"now {numbers[key]}: {reasons[key]}") for key in by_size]
