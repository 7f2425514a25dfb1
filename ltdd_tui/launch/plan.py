"""What would come of a form if it were started now on this machine: faults, long tail, cost, what the cache spares."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from engine.run.datasets import FACTS, Survey, counts_for, empty_tail, long_tailed, survey
from engine.run.device_profiles import Device
from engine.run.errors import Fault, InputError
from engine.run.estimate import Estimate, cost
from engine.run.expert_cache import NONE_CACHED, CachedExperts, cached_experts
from engine.run.folder import cache_root, expanded
from engine.run.settings import DatasetSettings, RunSettings
from engine.run.validation import check_runnable
from ltdd_tui.formatting import gibibytes, percent, roughly, stage_name
from ltdd_tui.launch.create import name_faults, suggested_name
from ltdd_tui.launch.form import FACTOR, Form, by_key, check, in_order
from ltdd_tui.launch.machine import UNKNOWN_COST, device_here, free_gib, memory_gib

# The long tail that a run would train on, from head to tail, and a bar of block characters.


@dataclass(frozen=True)
class Tail:
    """Classes with their train images, the largest first, and how many synthetic images each will have."""

    names: tuple[str, ...]
    counts: tuple[int, ...]
    ipc: int

    @property
    def total(self) -> int:
        """All train images."""
        return sum(self.counts)

    @property
    def synthetic(self) -> int:
        """All synthetic images."""
        return self.ipc * len(self.counts)

    @property
    def short(self) -> int:
        """Classes that have fewer images than they will have synthetic ones."""
        return sum(count < self.ipc for count in self.counts)


def tail_of(settings: RunSettings, survey: Survey | None) -> Tail | None:
    """The long tail of a data set; `survey` is that of its folder. None where only its files tell."""
    dataset = settings.dataset
    counts = long_tailed(survey.counts, dataset) if survey else counts_for(dataset)
    if counts is None:
        return None
    names = _in_class_order(*_classes(dataset, survey), dataset)
    order = sorted(range(len(counts)), key=lambda c: (-counts[c], c))
    return Tail(tuple(names[c] for c in order), tuple(counts[c] for c in order), settings.ipc)


def _classes(dataset: DatasetSettings, survey: Survey | None) -> tuple[Sequence[str], Sequence[int]]:
    """The names and sizes of the classes before anything is selected."""
    if survey:
        return survey.names, survey.counts
    facts = FACTS[dataset.name]
    return facts.class_names or [f"class {c}" for c in range(facts.classes)], facts.class_sizes


def _in_class_order(names: Sequence[str], sizes: Sequence[int], dataset: DatasetSettings) -> list[str]:
    if dataset.class_order == "label":
        return list(names)
    return [names[c] for c in sorted(range(len(sizes)), key=lambda c: (-sizes[c], c))]


PATH = "dataset.path"


@dataclass(frozen=True)
class RunPlan:
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


def plan_run(form: Form, runs_dir: Path) -> RunPlan:
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
    return RunPlan(
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


# What a prospect says, in words: from images to synthetic ones, what it takes, what is spared, what is published.


# A figure stays beside its unit, and a stage beside its figure.
UNBROKEN = "\u00a0"
LEAST_SECONDS = 0.5


class Fact(NamedTuple):
    """One line of what a run takes; `warns` where this machine does not have it."""

    label: str
    text: str
    warns: bool = False


def headline(tail: Tail) -> tuple[str, str]:
    """From how many images to how many, and how much smaller that is."""
    ratio = tail.total / tail.synthetic
    smaller = f"{ratio:,.0f} : 1" if ratio >= 10 else f"{ratio:.1f} : 1"
    share = 100 / ratio
    percent_kept = f"{share:,.0f} %" if share >= 10 else f"{share:.2g} %"
    return f"{tail.total:,} images → {tail.synthetic:,} synthetic", f"{smaller}, {percent_kept}"


def remark(tail: Tail) -> Fact:
    """Whether each class has as many images as it will have synthetic ones."""
    if not tail.short:
        return Fact("", f"every class has at least {tail.ipc} images")
    classes, whose = ("1 class has", "its") if tail.short == 1 else (f"{tail.short} classes have", "their")
    return Fact("", f"! {classes} fewer images than IPC {tail.ipc}; {whose} images repeat at the start", warns=True)


def stage_seconds(run_plan: RunPlan) -> list[tuple[str, float]]:
    """Each stage that takes time, with what is left for it to do."""
    found = run_plan.estimate.stage_seconds if run_plan.estimate else {}
    return [(stage_name(stage), seconds) for stage, seconds in found.items() if seconds >= LEAST_SECONDS]


def facts(run_plan: RunPlan, stages_in_a_line: bool) -> list[Fact]:
    """Time, memory, disk, cached experts and the published figure; the stages' times where they have no bars."""
    found = [*_costs(run_plan, stages_in_a_line), *_experts(run_plan)]
    expected = run_plan.settings.expected
    if expected is not None:
        note = f"; {expected.note}" if expected.note else ""
        found.append(Fact("published", f"{percent(expected.accuracy)} %  {expected.source}{note}"))
    return found


def _costs(run_plan: RunPlan, stages_in_a_line: bool) -> list[Fact]:
    estimate = run_plan.estimate
    if estimate is None:
        return [Fact("time", UNKNOWN_COST)]
    found = [Fact("time", f"about {roughly(estimate.total_seconds)}")]
    if not run_plan.device.calibrated:
        found.append(Fact("", "rough: ctrl+b measures"))
    elif run_plan.device.busy:
        found.append(Fact("", "measured while other programs ran: ctrl+b again"))
    if stages_in_a_line:
        parts = [
            f"{name} {roughly(seconds)}".replace(" ", UNBROKEN) for name, seconds in stage_seconds(run_plan) if seconds
        ]
        found.append(Fact("", ", ".join(parts)))
    has, free = run_plan.memory_gib, run_plan.free_gib
    of = "" if has is None else f" of {gibibytes(has)}"
    found.append(Fact("memory", gibibytes(estimate.memory_gib) + of, has is not None and estimate.memory_gib > has))
    left = "" if free is None else f", {gibibytes(free)} free"
    found.append(Fact("disk", gibibytes(estimate.disk_gib) + left, free is not None and estimate.disk_gib > free))
    return found


def _experts(run_plan: RunPlan) -> list[Fact]:
    """How many experts the run would take from the cache."""
    settings, cached = run_plan.settings, run_plan.cached
    if not settings.traits.distills:
        return [Fact("experts", "none: real images are only picked")]
    wanted = settings.experts.num_experts
    if not cached.representation:
        return [Fact("experts", f"{wanted} to train, then cached for other runs")]
    text = f"{cached.representation} of {wanted} in the cache"
    if settings.traits.decoupled and cached.classifier != cached.representation:
        text += f", {cached.classifier} classifier experts"
    return [Fact("experts", text)]
