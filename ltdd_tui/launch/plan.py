"""Plan of the run that a form describes: faults, class counts, estimated cost, cached experts. No torch is loaded."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine.run.auto_settings import resolve_auto
from engine.run.data_settings import DatasetSettings
from engine.run.datasets import FACTS, class_sizes, counts_for, empty_tail, kept_counts
from engine.run.device_profiles import Device
from engine.run.errors import Fault, InputError, SettingsError
from engine.run.estimate import Estimate, estimate_or_none
from engine.run.expert_cache import NONE_CACHED, CachedExperts, cached_experts
from engine.run.folder import expanded
from engine.run.image_folder import TESTS, TRAIN, Survey, survey, surveyed_settings
from engine.run.settings import RunSettings
from engine.run.validation import check_runnable
from ltdd_tui.formatting import duration, percent, stage_name
from ltdd_tui.launch.create import name_faults, suggested_name
from ltdd_tui.launch.form import FACTOR, PATH, Form, PlanLine, faults_by_key, in_order, validate
from ltdd_tui.launch.machine import UNKNOWN_COST, Room, device_here, needs_of, rooms


@dataclass(frozen=True)
class LongTail:
    """The classes that a run would train on, the largest first, with their train images; `ipc` is images per class.

    partition: mini-images along a side of each of those.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]
    ipc: int
    partition: int = 1

    @property
    def total(self) -> int:
        """All train images."""
        return sum(self.counts)

    @property
    def synthetic(self) -> int:
        """All synthetic images."""
        return self.ipc * len(self.counts)

    @property
    def real(self) -> int:
        """Real images of a class that the set starts from: one for each mini-image."""
        return self.ipc * self.partition**2

    @property
    def short(self) -> int:
        """Classes that have fewer images than the set starts from."""
        return sum(count < self.real for count in self.counts)


def long_tail(settings: RunSettings, survey: Survey | None) -> LongTail | None:
    """The long tail of a data set; `survey` is that of its folder. None where only its files tell."""
    dataset = settings.dataset
    validation = settings.validation
    counts = kept_counts(survey.counts, dataset, validation) if survey else counts_for(dataset, validation)
    if counts is None:
        return None
    names: Sequence[str]
    sizes: Sequence[int]
    if survey:
        names, sizes = survey.names, survey.counts
    else:
        sizes = class_sizes(dataset) or counts
        names = FACTS[dataset.name].class_names or [f"class {c}" for c in range(len(sizes))]
    # `counts` follows the order of classes that the settings ask for; the names have to follow it too.
    if dataset.class_order == "count":
        names = [names[c] for c in sorted(range(len(sizes)), key=lambda c: (-sizes[c], c))]
    order = sorted(range(len(counts)), key=lambda c: (-counts[c], c))
    return LongTail(
        tuple(names[c] for c in order), tuple(counts[c] for c in order), settings.ipc, settings.initialize.partition
    )


@dataclass(frozen=True)
class RunPlan:
    """Plan of the run that a form describes, on this machine.

    settings: with faulty values left as the preset has them. name: what the run is called unless the form names it.
    estimate: the cost of what the cached experts leave to do. tail, estimate: None where only the data's files tell.
    rooms: what the run needs of memory and disk, against what is there; empty without an estimate.
    notes: folders of images that are taken as a split, or left out.
    """

    form: Form
    settings: RunSettings
    faults: Mapping[str, Fault]
    name: str
    device: Device
    tail: LongTail | None = None
    estimate: Estimate | None = None
    cached: CachedExperts = NONE_CACHED
    rooms: tuple[Room, ...] = ()
    notes: tuple[str, ...] = ()


def plan_run(form: Form, runs_dir: Path) -> RunPlan:
    """Looks at values, folders, cache and disk; may take long on a large folder, so it belongs in a thread."""
    validated = validate(form)
    settings, dataset = validated.settings, validated.settings.dataset
    # Hints are for somebody with a field to type into, and no command line.
    faults = {
        key: replace(fault, hint=fault.hint.removeprefix("--set dataset.path=FOLDER, "))
        for key, fault in faults_by_key(check_runnable(settings), form.typed).items()
    }
    folder = None
    if dataset.name == "folder" and PATH not in faults:
        folder, folder_faults = _survey_folder(dataset)
        faults |= folder_faults
    tail = long_tail(settings, folder) if folder or dataset.name != "folder" else None
    if tail:
        try:
            settings, _ = resolve_auto(settings, tail.counts)
        except SettingsError as error:
            faults |= faults_by_key(error.faults, form.typed)
    device = device_here(form.device)
    counts = kept_counts(folder.counts, dataset, settings.validation) if folder else None
    cached = NONE_CACHED if settings.unresolved else cached_experts(settings, device.kind, counts)
    name = suggested_name(form, settings, runs_dir)
    cost = estimate_or_none(settings, device, counts, cached, folder)
    return RunPlan(
        form,
        settings,
        in_order(faults | name_faults(form.name, name, runs_dir) | dict(validated.faults)),
        name,
        device,
        tail,
        cost,
        cached,
        tuple(rooms(needs_of(cost, device), device, runs_dir)) if cost else (),
        folder.notes if folder else (),
    )


def _survey_folder(dataset: DatasetSettings) -> tuple[Survey | None, dict[str, Fault]]:
    """The classes of a person's own images, and what is wrong with them, by the field that mends it."""
    try:
        folder = _surveyed(surveyed_settings(dataset), _class_folder_times(dataset.path))
    except InputError as error:
        return None, {PATH: _told_at_path(error.faults, dataset)}
    except OSError as error:
        return None, {PATH: Fault(error.strerror or str(error))}
    if folder.faults:
        return None, {PATH: _told_at_path(folder.faults, dataset)}
    counts = kept_counts(folder.counts, dataset)
    empty = next(empty_tail(dataset, counts), None)
    return folder, {FACTOR: empty} if empty else {}


