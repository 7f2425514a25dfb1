"""Validation of settings: every error as a fault that says what is wrong, where it stands and how to mend it."""

from __future__ import annotations

import contextlib
import difflib
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from pydantic import ValidationError

from engine.run.data_settings import DatasetSettings
from engine.run.datasets import (
    DIGITS_SMALLEST,
    FACTS,
    TINY_FOLDER,
    counts_for,
    empty_tail,
    image_size_for,
    kept_counts,
    tiny_root,
)
from engine.run.errors import FAULTS_SHOWN, NO_FOLDER, Fault, InputError, shortened
from engine.run.expert_cache import imported_faults
from engine.run.folder import cache_root, expanded
from engine.run.held_out import pattern_fault
from engine.run.image_folder import image_faults, survey
from engine.run.image_lists import list_faults
from engine.run.schema import Leaf, blocks, leaves
from engine.run.settings import RunSettings
from engine.run.yaml_text import KeyPath, reads_as_number

KEY_IN_TEXT = re.compile(r"[a-z_]+(?:\.[a-z_]+)?")
OUT_OF_RANGE = {"greater_than", "less_than", "greater_than_equal", "less_than_equal"}
# What is wrong by pydantic's type of the error, and by the types that settings.py raises.
WHAT = {
    "missing": "this key is missing",
    "too_large": "must be 2^53 at most, this is larger",
    "no_text": "must be UTF-8 text, this is not",
    "named_twice": "must name each one once, this names one twice",
}
RATIO = re.compile(r"\s*(?:1\s*[/:]\s*([1-9]\d*)|([1-9]\d*)\s*[/:]\s*1)\s*")
RATIO_HINT = "it is the largest class over the smallest"


# From pydantic's errors to faults: one for each wrong value.


def value_faults(error: ValidationError, places: Mapping[KeyPath, str]) -> dict[KeyPath, Fault]:
    """One fault for each wrong value, by key path; `places` says where each key stands."""
    # A setting that takes a number or a word is a union: pydantic reports one error for each alternative.
    errors_by_path: dict[KeyPath, list[Any]] = {}
    for one in error.errors(include_url=False):
        # Without a location it is of several values together. pydantic also finds a list too short whose elements it
        # has refused one by one.
        if one["loc"] and not (one["type"] == "too_short" and one["input"]):
            path = tuple(map(str, one["loc"])) if one["type"] == "extra_forbidden" else _key_path(one["loc"])
            errors_by_path.setdefault(path, []).append(one)
    faults: dict[KeyPath, Fault] = {}
    for path, errors in errors_by_path.items():
        if len(faults) > FAULTS_SHOWN:  # these are only counted; to look for near names takes a millisecond each
            faults[path] = Fault("this is wrong as well", ".".join(path))
            continue
        what, hint = _what_and_hint(path, errors)
        faults[path] = Fault(what, location(path, places), hint)
    return faults


def combination_faults(error: ValidationError) -> list[Fault]:
    """The faults of values that are allowed one by one but not together, in the words of the model's validator.

    It raises ValueError with what is wrong, and a hint where there is a better one than to change one of them.
    """
    words = [one["ctx"]["error"].args for one in error.errors(include_url=False) if not one["loc"]]
    return [Fault(what, hint="".join(hint) or "change one of them") for what, *hint in words]


def location(path: KeyPath, places: Mapping[KeyPath, str]) -> str:
    """File, line and key. A key that was not written has the line of a key below it, else of the block above it.

    places: in the order of the layers; the uppermost one that wrote the key, or one below it, is named.
    """
    key = shortened(".".join(path))
    below = [place for written, place in places.items() if written[: len(path)] == path]
    above = (places[path[:length]] for length in range(len(path), 0, -1) if path[:length] in places)
    place = below[-1] if below else next(above, None)
    return f"{place}: {key}" if place else key


def last_written(keys: Sequence[KeyPath], places: Mapping[KeyPath, str]) -> KeyPath:
    """The key of a combination that is to blame: from the uppermost layer that wrote any; the first one in a tie."""
    layers = list(dict.fromkeys(layer_of(place) for place in places.values()))
    return max(keys, key=lambda key: layers.index(layer_of(places[key])) if key in places else -1)


def layer_of(place: str) -> str:
    """The file of a place such as mine.yaml:5, or --set."""
    return place.rpartition(":")[0] or place


def mentioned(text: str) -> list[KeyPath]:
    """The key paths of the settings that a sentence names."""
    return [tuple(key.split(".")) for key in KEY_IN_TEXT.findall(text) if key in leaves()]


def _key_path(loc: tuple[int | str, ...]) -> KeyPath:
    """The key path of an error: pydantic adds the name of the alternative, which goes; an index in a list stays."""
    path = tuple(map(str, loc))
    for length in range(1, len(path) + 1):
        if ".".join(path[:length]) in leaves():
            return (*path[:length], *(str(part) for part in loc[length:] if isinstance(part, int)))
    return path


