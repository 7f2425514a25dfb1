"""What would come of a form if it were started now on this machine: faults, long tail, cost, what the cache spares."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from engine.run.datasets import Survey, empty_tail, long_tailed, survey
from engine.run.device_profiles import Device
from engine.run.errors import Fault, InputError
from engine.run.estimate import Estimate, cost
from engine.run.expert_cache import NONE_CACHED, CachedExperts, cached_experts
from engine.run.folder import cache_root, expanded
from engine.run.settings import DatasetSettings, RunSettings
from engine.run.validation import check_runnable
from ltdd_tui.form import FACTOR, Form, by_key, check, in_order
from ltdd_tui.machine import free_gib, memory_gib
from ltdd_tui.naming import name_faults, suggested_name
from ltdd_tui.planning import device_here
from ltdd_tui.tail import Tail, tail_of

PATH = "dataset.path"


@dataclass(frozen=True)
class Prospect:
    """Everything that is told about a form; `estimate` is what remains to be done where experts are cached.

    settings: with faulty values left as the preset has them. tail, estimate: None where only the data's files tell.
    """

    form: Form
    settings: RunSettings
    faults: Mapping[str, Fault]
    name: str
    device: Device
    tail: Tail | None = None
    estimate: Estimate | None = None
    cached: CachedExperts = NONE_CACHED
    memory_gib: float | None = None
    free_gib: float | None = None


def assess(form: Form, runs_dir: Path) -> Prospect:
    """Looks at values, folders, cache and disk; may take long on a large folder, so it belongs in a thread."""
    checked = check(form)
    settings, dataset = checked.settings, checked.settings.dataset
    faults = {key: _said_in_a_form(fault) for key, fault in by_key(check_runnable(settings), form.typed).items()}
    found = None
    if dataset.name == "folder" and PATH not in faults:
        found, own = _folder(dataset)
        faults |= own
    tail = tail_of(settings, found) if found or dataset.name != "folder" else None
    device = device_here(form.device)
    counts = long_tailed(found.counts, dataset) if found else None
    cached = cached_experts(settings, device.kind, counts)
    name = suggested_name(form, settings, runs_dir)
    return Prospect(
        form,
        settings,
        in_order(faults | name_faults(form.name, name, runs_dir) | dict(checked.faults)),
        name,
        device,
        tail,
        cost(settings, device, counts, cached, found),
        cached,
        memory_gib(device),
        free_gib(cache_root()),
    )


def _said_in_a_form(fault: Fault) -> Fault:
    """The fault with a hint for somebody who has a field before him, and no command line."""
    return replace(fault, hint=fault.hint.removeprefix("--set dataset.path=FOLDER, "))


def _folder(dataset: DatasetSettings) -> tuple[Survey | None, dict[str, Fault]]:
    """The classes of a person's own images, and what is wrong with them, by the field that mends it."""
    try:
        found = _surveyed(dataset.path, dataset.test_share, _traces(dataset.path))
    except (InputError, OSError) as error:
        fault = error.faults[0] if isinstance(error, InputError) else Fault(error.strerror or str(error))
        return None, {PATH: fault}
    if found.faults:
        more = f" (and {len(found.faults) - 1} more like this)" if len(found.faults) > 1 else ""
        first = found.faults[0]
        return None, {PATH: replace(first, what=f"{first.where}: {first.what}{more}")}
    counts = long_tailed(found.counts, dataset)
    empty = next(empty_tail(dataset, counts), None)
    return found, {FACTOR: empty} if empty else {}


def _traces(path: str | None) -> tuple[tuple[str, int], ...]:
    """What changes when images come or go: the time of the last change of each class folder."""
    root = expanded(path or "")
    places = [root, root / "test", root / "train"]
    for split in (root / "train", root / "test"):
        with os.scandir(split) if split.is_dir() else contextlib.nullcontext(()) as entries:
            places += [Path(entry.path) for entry in entries]
    return tuple((str(place), place.stat().st_mtime_ns) for place in places if place.is_dir())


@functools.lru_cache(maxsize=8)
def _surveyed(path: str | None, test_share: float, traces: tuple[tuple[str, int], ...]) -> Survey:
    """The survey of a folder, counted anew only when `traces` say that it has changed."""
    return survey(path, test_share)