def _told_at_path(faults: Sequence[Fault], dataset: DatasetSettings) -> Fault:
    """One fault for the field of the path: the first one, with its place below the path, and how many there are."""
    first, root = faults[0], str(expanded(dataset.path or ""))
    place = "" if first.where in (root, PATH) else f"{first.where.removeprefix(f'{root}/')}: "
    more = f" (and {len(faults) - 1} more like this)" if len(faults) > 1 else ""
    return replace(first, what=f"{place}{first.what}{more}")


def _class_folder_times(path: str | None) -> tuple[tuple[str, int], ...]:
    """When each class folder was last changed, in nanoseconds: this changes when images come or go."""
    root = expanded(path or "")
    places, splits = [root], list[Path]()
    if root.is_dir():
        with os.scandir(root) as entries:
            splits = [Path(entry.path) for entry in entries]
    for split in splits:
        places.append(split)
        if split.name.lower() in (TRAIN, *TESTS) and split.is_dir():
            with os.scandir(split) as entries:
                places += [Path(entry.path) for entry in entries]
    return tuple((str(place), place.stat().st_mtime_ns) for place in places if place.is_dir())


@functools.lru_cache(maxsize=8)
def _surveyed(dataset: DatasetSettings, changed: tuple[tuple[str, int], ...]) -> Survey:
    """The survey of a folder; counting a large one takes long, so it is done anew only when `changed` differs."""
    return survey(dataset)


# ---- A plan in words. ----

# A figure stays beside its unit, and a stage beside its figure.
UNBROKEN = "\u00a0"
LEAST_SECONDS = 0.5


def size_summary(tail: LongTail) -> tuple[str, str]:
    """`12,406 images → 100 synthetic`, and how much smaller that is: `1/124 of the images (0.81 %)`."""
    ratio = tail.total / tail.synthetic
    share = 100 / ratio
    percent_kept = f"{share:,.0f} %" if share >= 10 else f"{share:.2g} %"
    part = f"1/{ratio:,.0f} of the images ({percent_kept})" if ratio >= 10 else f"{percent_kept} of the images"
    return f"{tail.total:,} images → {tail.synthetic:,} synthetic", part


def shortage_note(tail: LongTail) -> PlanLine:
    """Whether each class has as many images as the set starts from."""
    if not tail.short:
        return PlanLine("", f"every class has at least {tail.real} images")
    classes, whose = ("1 class has", "its") if tail.short == 1 else (f"{tail.short} classes have", "their")
    wanted = f"IPC {tail.ipc}" if tail.real == tail.ipc else f"{tail.real} mini-images a class"
    return PlanLine("", f"! {classes} fewer images than {wanted}; {whose} images repeat at the start", warns=True)


def stage_seconds(run_plan: RunPlan) -> list[tuple[str, float]]:
    """Each stage that takes time, with what is left for it to do."""
    seconds_by_stage = run_plan.estimate.stage_seconds if run_plan.estimate else {}
    return [(stage_name(stage), seconds) for stage, seconds in seconds_by_stage.items() if seconds >= LEAST_SECONDS]


def plan_lines(run_plan: RunPlan, stages_in_a_line: bool) -> list[PlanLine]:
    """Time, memory, disk, cached experts and the published figure; the stages' times where they have no bars."""
    lines = [PlanLine("data", note, warns=True) for note in run_plan.notes]
    lines += [*_cost_lines(run_plan, stages_in_a_line), *_experts_lines(run_plan)]
    expected = run_plan.settings.expected
    if expected is not None:
        note = f"; {expected.note}" if expected.note else ""
        lines.append(PlanLine("published", f"{percent(expected.accuracy)} %  {expected.source}{note}"))
    return lines


def _cost_lines(run_plan: RunPlan, stages_in_a_line: bool) -> list[PlanLine]:
    estimate = run_plan.estimate
    if estimate is None:
        return [PlanLine("time", UNKNOWN_COST)]
    lines = [PlanLine("time", f"about {duration(estimate.total_seconds, 'estimate')}")]
    if not run_plan.device.calibrated:
        lines.append(PlanLine("", "rough: ctrl+b measures"))
    elif run_plan.device.busy:
        lines.append(PlanLine("", "measured while other programs ran: ctrl+b again"))
    if stages_in_a_line:
        parts = [f"{name} {duration(seconds, 'estimate')}" for name, seconds in stage_seconds(run_plan)]
        lines.append(PlanLine("", ", ".join(part.replace(" ", UNBROKEN) for part in parts)))
    return [*lines, *(PlanLine(room.label, room.text, room.lacks or room.is_close) for room in run_plan.rooms)]


def _experts_lines(run_plan: RunPlan) -> list[PlanLine]:
    """How many experts, and networks of the teacher, the run would take from the cache."""
    settings, cached, lines = run_plan.settings, run_plan.cached, list[PlanLine]()
    if settings.trains_experts:
        text = _trained_or_cached(settings.experts.num_experts, cached.representation)
        incomplete = settings.trains_classifier_experts and cached.classifier != cached.representation
        if cached.representation and incomplete:
            text += f", {cached.classifier} classifier experts"
        lines.append(PlanLine("experts", text))
    if settings.trains_teacher:
        lines.append(PlanLine("teacher", _trained_or_cached(settings.teacher.networks, cached.teacher)))
    return lines or [PlanLine("experts", "none are needed")]


def _trained_or_cached(wanted: int, cached: int) -> str:
    return f"{cached} of {wanted} in the cache" if cached else f"{wanted} to train, then cached for other runs"