def _what_and_hint(path: KeyPath, errors: list[Any]) -> tuple[str, str]:
    value, kinds = errors[0]["input"], {one["type"] for one in errors}
    if "extra_forbidden" in kinds:
        return "there is no such setting", _nearest(path)
    leaf = leaves().get(".".join(path)) or leaves().get(".".join(path[:-1]))
    if leaf is None:
        return f"a block of settings is needed, this is {_shown(value)}", "write its settings below it, indented"
    known = f"known: {', '.join(leaf.choices)}"
    near = difflib.get_close_matches(str(value), leaf.choices, n=1)
    if ".".join(path) != leaf.key:  # an element of a list
        return f"{_shown(value)} is not known", f"did you mean {near[0]}?" if near else known
    if "too_short" in kinds:
        return "at least one is needed, this is an empty list", known
    if isinstance(value, str) and leaf.is_list:
        return f"a list is needed, this is {_shown(value)}", f"write [{near[0]}]" if near else f"write [a, b]; {known}"
    for kind, what in WHAT.items():
        if kind in kinds:
            return what, leaf.help
    if kinds & OUT_OF_RANGE:
        what = f"must be {' or '.join([leaf.bounds, *leaf.choices])}, this is {_shown(value)}"
        # The papers also write this factor as a ratio of the smallest class to the largest, 0.01 for 100.
        ratio = leaf.key == "dataset.imbalance_factor" and isinstance(value, float) and 0 < value < 1
        return what, f"{RATIO_HINT}: use {1 / value:g}" if ratio else leaf.help
    if isinstance(value, str) and leaf.key == "dataset.imbalance_factor" and (match := RATIO.fullmatch(value)):
        return f"{leaf.kind} is needed, this is {_shown(value)}", f"{RATIO_HINT}: use {match[1] or match[2]}"
    if isinstance(value, str) and leaf.choices and not (reads_as_number(value) or _in_decimal(value)):
        return f"{shortened(value)!r} is not known; {known}", f"did you mean {near[0]}?" if near else leaf.help
    return f"{leaf.kind} is needed, this is {_shown(value)}", _hint(leaf, value)


def _hint(leaf: Leaf, value: Any) -> str:
    if isinstance(value, str) and "number" in leaf.kind and reads_as_number(value):
        return f"write it without quotes: {value}"
    if isinstance(value, str) and "number" in leaf.kind and (decimal := _in_decimal(value)):
        return f"write it in decimal digits: {decimal}"
    if isinstance(value, float) and value.is_integer() and "whole" in leaf.kind:
        return f"write it without a fraction: {int(value)}"
    if leaf.is_list:
        return "write [a, b]"
    if value is None and leaf.default is not None:
        return "give it a value, or leave the key out"
    return leaf.help


def _in_decimal(text: str) -> str:
    """A number as YAML 1.1 or Python write it, 0x10, 0o10, 0b1 or 1_000, in decimal digits; empty for other text."""
    for number in (partial(int, base=0), float):
        with contextlib.suppress(ValueError):
            return str(number(text)) if re.search(r"\d", text) else ""
    return ""


def _nearest(path: KeyPath) -> str:
    key, known = ".".join(path), [*leaves(), *blocks(), "extends"]
    if key in leaves():  # in one word at the top level
        block, _, name = key.partition(".")
        return f"write {name} in the block {block}"
    # A right name in the wrong block is nearer than any misspelling.
    same_name = [candidate for candidate in known if candidate.rpartition(".")[2] == path[-1]]
    siblings = [candidate for candidate in known if candidate.startswith(f"{path[0]}.")] if len(path) > 1 else []
    for candidates in (siblings, known):
        by_name = {candidate.rpartition(".")[2]: candidate for candidate in candidates}
        near = difflib.get_close_matches(path[-1], list(by_name), n=1, cutoff=0.8)
        if near and not (same_name and candidates is known):
            return f"did you mean {by_name[near[0]]}?"
    near = same_name or difflib.get_close_matches(key, known, n=1)
    return f"did you mean {' or '.join(near)}?" if near else "`ltdd-tui presets show quickstart` shows all settings"


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f"the text {shortened(value)!r}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value}, not a finite number"
    if isinstance(value, bool):
        return str(value).lower()
    return {type(None): "empty", list: "a list", tuple: "a list", dict: "a block"}.get(type(value), str(value))


# Combinations that cannot work although each value is allowed: from facts about the data sets, no data is read.

# Networks other than the ConvNet halve the images three times (engine/nets/architectures.py).
SMALLEST_FOR_OTHERS = 8


