"""A folder of a person's own images, looked over: what it holds, in words, and the form that follows from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from engine.run.adaptation import Choice, adapt, estimate_of, too_few
from engine.run.errors import listed
from engine.run.image_folder import TESTS, TRAIN
from engine.run.image_inventory import LONG_RATIO, Inventory
from engine.run.metrics import FEW_TEST_IMAGES
from ltdd_tui.formatting import percent, size
from ltdd_tui.launch.form import FOLDER_PRESET, PATH, Form, PlanLine, form_of_preset, text_of
from ltdd_tui.launch.machine import device_here

DEFAULT_MINUTES = 10.0
FILES_NAMED = 2
COLORS = {"RGB": "color", "L": "gray", "1": "black and white", "P": "palette", "RGBA": "with transparency"}
"""What Pillow's modes are called."""


def folder_of_classes(path: Path) -> Path:
    """The folder that a person means: the one above where they picked train/ itself, beside which test/ lies."""
    return path.parent if path.name.lower() in (TRAIN, *TESTS) and (path.parent / TRAIN).is_dir() else path


@dataclass(frozen=True)
class Proposal:
    """The settings that follow from a folder, in minutes that a run may take, each with its reason; and their form.

    too_few: what to say where the minutes are; empty where a run fits into them.
    """

    choices: tuple[Choice, ...]
    form: Form
    too_few: str = ""


def propose(inventory: Inventory, path: str, form: Form, minutes: float) -> Proposal:
    """Settings for the images at `path`, over the preset for one's own images; raises SettingsError."""
    device = device_here(form.device)
    choices = tuple(adapt(inventory, device, minutes))
    proposed = replace(form_of_preset(FOLDER_PRESET, form.device), name=form.name)
    # The method first: it has defaults of its own.
    ordered = sorted(choices, key=lambda choice: choice.setting != "method")
    for key, text in [(PATH, path), *((choice.setting, text_of(choice.value)) for choice in ordered)]:
        proposed = proposed.with_text(key, text)
    return Proposal(choices, proposed, too_few(minutes, estimate_of(inventory, choices, device)))


@dataclass(frozen=True)
class ClassCount:
    """One class with its train and test images; `hardly_tested`: so few of the latter that its accuracy says little."""

    name: str
    train: int
    test: int

    @property
    def hardly_tested(self) -> bool:
        return self.test < FEW_TEST_IMAGES


def class_counts(inventory: Inventory) -> list[ClassCount]:
    """The classes, the largest first."""
    counts = zip(inventory.survey.names, inventory.train, inventory.test, strict=True)
    return sorted((ClassCount(*one) for one in counts), key=lambda one: -one.train)


def summary(inventory: Inventory) -> str:
    """`4 classes, 3,682 images (4.2 MB), 800 to test`."""
    train, test = sum(inventory.train), sum(inventory.test)
    taken = f" ({size(inventory.train_bytes)})" if inventory.train_bytes else ""
    return f"{len(inventory.train)} classes, {train:,} images{taken}, {test:,} to test"


def facts(inventory: Inventory) -> list[PlanLine]:
    """What a person should know of the images, a line for each subject that there is something to say of."""
    return [*_tail_lines(inventory), *_look_lines(inventory), *_file_lines(inventory)]


def _tail_lines(inventory: Inventory) -> list[PlanLine]:
    survey = inventory.survey
    largest, smallest = max(inventory.train), min(inventory.train)
    lines = [PlanLine("tail", f"{largest:,} to {smallest:,} images, {largest / max(smallest, 1):,.0f} : 1")]
    fewest, most = min(inventory.test), max(inventory.test)
    range_text = f"{most:,}" if fewest == most else f"{most:,} to {fewest:,}"
    lines.append(PlanLine("test", f"{survey.test_set}: {range_text} images a class"))
    if few := [f"{one.name} ({one.test})" for one in class_counts(inventory) if one.hardly_tested]:
        what = f"fewer than {FEW_TEST_IMAGES} test images, so that accuracy says little: {listed(few)}"
        lines.append(PlanLine("", what, warns=True))
    return lines + [PlanLine("", note, warns=True) for note in survey.notes]


def _look_lines(inventory: Inventory) -> list[PlanLine]:
    least, median, most = inventory.sides
    sides = f"{least} px" if least == most else f"{least} to {most} px, half of them up to {median}"
    lines = [PlanLine("short side", sides)]
    if inventory.aspect:
        lines.append(PlanLine("", f"{percent(100 * inventory.aspect)} % are over {LONG_RATIO} times as long as wide"))
    kinds = ", ".join(f"{count:,} {COLORS.get(mode, mode)}" for mode, count in inventory.modes.most_common())
    lines.append(PlanLine("pixels", kinds))
    if inventory.turned:
        lines.append(PlanLine("turned", f"{inventory.turned:,} say by EXIF which side is up, which is kept to"))
    return lines


def _file_lines(inventory: Inventory) -> list[PlanLine]:
    lines = []
    if inventory.repeated:
        pairs = listed([f"{one.name} = {other.name}" for one, other in inventory.repeated], FILES_NAMED)
        lines.append(PlanLine("repeated", f"{len(inventory.repeated):,} train files are alike: {pairs}", warns=True))
    if inventory.crossing:
        lines.append(PlanLine("crossing", f"{len(inventory.crossing):,} test files are also in train/", warns=True))
    if inventory.unreadable:
        lines.append(PlanLine("unreadable", f"{len(inventory.unreadable):,}: {_told(inventory)}", warns=True))
    return lines


def _told(inventory: Inventory) -> str:
    return listed([f"{Path(fault.where).name}: {fault.what}" for fault in inventory.unreadable], FILES_NAMED, "; ")
