"""Estimate of a run's time, memory and disk before it starts: the worker records it, the app (ltdd_tui) shows it.

The arithmetic is in cost_model.py and memory_model.py; here is what it needs to know of the data and of cached experts.
Image files are counted by name; at most the headers of a few are read, for their size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.run.auto_settings import resolve_auto, with_numbers
from engine.run.cost_model import Workload
from engine.run.datasets import FACTS, counts_for, image_size_for, kept_counts
from engine.run.device_profiles import Device
from engine.run.errors import InputError, SettingsError
from engine.run.expert_cache import NONE_CACHED, CachedExperts, cached_experts
from engine.run.image_folder import Survey, sampled_side, survey
from engine.run.memory_model import disk_bytes, memory_bytes, snapshot_bytes
from engine.run.network_cost import GIB
from engine.run.settings import RunSettings

FOLDER_CHANNELS = 3
# A guess for a folder whose test images nobody has counted; it hardly changes an estimate.
FOLDER_TEST_PER_CLASS = 100


@dataclass(frozen=True)
class Estimate:
    """Cost of a run: seconds by stage, peak memory of the device, disk of cache and run folder together.

    compile_seconds are contained in the stages that wait for it, check_seconds in evaluation_seconds: these are for
    checks of the set while it is distilled. compression_ratio: real images per synthetic image. snapshots_gib: what
    experts take in the cache, a part of disk_gib; on a CPU of memory_gib too, where they are mapped from their files
    and leave it when it is short. cache_gib: what of that has still to be written.
    """

    data_seconds: float
    experts_seconds: float
    classifier_experts_seconds: float
    initialize_seconds: float
    baselines_seconds: float
    matching_seconds: float
    evaluation_seconds: float
    compile_seconds: float
    total_seconds: float
    memory_gib: float
    disk_gib: float
    compression_ratio: float
    check_seconds: float = 0.0
    teacher_seconds: float = 0.0
    bounds_seconds: float = 0.0
    validation_seconds: float = 0.0
    snapshots_gib: float = 0.0
    cache_gib: float = 0.0

    @property
    def stage_seconds(self) -> dict[str, float]:
        """Seconds under the names that a run's stages have; they add up to the total."""
        return {
            "data": self.data_seconds,
            "experts": self.experts_seconds,
            "classifier_experts": self.classifier_experts_seconds,
            "teacher": self.teacher_seconds,
            "initialize": self.initialize_seconds,
            "validation": self.validation_seconds,
            "baselines": self.baselines_seconds,
            "distill": self.matching_seconds,
            "evaluate": self.evaluation_seconds,
            "bounds": self.bounds_seconds,
        }


def estimate(
    settings: RunSettings,
    device: Device,
    class_counts: Sequence[int] | None = None,
    test_images: int | None = None,
    cached: CachedExperts = NONE_CACHED,
) -> Estimate:
    """The cost of a run on a device, with nothing read from the disk: `cached` experts cost disk, but no time.

    Raises InputError if `class_counts` or dataset.resolution is missing for a data set that only its files describe.
    """
    dataset = settings.dataset
    counts, size = class_counts or counts_for(dataset, settings.validation), image_size_for(dataset)
    if counts is None:
        raise InputError(
            "how many images a class has is known from the files alone",
            "dataset.name",
            "an estimate needs these counts; a run reports them when its data is loaded",
        )
    if size is None:
        raise InputError("the side of the images is known from the files alone", "dataset.resolution", "set it")
    settings, _ = resolve_auto(settings, counts)
    facts = FACTS.get(dataset.name)
    channels = facts.channels if facts else FOLDER_CHANNELS
    per_class = facts.test_images / len(facts.class_sizes) if facts else FOLDER_TEST_PER_CLASS
    tests = test_images or round(per_class * len(counts))
    if dataset.test_per_class is not None:
        tests = min(tests, dataset.test_per_class * len(counts))
    work = Workload(settings, device, counts, channels, size, tests, cached)
    compiling = work.compile_seconds()
    teacher = work.teacher_seconds() + compiling["teacher"] if settings.needs_teacher else 0.0
    stages = (
        work.data_seconds(),
        work.experts_seconds() + compiling["experts"] if settings.trains_experts else 0.0,
        work.classifier_experts_seconds() if settings.trains_classifier_experts else 0.0,
        work.initialize_seconds(),
        work.baselines_seconds() + work.selections_seconds() + compiling["baselines"],
        work.matching_seconds() + compiling["distill"] if settings.traits.distills else 0.0,
        work.evaluation_seconds(),
    )
    return Estimate(
        *stages,
        compile_seconds=sum(compiling.values()),
        total_seconds=sum(stages) + teacher + work.bounds_seconds() + work.validation_seconds(),
        memory_gib=memory_bytes(work) / GIB + device.runtime_gib,
        disk_gib=disk_bytes(work) / GIB,
        compression_ratio=sum(work.counts) / work.synthetic,
        check_seconds=work.check_seconds() if settings.traits.distills else 0.0,
        teacher_seconds=teacher,
        bounds_seconds=work.bounds_seconds(),
        validation_seconds=work.validation_seconds(),
        snapshots_gib=snapshot_bytes(work) / GIB,
        cache_gib=snapshot_bytes(work, work.cached) / GIB,
    )


def estimate_or_none(
    settings: RunSettings,
    device: Device,
    counts: Sequence[int] | None = None,
    cached: CachedExperts = NONE_CACHED,
    folder: Survey | None = None,
) -> Estimate | None:
    """As `estimate`, surveying a folder of images first; None if the data would have to be read.

    counts: train images of each class; folder: the survey of a folder of images. Both if they are known already.
    """
    try:
        folder = folder or _survey(settings)
        if folder is None:
            return estimate(settings, device, counts, None, cached)
        dataset = settings.dataset
        if dataset.resolution is None:
            side = sampled_side(folder)
            settings = settings.model_copy(update={"dataset": dataset.model_copy(update={"resolution": side})})
        # A class that the imbalance factor leaves empty is a fault elsewhere; the estimate needs an image of it.
        kept = [max(1, count) for count in counts or kept_counts(folder.counts, dataset, settings.validation)]
        return estimate(settings, device, kept, folder.test_images, cached)
    except (InputError, SettingsError, OSError):
        return None


def estimate_remaining(settings: RunSettings, device: Device) -> tuple[Estimate | None, CachedExperts]:
    """The estimate of what is left to do after the experts in the cache are reused, and how many those are."""
    try:
        folder = _survey(settings)
        settings, _ = with_numbers(settings)
    except (InputError, SettingsError, OSError):
        return None, NONE_CACHED
    counts = kept_counts(folder.counts, settings.dataset, settings.validation) if folder else None
    cached = cached_experts(settings, device.kind, counts)
    return estimate_or_none(settings, device, counts, cached, folder), cached


def estimate_for_manifest(settings: RunSettings, device: Device) -> dict[str, Any] | None:
    """The fields of `estimate_remaining` for manifest.json, to compare with the finished run; None without one."""
    remaining, _ = estimate_remaining(settings, device)
    kept = ("stage_seconds", "check_seconds", "total_seconds", "memory_gib", "disk_gib")
    return {"calibrated": device.calibrated} | {key: getattr(remaining, key) for key in kept} if remaining else None


def _survey(settings: RunSettings) -> Survey | None:
    """The classes of a folder of images, counted by file name; None for a known data set."""
    dataset = settings.dataset
    return survey(dataset) if dataset.name == "folder" else None
