"""The form for a new run as a value: a preset, and what a person typed over it. It gives settings, or faults."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from engine.run.errors import Fault, SettingsError
from engine.run.presets import load_preset, preset_files
from engine.run.schema import Leaf, leaves
from engine.run.settings import RunSettings
from engine.run.validation import mentioned

NAME, DEVICE = "run.name", "run.device"
"""The keys of the two fields that are no settings."""
FIRST_PRESET, FOLDER_PRESET = "quickstart", "own-images"
FACTOR, PATH = "dataset.imbalance_factor", "dataset.path"
NATURAL, OWN_IMAGES = "natural", "folder"
# What suits the 8x8 digits suits no photographs, and the other way round: choosing the data set takes its preset along.
PRESET_OF = {"digits": FIRST_PRESET, OWN_IMAGES: FOLDER_PRESET}
# The settings that are seen without opening "more".
BASIC = ("dataset.name", PATH, FACTOR, "ipc", "method", "seed")


class PlanLine(NamedTuple):
    """One line of a list of facts; `warns` where a person should look at it."""

    label: str
    text: str
    warns: bool = False


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
        """The text of a field, by its key."""
        if key == NAME:
            return self.name
        if key == DEVICE:
            return self.device
        return self.typed.get(key, self.preset_text(key))

    def preset_text(self, key: str) -> str:
        """The text of a field before anything is typed."""
        value: Any = self.base if key == "method" else self._with_method
        for part in key.split("."):
            value = getattr(value, part)
        return text_of(value)

    @functools.cached_property
    def _with_method(self) -> RunSettings:
        """The preset with the method that was typed, which may have defaults of its own."""
        if (method := self.typed.get("method")) is None:
            return self.base
        try:
            return load_preset(self.preset, [f"method={method}"])
        except SettingsError:
            return self.base

    def with_text(self, key: str, text: str) -> Form:
        """The form after something was typed; the preset's own text counts as nothing typed."""
        if key == NAME:
            return replace(self, name=text.strip())
        if key == DEVICE:
            return replace(self, device=text)
        if key == "dataset.name" and (over := self._over_preset_of(text)):
            return over
        others = {known: value for known, value in self.typed.items() if known != key}
        same = text.strip() == self.preset_text(key)
        form = replace(self, typed=others if same else others | {key: text.strip()})
        # One's own images have a tail of their own, which a preset's factor would cut.
        if key == "dataset.name" and text == OWN_IMAGES and FACTOR not in form.typed:
            return form.with_text(FACTOR, NATURAL)
        if key == "dataset.name" and self.text(key) == OWN_IMAGES and form.typed.get(FACTOR) == NATURAL:
            return form.with_text(FACTOR, self.preset_text(FACTOR))
        return form

    def _over_preset_of(self, dataset: str) -> Form | None:
        """What was typed, over the preset that suits another data set; None where the present one does as well."""
        preset, at = PRESET_OF.get(dataset), self.base.dataset.name
        if preset is None or at not in PRESET_OF or at == dataset:
            return None
        try:
            form = replace(form_of_preset(preset, self.device), name=self.name)
        except SettingsError:
            return None
        # What was typed of the old data set, such as its resolution, is not meant for the new one.
        kept = {key: text for key, text in self.typed.items() if key == PATH or not key.startswith("dataset.")}
        for key, text in kept.items():
            form = form.with_text(key, text)
        return form

    def overrides(self, without: Collection[str] = ()) -> list[str]:
        """What was typed, in the form of the command line's --set."""
        return [f"{key}={text}" for key, text in self.typed.items() if key not in without]

    def reset(self) -> Form:
        """The preset as it is."""
        return replace(self, typed={}, name="")


@dataclass(frozen=True)
class ValidatedForm:
    """What a form means: `settings` with faulty values left as the preset has them; `faults` by key."""

    settings: RunSettings
    faults: Mapping[str, Fault]


def form_of_preset(preset: str, device: str = "auto") -> Form:
    """The form that shows a preset; raises SettingsError."""
    return Form(preset, load_preset(preset), device=device)


def first_form(device: str) -> Form:
    """What the form shows at first: the quickstart, or the first valid preset where that one is faulty."""
    for preset in (FIRST_PRESET, *preset_files()):
        try:
            return form_of_preset(preset, device)
        except SettingsError:
            continue
    return Form("", RunSettings(), device=device)


def validate(form: Form) -> ValidatedForm:
    """The settings of a form, and every fault of its values at once."""
    try:
        return ValidatedForm(load_preset(form.preset, form.overrides()), {})
    except SettingsError as error:
        faults = faults_by_key(error.faults, form.typed)
    # The plan is shown beside a faulty form too: for the settings that its sound part gives. Without a faulty value,
    # others may no longer fit together; they are left out in turn.
    left_out = set(faults)
    while left_out & form.typed.keys():
        try:
            return ValidatedForm(load_preset(form.preset, form.overrides(without=left_out)), faults)
        except SettingsError as error:
            more = faults_by_key(error.faults, form.typed).keys() - left_out
            if not more:
                break
            left_out |= more
    return ValidatedForm(form.base, faults)


