"""The form for a new run as a value: a preset, and what a person typed over it. Settings come out of it, or faults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from engine.run.datasets import FACTS
from engine.run.errors import Fault, SettingsError
from engine.run.presets import load_preset, preset_files
from engine.run.schema import Leaf, leaves
from engine.run.settings import RunSettings
from engine.run.validation import mentioned
from ltdd_tui.widgets.field import Spec

NAME, DEVICE = "run.name", "run.device"
"""The keys of the two fields that are no settings."""
FIRST_PRESET = "quickstart"
FACTOR, NATURAL, OWN_IMAGES = "dataset.imbalance_factor", "natural", "folder"
# What is seen without opening "more".
BASIC = ("dataset.name", "dataset.path", "dataset.imbalance_factor", "ipc", "method", "seed")


@dataclass(frozen=True)
class Form:
    """What the fields hold: `typed` has the texts that differ from the preset's, by the key of the setting.

    An empty name stands for the one that is suggested.
    """

    preset: str
    base: RunSettings
    typed: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    device: str = "auto"

    def text(self, key: str) -> str:
        """What stands in a field."""
        if key == NAME:
            return self.name
        if key == DEVICE:
            return self.device
        return self.typed.get(key, self.preset_text(key))

    def preset_text(self, key: str) -> str:
        """What stands there before anything is typed."""
        value: Any = self.base
        for part in key.split("."):
            value = getattr(value, part)
        return text_of(value)

    def with_text(self, key: str, text: str) -> Form:
        """The form after something was typed; the preset's own text counts as nothing typed."""
        if key == NAME:
            return replace(self, name=text.strip())
        if key == DEVICE:
            return replace(self, device=text)
        others = {known: value for known, value in self.typed.items() if known != key}
        same = text.strip() == self.preset_text(key)
        form = replace(self, typed=others if same else others | {key: text.strip()})
        # One's own images have a tail of their own, which a preset's factor would cut.
        if key == "dataset.name" and text == OWN_IMAGES and FACTOR not in form.typed:
            return form.with_text(FACTOR, NATURAL)
        if key == "dataset.name" and self.text(key) == OWN_IMAGES and form.typed.get(FACTOR) == NATURAL:
            return form.with_text(FACTOR, self.preset_text(FACTOR))
        return form

    def overrides(self, without: Iterable[str] = ()) -> list[str]:
        """What was typed, as the command line's --set takes it."""
        left_out = frozenset(without)
        return [f"{key}={text}" for key, text in self.typed.items() if key not in left_out]

    def reset(self) -> Form:
        """The preset as it is."""
        return replace(self, typed={}, name="")


@dataclass(frozen=True)
class Checked:
    """What a form means: `settings` with faulty values left as the preset has them; `faults` by key."""

    settings: RunSettings
    faults: Mapping[str, Fault]


def filled(preset: str, device: str = "auto") -> Form:
    """The form that shows a preset; raises SettingsError."""
    return Form(preset, load_preset(preset), device=device)


def first_form(device: str) -> Form:
    """What the form shows at first: the quickstart, or the first preset that is right where that one is spoilt."""
    for preset in (FIRST_PRESET, *preset_files()):
        try:
            return filled(preset, device)
        except SettingsError:
            continue
    return Form("", RunSettings(), device=device)


def check(form: Form) -> Checked:
    """The settings of a form, and every fault of its values at once."""
    try:
        return Checked(load_preset(form.preset, form.overrides()), {})
    except SettingsError as error:
        faults = by_key(error.faults, form.typed)
        return Checked(_without(form, set(faults)), faults)


def _without(form: Form, faulty: set[str]) -> RunSettings:
    """The settings that the sound part of a form gives; what no longer fits together is left out too."""
    while faulty & form.typed.keys():
        try:
            return load_preset(form.preset, form.overrides(without=faulty))
        except SettingsError as error:
            more = by_key(error.faults, form.typed).keys() - faulty
            if not more:
                break
            faulty = faulty | more
    return form.base


def by_key(faults: Iterable[Fault], typed: Iterable[str]) -> dict[str, Fault]:
    """Each fault at the field that it is mended in; at the key "" where none is at fault.

    What does not fit together is told where the person typed last of what it names, not where the preset says it.
    """
    found: dict[str, Fault] = {}
    changed = set(typed)
    for fault in faults:
        key = _key_of(fault.where)
        named = [".".join(path) for path in mentioned(fault.what)]
        if key not in changed:
            key = next((name for name in named if name in changed), key)
        found.setdefault(key, fault)
    return found


def _key_of(where: str) -> str:
    """The setting that a fault's place ends with: `--set: ipc`, `mine.yaml:3: evaluate.arch.0`, `dataset.path /x`."""
    for text in (where.split(" ")[0], where.rpartition(": ")[2]):
        parts = text.split(".")
        known = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
        if key := next((key for key in known if key in leaves()), ""):
            return key
    return ""


def more_settings() -> dict[str, list[Leaf]]:
    """Every setting that is not basic, by its block, in order; the published figure is none that one sets."""
    found: dict[str, list[Leaf]] = {}
    for key, leaf in leaves().items():
        block = key.partition(".")[0]
        if key not in BASIC and block != "expected":
            found.setdefault(block, []).append(leaf)
    return found


def in_order(faults: Mapping[str, Fault]) -> dict[str, Fault]:
    """The faults as their fields stand, from top to bottom; what is of no field comes first."""
    more = [leaf.key for block in more_settings().values() for leaf in block]
    places = {key: place for place, key in enumerate(["", *BASIC, DEVICE, NAME, *more])}
    return dict(sorted(faults.items(), key=lambda item: places.get(item[0], len(places))))


def text_of(value: Any) -> str:
    """A value as it stands in a field, and as it is read back."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case list() | tuple():
            return ", ".join(map(str, value)) or "[]"
        case _:
            return str(value)


# The few fields that everybody sees, and what is told about a field while one is in it.


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


# Finding a setting by a part of its name, or by a word of what is told about it.


def find_settings(query: str, limit: int = 6) -> list[Leaf]:
    """The settings that fit best, best first: by name, then by key, then by a word of their help."""
    wanted = query.strip().lower().replace(" ", "_")
    if not wanted:
        return []
    found = [leaves()[key] for key in BASIC] + [leaf for block in more_settings().values() for leaf in block]
    ranked = sorted((_rank(leaf, wanted), place) for place, leaf in enumerate(found))
    return [found[place] for rank, place in ranked if rank < NO_MATCH][:limit]


NO_MATCH = 5


def _rank(leaf: Leaf, wanted: str) -> int:
    name = leaf.key.rpartition(".")[2]
    tests = (
        wanted in (name, leaf.key),
        name.startswith(wanted),
        wanted in name,
        wanted in leaf.key,
        wanted.replace("_", " ") in leaf.help.lower(),
    )
    return next((rank for rank, fits in enumerate(tests) if fits), NO_MATCH)
