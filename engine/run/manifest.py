"""manifest.json: the settings hash, the workers that made a run one after another, and what they took from others.

Also data.json: the images that it is made of.

The same settings give the same bytes where everything is of one origin: the same kind of device, instructions, threads,
versions and compiler. Another origin rounds otherwise, and where it does, a long training ends elsewhere.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, Field

from engine.run.errors import Fault, InputError, listed
from engine.run.events import VERSION
from engine.run.folder import RunFolder, read_typed, write_json
from engine.run.metrics import Estimated
from engine.run.regular_files import open_regular, read_regular
from engine.run.settings import RunSettings, settings_hash

SCHEMA = 1
"""Of manifest.json; goes up when a reader of the version before would misunderstand it."""
METRICS_SCHEMA = 1

# Versions of these decide what is computed; those of Python and torchvision only how, and which pixels are read, which
# the fingerprint of the images covers.
_DECIDING = ("torch", "ltdd-tui")


class Origin(BaseModel, strict=True, frozen=True):
    """What decides the last digits of what a worker computes, beside settings and images.

    device: cpu, or cuda:0. device_name: the GPU, or the processor with its widest vectors. compiler: the first line of
    what the C++ compiler says of its version, empty where nothing was compiled; None where it is not known.
    """

    device: str
    device_name: str
    threads: int
    versions: dict[str, str] = {}
    compiler: str | None = None

    def differences(self, here: Origin) -> list[str]:
        """What differs from the origin `here`, in words; nothing where the same settings give the same bytes."""
        kinds = [own.device.partition(":")[0] for own in (self, here)]
        pairs = [("on", *kinds), ("on", self.device_name, here.device_name)]
        if kinds == ["cpu", "cpu"]:
            pairs.append(("threads", str(self.threads), str(here.threads)))
        pairs += [(name, self.versions.get(name, "?"), here.versions.get(name, "?")) for name in _DECIDING]
        if self.compiler is not None and here.compiler is not None:
            pairs.append(("compiled by", self.compiler or "nothing", here.compiler or "nothing"))
        return [f"{name} {theirs} (here {ours})" for name, theirs, ours in pairs if theirs != ours]

    def __str__(self) -> str:
        threads = f", {self.threads} threads" if self.device == "cpu" else ""
        return f"{self.device} ({self.device_name}{threads}), torch {self.versions.get('torch', '?')}"


class Worker(Origin, frozen=True):
    """A worker that had a part in a run: its origin, and when (UTC) and where it began, with which commit."""

    began: str = ""
    host: str = ""
    commit: str | None = None


class Manifest(BaseModel, strict=True, extra="allow", populate_by_name=True):
    """All of manifest.json; what it says of device, threads and versions is of the worker that began last.

    forms: what runs the steps of each part of the run. workers: all that made a part of what is in the run folder.
    other_origins: what was taken from the cache that another origin had made, and how that differs. same_bytes: nothing
    of another origin may be taken.
    """

    schema_version: int = Field(SCHEMA, alias="schema")
    created: str = ""
    updated: str = ""
    settings_hash: str = ""
    seed: int | None = None
    commit: str | None = None
    versions: dict[str, str] = {}
    device: str = ""
    device_name: str = ""
    threads: Annotated[int, Field(ge=0)] = 0
    forms: dict[str, str] = {}
    platform: str = ""
    argv: list[str] = []
    made_elsewhere: dict[str, Any] = {}
    estimate: Estimated | None = None
    workers: list[Worker] = []
    other_origins: dict[str, str] = {}
    same_bytes: bool = False

    @property
    def made_by(self) -> list[Worker]:
        """Its workers; of an older version, which did not list them, the last one."""
        if self.workers or not self.device:
            return self.workers
        names = ("device", "device_name", "threads", "versions", "commit")
        return [Worker(**{name: getattr(self, name) for name in names}, began=self.updated)]

    def mixture(self) -> Iterator[str]:
        """What was made by different origins, in a sentence each; nothing where all is of one."""
        kinds: list[Worker] = []
        for worker in self.made_by:
            if all(worker.differences(other) for other in kinds):
                kinds.append(worker)
        if len(kinds) > 1:
            told = [" on ".join(filter(None, (str(worker), worker.host))) for worker in kinds]
            # What the words for an origin leave out, such as the compiler.
            if len(set(map(str, kinds))) < len(kinds):
                told.append(", ".join(kinds[-1].differences(kinds[0])))
            yield f"made by {len(kinds)} workers: {listed(told, separator='; ')}"
        yield from (f"{what}: {how}" for what, how in self.other_origins.items())


class DataRecord(BaseModel, strict=True, frozen=True):
    """What data.json holds: classes, their train and test images, and the fingerprint of all pixels and labels.

    Of a run of an older version, without the file, neither fingerprint nor test images of each class are known.
    """

    class_names: list[str]
    train_counts: list[int]
    test_images: int
    test_counts: list[int] = []
    fingerprint: str = ""


def read_manifest(folder: RunFolder) -> Manifest:
    """What the run's manifest.json holds; an empty one where it is missing, damaged or something else."""
    return read_typed(folder.manifest, Manifest) or Manifest()


def change_manifest(folder: RunFolder, **changes: Any) -> None:
    """Writes manifest.json with these fields in place of what it held; what it did not hold otherwise stays out.

    That it was lost or damaged, and what is lost by that, is noted as an origin.
    """
    before = read_manifest(folder)
    if not before.model_fields_set and folder.checkpoint.exists():
        unknown = "who made what was there before is not known, nor whether same bytes were asked for"
        changes = {"other_origins": {"manifest.json was lost or damaged": unknown}} | changes
    changed = before.model_copy(update=changes)
    write_json(folder.manifest, changed.model_dump(by_alias=True, exclude_unset=True), sealed=True)


def settings_changed(folder: RunFolder, settings: RunSettings, began_with: str = "") -> bool:
    """Whether config.yaml, which holds `settings`, is not what the run began with, and something was made with that.

    Known by the hash in the manifest; began_with: that hash, as something else tells it. Without both, False.
    """
    if not (folder.checkpoint.exists() or folder.distilled.exists()):
        return False
    began_with = began_with or read_manifest(folder).settings_hash
    if not began_with or began_with == settings_hash(settings):
        return False
    # An older version hashed the settings of its time; its config.yaml holds them all, also those deleted since.
    return not folder.config.exists() or began_with != settings_hash(yaml.safe_load(read_regular(folder.config)))


# ---- Runs of a newer version ----

_VERSION_IN_FILE = re.compile(rb'"(?:schema|v)": ?([0-9]{1,9})\b')
# It stands among the first keys.
_BEGIN = 120


def newer_version(folder: RunFolder) -> str:
    """That a newer version made the run, with the file and its schema, in words; empty where this one can read it."""
    files = ((folder.manifest, SCHEMA), (folder.metrics, METRICS_SCHEMA), (folder.events, VERSION))
    for path, known in files:
        with contextlib.suppress(OSError), open_regular(path) as file:
            found = _VERSION_IN_FILE.search(file.read(_BEGIN))
            if found and int(found[1]) > known:
                what = f"{path.name} has schema {int(found[1])}; this one reads up to {known}"
                return f"made by a newer version ({what})"
    return ""


def refuse_newer(folder: RunFolder) -> None:
    """Raises InputError for a run that a newer version of the tool has made."""
    if told := newer_version(folder):
        raise InputError([Fault(told, str(folder.root), "update ltdd-tui")])
