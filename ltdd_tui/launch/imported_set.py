"""A set made elsewhere on its way into a run: what the worker finds in it, and the settings that follow from that."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.run.data_settings import DatasetSettings
from engine.run.datasets import FACTS, FROM_FILES, image_size_for
from engine.run.errors import Fault, InputError, listed, short_number
from engine.run.folder import RunFolder, expanded
from engine.run.image_folder import survey
from engine.run.settings import RunSettings
from ltdd_tui.runs import worker


@dataclass(frozen=True)
class ImportedSetFacts:
    """What the worker finds in a set (`ImportedSet.describe`). shape: (count, channels, side, side).

    classes: None where the set has no labels. labels: of which kind they are, in words. made_with: the metadata of a
    set of ours. config: the settings of the run that it is a result of, where that run is here. partition: mini-images
    along a side of each image. gray: whether the channels of each image are equal. class_folders: the names of the
    classes of a folder of images.
    """

    path: Path
    shape: tuple[int, int, int, int]
    labels: str
    soft_labels: bool
    classes: int | None
    learning_rate: float | None
    space: str
    low: float
    high: float
    made_with: dict[str, Any] | None
    config: Path | None
    partition: int = 1
    gray: bool = True
    class_folders: tuple[str, ...] = ()

    def sentence(self) -> str:
        """The set in one line."""
        count, *size = self.shape
        rate = "none" if self.learning_rate is None else f"{self.learning_rate:.4g}"
        low, high = short_number(self.low), short_number(self.high)
        return (
            f"{count:,} images of {' x '.join(map(str, size))}, values {low} to {high};"
            f" labels: {self.labels}; learning rate: {rate}"
        )


def inspect_set(given: str, runs_dir: Path) -> ImportedSetFacts:
    """What there is in a run, by its name or path, or in a file or folder; raises InputError as the worker does."""
    if not given.strip():
        raise InputError("no path is given", hint="name a run, a file of a set, or a folder of images a class")
    run = RunFolder(expanded(str(runs_dir / given)))
    path = run.root if run.exists() else expanded(given).absolute()
    found = json.loads(worker.answer(["inspect", str(path)]))
    if "faults" in found:
        raise InputError([Fault(**fault) for fault in found["faults"]])
    # A run's own folder, or its result in it.
    homes = (RunFolder(home) for home in (path, path.parent.parent))
    config = next((home.config for home in homes if home.exists() and Path(found["source"]) == home.distilled), None)
    return ImportedSetFacts(
        path,
        tuple(found["shape"]),
        found["labels"],
        found["soft_labels"],
        found["classes"],
        found["learning_rate"],
        found["space"],
        found["range"][0],
        found["range"][1],
        made_with=found.get("made_with"),
        config=config,
        partition=found.get("partition", 1),
        gray=found["gray"],
        class_folders=tuple(found.get("class_folders", ())),
    )


def made_with_overrides(about: dict[str, Any]) -> list[str]:
    """The settings in the metadata of a set of ours, as KEY=VALUE: what it was made of, and how it is evaluated."""
    keys = {
        "dataset.name": about.get("dataset"),
        "dataset.imbalance_factor": about.get("imbalance_factor"),
        "dataset.whitening": about.get("whitening"),
        "dataset.augmentation": about.get("augmentation"),
        "seed": about.get("seed"),
    }
    network = about.get("network") or {}
    keys |= {f"experts.{'network' if key == 'name' else key}": value for key, value in network.items()}
    for block, name in (("evaluate", "recipe"), ("hard", "hard"), ("online", "online")):
        keys |= {f"{block}.{key}": value for key, value in (about.get(name) or {}).items()}
    known = ((key, value) for key, value in keys.items() if value is not None)
    return [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in known]


def start_overrides(facts: ImportedSetFacts, takes_labels: bool) -> list[str]:
    """What lets a run start from the set, as KEY=VALUE; `takes_labels`: whether the method has soft labels."""
    labels = ["initialize.labels=stored"] if facts.soft_labels and takes_labels else []
    mini_images = [f"initialize.partition={facts.partition}"] if facts.partition > 1 else []
    return [f"initialize.start_set={facts.path}", *labels, *mini_images]


def check_start(facts: ImportedSetFacts, settings: RunSettings) -> None:
    """Raises InputError where a run of these settings could not start from the set, as far as is known without data."""
    where = str(facts.path)
    if (ipc := ipc_of(facts, settings.dataset)) != settings.ipc:
        raise InputError(f"the set has {ipc} images a class, ipc is {settings.ipc}", where, f"--set ipc={ipc}")
    if facts.space == "auto" and settings.initialize.start_space == "auto":
        hint = "--set initialize.start_space=whitened, normalized or pixels (`ltdd-tui import`: --space)"
        raise InputError("what the values of the images are is not known", where, hint)


def ipc_of(facts: ImportedSetFacts, dataset: DatasetSettings) -> int:
    """Images a class; raises InputError for a set that cannot be of this data set, as far as its settings tell."""
    count, channels, height, width = facts.shape
    known, size, where = FACTS.get(dataset.name), image_size_for(dataset), str(facts.path)
    hint = "choose the data set, and dataset.resolution, that the set was made of"
    faults = []
    if size is not None and (height, width) != (size, size):
        faults.append(Fault(f"the images are {height} x {width}, those of {dataset.name} {size} x {size}", where, hint))
    if known and (known.channels > channels or (known.channels < channels and not facts.gray)):
        what = (
            f"the images have {channels} channel{'s' if channels > 1 else ''}, those of {dataset.name} {known.channels}"
        )
        faults.append(Fault(what, where, hint))
    classes = len(known.class_sizes) if known else len(survey(dataset).names)
    # A part of a set of files is taken as the whole.
    if facts.classes and dataset.name in FROM_FILES:
        classes = facts.classes
    elif facts.classes and facts.classes != classes:
        what = f"the labels are of {facts.classes} classes, {dataset.name} has {classes}"
        numbers = [str(number) for number in range(classes)]
        names = list(known.class_names) if known and facts.class_folders else numbers
        missing = [name for name in names if name not in (facts.class_folders or numbers[: facts.classes])]
        if not facts.soft_labels and 0 < len(missing) == classes - facts.classes:
            what += f": class{'es' if len(missing) > 1 else ''} {listed(missing)} without an image"
        faults.append(Fault(what, where, hint))
    elif count % classes:
        what = f"{count} images of {classes} classes: no equal number for each"
        faults.append(Fault(what, where, "every class needs the same number (IPC)"))
    if faults:
        raise InputError(faults)
    return count // classes
