"""The few fields that everybody sees, and what is told about a field while one is in it."""

from __future__ import annotations

from engine.run.catalog import FACTS
from engine.run.errors import Fault
from engine.run.schema import Leaf, leaves
from ltdd_tui.form import DEVICE, NAME, Form, text_of
from ltdd_tui.widgets.field import Spec

METHODS = {
    "ltdd": "the paper's: DAM + expert decoupling",
    "dam": "only distribution-agnostic matching",
    "ed": "only expert decoupling",
    "datm": "baseline: trajectories, soft labels",
    "mtt": "baseline: trajectories, hard labels",
    "random": "baseline: picks real images",
}
LABELS = {
    "dataset.name": "data set",
    "dataset.path": "images in",
    "dataset.imbalance_factor": "imbalance",
    "ipc": "IPC",
    "method": "method",
    DEVICE: "device",
    "seed": "seed",
    NAME: "name",
}
NOTES = {"dataset.imbalance_factor": "head : tail", "ipc": "images a class"}
PLACES = {
    "digits": "they come with the program",
    "tiny-imagenet": "the cache, or the folder that holds it",
    "imagenet-lt": "the folder of the images and train.txt",
    "folder": "a folder with train/<class>/*",
}
OWN_HELP = {
    DEVICE: ("where the worker computes; auto takes the first GPU, else the CPU", ""),
    NAME: ("the run's folder is called this", "empty: the name shown"),
}


def basic_specs(devices: list[tuple[str, str]]) -> list[Spec]:
    """The fields in order; `devices` as (words, value)."""
    options = {
        "dataset.name": [(_dataset_words(name), name) for name in leaves()["dataset.name"].choices],
        "method": [(f"{name:7}{words}", name) for name, words in METHODS.items()],
        DEVICE: devices,
    }
    return [
        Spec(
            key,
            label,
            NOTES.get(key, ""),
            "a number, or natural" if key == "dataset.imbalance_factor" else "",
            tuple(options.get(key, ())),
            suggestions=("natural",) if key == "dataset.imbalance_factor" else (),
        )
        for key, label in LABELS.items()
    ]


def place_of_images(dataset: str) -> str:
    """What an empty path means for a data set."""
    return PLACES.get(dataset, "the cache; fetched when it is not there")


def _dataset_words(name: str) -> str:
    facts = FACTS.get(name)  # type: ignore[call-overload]
    if facts is None:
        return f"{name:15}your own images"
    return f"{name:15}{facts.classes} classes, {facts.image_size} px"


def name_of_field(key: str) -> str:
    """How a field is called where it is not seen: by its label, or by its key."""
    return LABELS.get(key, key)


def told(key: str, form: Form) -> tuple[str, str]:
    """What a field is for, and on a second line its kind, range, unit, default and source."""
    if key in OWN_HELP:
        return OWN_HELP[key]
    leaf = leaves()[key]
    parts = [_kind(leaf), leaf.unit, f"default {text_of(leaf.default) or 'empty'} ({leaf.source})"]
    if key in form.typed:
        parts.append(f"preset {form.preset_text(key) or 'empty'}")
    words = METHODS.get(form.text(key), "") if key == "method" else ""
    return (f"{form.text(key)}: {words}" if words else leaf.help), ", ".join(part for part in parts if part)


def _kind(leaf: Leaf) -> str:
    if leaf.choices and leaf.kind.startswith("one of"):
        return leaf.kind if len(leaf.kind) < 48 else ""
    return f"{leaf.kind} {leaf.bounds}".strip()


def fault_line(faults: dict[str, Fault]) -> str:
    """How many faults there are and where, for those that are not in sight."""
    if not faults:
        return ""
    names = [name_of_field(key) if key else fault.what for key, fault in faults.items()]
    return f"{len(names)} fault{'s' if len(names) > 1 else ''}: {', '.join(names)}"