def faults_by_key(faults: Iterable[Fault], typed: Collection[str]) -> dict[str, Fault]:
    """Each fault by the key of the field that mends it; by "" where no field does.

    Two values that do not fit together are a fault of the one that was typed, not of the one that the preset has.
    """
    by_key: dict[str, Fault] = {}
    for fault in faults:
        key = _key_of(fault.where)
        if key not in typed:
            mentioned_keys = [".".join(path) for path in mentioned(fault.what)]
            key = next((name for name in mentioned_keys if name in typed), key)
        by_key.setdefault(key, fault)
    return by_key


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
    blocks: dict[str, list[Leaf]] = {}
    for key, leaf in leaves().items():
        block = key.partition(".")[0]
        if key not in BASIC and block != "expected":
            blocks.setdefault(block, []).append(leaf)
    return blocks


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


# ---- Words: the labels of the basic fields, and the help for the field that has the focus. ----

METHOD_HELP = {
    "ltdd-plus": "ltdd from a better start: herded mini-images, with softened labels of the classifier experts",
    "ltdd": "the paper's method: distribution-agnostic matching of the backbone, balanced experts for the classifier",
    "dam": "half of the paper's method: distribution-agnostic matching without balanced classifier experts",
    "ed": "half of the paper's method: balanced classifier experts, but no distribution-agnostic loss",
    "datm": "baseline: the trajectories of biased experts are matched, soft labels are learnt",
    "mtt": "baseline: the trajectories of biased experts are matched, labels stay as they are",
    "dm": "baseline: mean features of real and synthetic images are matched, in a new random network each time",
    "idm": "baseline: dm with four half-size images in each, and networks that are trained on the way",
    "rldd": "baseline: images follow a teacher's statistics of real images, and the teacher labels them",
    "random": "baseline: distils nothing; real images are picked at random, as many of each class",
    "k-center": "baseline: distils nothing; real images that lie far apart in a teacher's features",
    "herding": "baseline: distils nothing; real images whose mean lies nearest that of their class",
    "graph-cut": "baseline: distils nothing; real images that are typical of their class and unlike each other",
    "confident": "baseline: distils nothing; the real images that a teacher is surest of",
    "imported": "distils nothing; a set that was made elsewhere is evaluated as it is",
}
LABELS = {
    "dataset.name": "data set",
    PATH: "images in",
    FACTOR: "imbalance",
    "ipc": "IPC",
    "method": "method",
    DEVICE: "device",
    "seed": "seed",
    NAME: "name",
}
# What an empty path means, by data set.
PLACES_OF_IMAGES = {
    "digits": "they come with the program",
    "tiny-imagenet": "the cache, or the folder that holds it",
    "imagenet-lt": "the folder of the images and train.txt",
    "folder": "a folder of images for each class",
}
# Help for the two fields that are no settings: what they are for, and their kind.
RUN_FIELD_HELP = {
    DEVICE: ("where the worker computes; auto takes the first GPU, else the CPU", ""),
    NAME: ("the run's folder is called this", "empty: the name shown"),
}


def place_of_images(dataset: str) -> str:
    """What an empty path means for a data set."""
    return PLACES_OF_IMAGES.get(dataset, "the cache; fetched when it is not there")


def field_help(key: str, form: Form) -> tuple[str, str]:
    """What a field is for, and on a second line its kind, range, unit, default and source."""
    if key in RUN_FIELD_HELP:
        return RUN_FIELD_HELP[key]
    leaf = leaves()[key]
    parts = [_kind(leaf), leaf.unit, f"default {text_of(leaf.default) or 'empty'} ({leaf.source})"]
    if key in form.typed:
        parts.append(f"preset {form.preset_text(key) or 'empty'}")
    what = METHOD_HELP.get(form.text(key), leaf.help) if key == "method" else leaf.help
    return what, ", ".join(part for part in parts if part)


def _kind(leaf: Leaf) -> str:
    if leaf.is_list:
        return "any of these"
    if leaf.choices and leaf.kind.startswith("one of"):
        return leaf.kind if len(leaf.kind) < 48 else ""
    kind, *words = leaf.kind.split(" or ") if leaf.choices else [leaf.kind]
    return " or ".join([f"{kind} {leaf.bounds}".strip(), *words])


def fault_summary(faults: Mapping[str, Fault]) -> str:
    """How many problems there are and where, for those that are not in sight."""
    if not faults:
        return ""
    names = [LABELS.get(key, key) if key else fault.what for key, fault in faults.items()]
    return f"{len(names)} problem{'s' if len(names) > 1 else ''} (F8: next): {', '.join(names)}"


def find_settings(query: str) -> list[Leaf]:
    """At most six settings that fit, the best first: by name, then by key, then by a word of their help."""
    wanted = query.strip().lower().replace(" ", "_")
    if not wanted:
        return []
    settings = [leaves()[key] for key in BASIC] + [leaf for block in more_settings().values() for leaf in block]
    ranked = [(rank, leaf) for leaf in settings if (rank := _match_rank(leaf, wanted)) is not None]
    return [leaf for _, leaf in sorted(ranked, key=lambda pair: pair[0])][:6]


def _match_rank(leaf: Leaf, wanted: str) -> int | None:
    """How well a setting matches, 0 the best; None where it does not."""
    name = leaf.key.rpartition(".")[2]
    matches = (
        wanted in (name, leaf.key),
        name.startswith(wanted),
        wanted in name,
        wanted in leaf.key,
        wanted.replace("_", " ") in leaf.help.lower(),
    )
    return next((rank for rank, fits in enumerate(matches) if fits), None)
