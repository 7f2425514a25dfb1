"""The few fields that everybody sees, and what is told about a field while one is in it."""

from __future__ import annotations

from collections.abc import Mapping

from engine.run.datasets import FACTS
from engine.run.errors import Fault
from engine.run.schema import Leaf, leaves
from ltdd_tui.form import DEVICE, NAME, Form, text_of
from ltdd_tui.widgets.field import Spec

METHODS = {
    "ltdd": "DAM + expert decoupling",
    "dam": "DAM alone",
    "ed": "expert decoupling alone",
    "datm": "plain matching, soft labels",
    "mtt": "plain matching, hard labels",
    "random": "real images, picked",
}
METHODS_EXPLAINED = {
    "ltdd": "the paper's method: distribution-agnostic matching of the backbone, balanced experts for the classifier",
    "dam": "half of the paper's method: distribution-agnostic matching without balanced classifier experts",
    "ed": "half of the paper's method: balanced classifier experts, but no distribution-agnostic loss",
    "datm": "baseline: the trajectories of biased experts are matched, soft labels are learnt",
    "mtt": "baseline: the trajectories of biased experts are matched, labels stay as they are",
    "random": "baseline: distils nothing; real images are picked at random, as many of each class",
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
        "method": [(f"{name} · {words}", name) for name, words in METHODS.items()],
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
            help=leaves()[key].help if key in leaves() else "",
        )
        for key, label in LABELS.items()
    ]


def place_of_images(dataset: str) -> str:
    """What an empty path means for a data set."""
    return PLACES.get(dataset, "the cache; fetched when it is not there")


def _dataset_words(name: str) -> str:
    facts = FACTS.get(name)  # type: ignore[call-overload]
    if facts is None:
        return f"{name} · your own images"
    return f"{name} · {facts.classes} classes, {facts.image_size} px"


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
    what = METHODS_EXPLAINED.get(form.text(key), leaf.help) if key == "method" else leaf.help
    return what, ", ".join(part for part in parts if part)


def _kind(leaf: Leaf) -> str:
    if leaf.is_list:
        return "any of these"
    if leaf.choices and leaf.kind.startswith("one of"):
        return leaf.kind if len(leaf.kind) < 48 else ""
    kind, *words = leaf.kind.split(" or ") if leaf.choices else [leaf.kind]
    return " or ".join([f"{kind} {leaf.bounds}".strip(), *words])


def fault_line(faults: Mapping[str, Fault]) -> str:
    """How many faults there are and where, for those that are not in sight."""
    if not faults:
        return ""
    names = [name_of_field(key) if key else fault.what for key, fault in faults.items()]
    return f"{len(names)} fault{'s' if len(names) > 1 else ''} (F8): {', '.join(names)}"