def infeasible_faults(settings: RunSettings) -> Iterator[Fault]:
    """Faults whose `where` is the key at fault; the other keys they depend on are named in `what`."""
    dataset, experts, matching = settings.dataset, settings.experts, settings.matching
    growing = None if settings.unresolved else matching.sequential_from
    if growing is not None and growing > matching.max_start_epoch:
        yield Fault(
            f"matching.sequential_from {growing} lies above matching.max_start_epoch {matching.max_start_epoch}",
            "matching.sequential_from",
            "the bound of start epochs grows: lower it, or leave it empty",
        )
    recipe = settings.evaluate
    if recipe.optimizer == "adamw" and recipe.learning_rate == "learnt" and settings.traits.matches_trajectories:
        yield Fault(
            "the step size that trajectory matching learns is one of SGD, evaluate.optimizer is adamw",
            "evaluate.learning_rate",
            "set evaluate.learning_rate to about 0.001, and evaluate.real_learning_rate too",
        )
    if dataset.name != "folder" and dataset.test_folds is not None:
        yield Fault(
            f"dataset.name {dataset.name} has test images of its own",
            "dataset.test_folds",
            "leave it empty: folds are of a folder without test/",
        )
    if dataset.name != "folder" and dataset.test_groups is not None:
        yield Fault(
            f"dataset.name {dataset.name} has no groups of files",
            "dataset.test_groups",
            "leave it empty: groups are of a folder of images",
        )
    elif dataset.test_groups is not None and (fault := pattern_fault(dataset.test_groups)):
        yield fault
    size, networks = image_size_for(dataset), {experts.network, *settings.evaluate.arch}
    if size is not None and "convnet" in networks and size >> experts.depth < 1:
        yield Fault(
            f"{experts.depth} blocks (experts.depth) halve images of {size} pixels (dataset.name, dataset.resolution)"
            " to nothing",
            "experts.depth",
            f"experts.depth at most {size.bit_length() - 1}, or raise dataset.resolution",
        )
    if size is not None and networks - {"convnet"} and size < SMALLEST_FOR_OTHERS:
        yield Fault(
            f"evaluate.arch and experts.network need images of {SMALLEST_FOR_OTHERS} pixels, these have {size}",
            "dataset.resolution",
            "raise dataset.resolution",
        )
    if size is not None and size % settings.initialize.partition:
        yield Fault(
            f"images of {size} pixels (dataset.name, dataset.resolution) cannot be cut into"
            f" {settings.initialize.partition} equal parts a side",
            "initialize.partition",
            f"choose a divisor of {size}, or another dataset.resolution",
        )
    if dataset.class_order == "text" and dataset.name != "tiny-imagenet":
        yield Fault(
            f"text sorts the classes of dataset.name tiny-imagenet alone, this is {dataset.name}",
            "dataset.class_order",
            "use label, or count",
        )
    facts = FACTS.get(dataset.name)  # folder has none: its images become RGB
    if dataset.whitening in ("published", "normalized") and facts and facts.channels != 3:
        yield Fault(
            f"{dataset.whitening} takes the mean and std of CIFAR-10's three channels, dataset.name {dataset.name}"
            f" has {facts.channels}",
            "dataset.whitening",
            "use corrected",
        )
    if dataset.name == "digits" and (dataset.test_per_class or 0) >= DIGITS_SMALLEST:
        yield Fault(
            f"{dataset.test_per_class} test images a class (dataset.test_per_class) leave none to train on"
            " (dataset.name digits)",
            "dataset.test_per_class",
            f"the smallest class of digits has {DIGITS_SMALLEST} images",
        )
    elif (counts := counts_for(dataset)) is not None:
        yield from empty_tail(dataset, counts)


def check_runnable(settings: RunSettings) -> list[Fault]:
    """Faults about data that this machine does not have; shipped presets leave dataset.path empty."""
    dataset, where, start_set = settings.dataset, "dataset.path", settings.initialize.start_set
    if start_set is not None and not os.path.exists(expanded(start_set)):
        hint = "give a run's folder, a file, or a folder of images a class"
        return [Fault("there is no such set", f"initialize.start_set {start_set}", hint)]
    if faults := imported_faults(settings):
        return faults
    if dataset.path is not None:
        if os.path.isdir(expanded(dataset.path)):
            return []
        what = NO_FOLDER[os.path.exists(expanded(dataset.path))]
        return [Fault(what, f"{where} {dataset.path}", "give the folder that holds the data")]
    if dataset.name in ("folder", "imagenet-lt"):
        what = "the class folders" if dataset.name == "folder" else "the images and train.txt"
        hint = f"--set dataset.path=FOLDER, the folder with {what}"
        return [Fault(f"data set {dataset.name} needs a path", where, hint)]
    if dataset.name == "tiny-imagenet" and tiny_root(None) is None:
        hint = f"--set dataset.path=FOLDER, the folder with {TINY_FOLDER}"
        return [Fault(f"tiny-imagenet is not in {cache_root() / 'data'}", where, hint)]
    return []


def data_faults(dataset: DatasetSettings, open_images: bool) -> tuple[list[Fault], tuple[str, ...]]:
    """Every fault of a folder or of lists of images before a run meets it, and notes of what is taken or left out.

    Names and lists alone are read, which is fast; with `open_images` also the first bytes of every image.
    """
    if dataset.name == "folder":
        try:
            folder = survey(dataset)
        except InputError as error:
            return list(error.faults), ()
        # With an empty class among them, the tail's fault would only repeat that one.
        tail = [] if folder.faults else empty_tail(dataset, kept_counts(folder.counts, dataset))
        faults, notes = image_faults(folder) if open_images else ([], ())
        return [*folder.faults, *tail, *faults], (*folder.notes, *notes)
    return list_faults(dataset, open_images) if dataset.name == "imagenet-lt" else ([], ())
