"""What a run will cost, told before it starts: the worker writes it down, the face shows it. Files are only counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.run.cost_model import Workload, disk_bytes, memory_bytes
from engine.run.datasets import FACTS, Survey, counts_for, image_size_for, long_tailed, sampled_side, survey
from engine.run.device_profiles import Device
from engine.run.errors import InputError
from engine.run.expert_cache import NONE_CACHED, CachedExperts, cached_experts
from engine.run.folder import expanded
from engine.run.settings import RunSettings

GIB = 2**30
FOLDER_CHANNELS = 3
FOLDER_TEST_PER_CLASS = 100  # a guess, and of little weight


@dataclass(frozen=True)
class Estimate:
    """What a run will take: seconds by stage, peak memory of the device, disk of cache and run folder together.

    compile_seconds are part of the stages that wait for it. compression_ratio: real images for each synthetic one.
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

    @property
    def stage_seconds(self) -> dict[str, float]:
        """Seconds under the names that a run's stages have; they add up to the total."""
        return {
            "data": self.data_seconds,
            "experts": self.experts_seconds,
            "classifier_experts": self.classifier_experts_seconds,
            "initialize": self.initialize_seconds,
            "baselines": self.baselines_seconds,
            "distill": self.matching_seconds,
            "evaluate": self.evaluation_seconds,
        }


def estimate(
    settings: RunSettings,
    device: Device,
    class_counts: Sequence[int] | None = None,
    test_images: int | None = None,
    cached: CachedExperts = NONE_CACHED,
) -> Estimate:
    """The cost of a run on a device; `class_counts` and `test_images` where the catalog cannot know them.

    `cached` experts take no time, but room. Raises InputError where nobody knows the counts, or where the side of a
    folder's images is not given.
    """
    work = _workload(settings, device, class_counts, test_images, cached)
    method, none = settings.traits, 0.0
    compiling = work.compile_seconds()
    stages = (
        work.data_seconds(),
        work.experts_seconds() + compiling["experts"] if method.distills else none,
        work.classifier_experts_seconds() if method.decoupled else none,
        work.initialize_seconds() if method.distills else none,
        work.baselines_seconds() + compiling["baselines"],
        work.matching_seconds() + compiling["distill"] if method.distills else none,
        work.evaluation_seconds(),
    )
    return Estimate(
        *stages,
        compile_seconds=sum(compiling.values()),
        total_seconds=sum(stages),
        memory_gib=memory_bytes(work) / GIB + device.runtime_gib,
        disk_gib=disk_bytes(work) / GIB,
        compression_ratio=sum(work.counts) / work.synthetic,
    )


def _workload(
    settings: RunSettings,
    device: Device,
    counts: Sequence[int] | None,
    test_images: int | None,
    cached: CachedExperts,
) -> Workload:
    dataset = settings.dataset
    counts, size = counts or counts_for(dataset), image_size_for(dataset)
    if counts is None:
        raise InputError(
            "how many images a class has is known from the files alone",
            "dataset.name",
            "an estimate needs those counts; a run says them when its data is ready",
        )
    if size is None:
        raise InputError("the side of the images is known from the files alone", "dataset.resolution", "set it")
    facts = FACTS.get(dataset.name)
    channels = facts.channels if facts else FOLDER_CHANNELS
    tests = test_images or (facts.test_images if facts else FOLDER_TEST_PER_CLASS * len(counts))
    if dataset.test_per_class is not None:
        tests = min(tests, dataset.test_per_class * len(counts))
    return Workload(settings, device, counts, channels, size, tests, cached)


def cost(
    settings: RunSettings,
    device: Device,
    counts: Sequence[int] | None = None,
    cached: CachedExperts = NONE_CACHED,
    found: Survey | None = None,
) -> Estimate | None:
    """The estimate, or None where only the data's own files could give it.

    counts, found: what a class keeps and what its folder holds, where they are known already.
    """
    try:
        found = found or _survey(settings)
        if found is None:
            return estimate(settings, device, counts, None, cached)
        own = counts or long_tailed(found.counts, settings.dataset)
        return estimate(_with_side(settings, found), device, [max(1, n) for n in own], found.test_images, cached)
    except (InputError, OSError):
        return None


def remaining_cost(settings: RunSettings, device: Device) -> tuple[Estimate | None, CachedExperts]:
    """What there is left to do where some of the experts are in the cache, and how many of them are."""
    try:
        found = _survey(settings)
    except (InputError, OSError):
        return None, NONE_CACHED
    counts = long_tailed(found.counts, settings.dataset) if found else None
    cached = cached_experts(settings, device.kind, counts)
    return cost(settings, device, counts, cached), cached


def promise(settings: RunSettings, device: Device) -> dict[str, Any] | None:
    """What a run writes down before it starts, to be held against what then happened; None where nobody can know."""
    found, _ = remaining_cost(settings, device)
    return (
        None
        if found is None
        else {
            "calibrated": device.calibrated,
            "stage_seconds": found.stage_seconds,
            "total_seconds": found.total_seconds,
            "memory_gib": found.memory_gib,
            "disk_gib": found.disk_gib,
        }
    )


def _survey(settings: RunSettings) -> Survey | None:
    """A folder's classes, counted by name alone; None where the catalog knows them."""
    dataset = settings.dataset
    return survey(dataset.path, dataset.test_share) if dataset.name == "folder" else None


def _with_side(settings: RunSettings, found: Survey) -> RunSettings:
    dataset = settings.dataset
    if dataset.resolution is not None:
        return settings
    side = sampled_side(expanded(dataset.path or "") / "train", found.names)
    return settings.model_copy(update={"dataset": dataset.model_copy(update={"resolution": side})})
