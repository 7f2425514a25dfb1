"""Estimate of a run's time, memory and disk before it starts: the worker records it, the face shows it.

Image files are counted by name, never read.
"""

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
# A guess for a folder whose test images nobody has counted; it hardly changes an estimate.
FOLDER_TEST_PER_CLASS = 100


@dataclass(frozen=True)
class Estimate:
    """Cost of a run: seconds by stage, peak memory of the device, disk of cache and run folder together.

    compile_seconds are contained in the stages that wait for it. compression_ratio: real images per synthetic image.
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
    """The cost of a run on a device; raises InputError where class counts or image size are known from files alone.

    `class_counts` and `test_images` are needed for those data sets. `cached` experts cost disk, but no time.
    """
    dataset = settings.dataset
    counts, size = class_counts or counts_for(dataset), image_size_for(dataset)
    if counts is None:
        raise InputError(
            "how many images a class has is known from the files alone",
            "dataset.name",
            "an estimate needs these counts; a run reports them when its data is loaded",
        )
    if size is None:
        raise InputError("the side of the images is known from the files alone", "dataset.resolution", "set it")
    facts = FACTS.get(dataset.name)
    channels = facts.channels if facts else FOLDER_CHANNELS
    tests = test_images or (facts.test_images if facts else FOLDER_TEST_PER_CLASS * len(counts))
    if dataset.test_per_class is not None:
        tests = min(tests, dataset.test_per_class * len(counts))
    work = Workload(settings, device, counts, channels, size, tests, cached)
    distills, decoupled = settings.traits.distills, settings.traits.decoupled
    compiling = work.compile_seconds()
    stages = (
        work.data_seconds(),
        work.experts_seconds() + compiling["experts"] if distills else 0.0,
        work.classifier_experts_seconds() if decoupled else 0.0,
        work.initialize_seconds() if distills else 0.0,
        work.baselines_seconds() + compiling["baselines"],
        work.matching_seconds() + compiling["distill"] if distills else 0.0,
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


def cost(
    settings: RunSettings,
    device: Device,
    counts: Sequence[int] | None = None,
    cached: CachedExperts = NONE_CACHED,
    folder: Survey | None = None,
) -> Estimate | None:
    """The estimate, or None where it cannot be made without reading the data.

    counts: train images of each class; folder: the survey of a folder of images. Both where they are known already.
    """
    try:
        folder = folder or _survey(settings)
        if folder is None:
            return estimate(settings, device, counts, None, cached)
        dataset = settings.dataset
        if dataset.resolution is None:
            side = sampled_side(expanded(dataset.path or "") / "train", folder.names)
            settings = settings.model_copy(update={"dataset": dataset.model_copy(update={"resolution": side})})
        # A class that the imbalance factor leaves empty is a fault elsewhere; the estimate needs an image of it.
        kept = [max(1, count) for count in counts or long_tailed(folder.counts, dataset)]
        return estimate(settings, device, kept, folder.test_images, cached)
    except (InputError, OSError):
        return None


def remaining_cost(settings: RunSettings, device: Device) -> tuple[Estimate | None, CachedExperts]:
    """The estimate with the experts that are in the cache, and how many those are."""
    try:
        folder = _survey(settings)
    except (InputError, OSError):
        return None, NONE_CACHED
    counts = long_tailed(folder.counts, settings.dataset) if folder else None
    cached = cached_experts(settings, device.kind, counts)
    return cost(settings, device, counts, cached, folder), cached


def estimate_record(settings: RunSettings, device: Device) -> dict[str, Any] | None:
    """The estimate as the manifest keeps it, to be compared with the finished run; None where there is none."""
    remaining, _ = remaining_cost(settings, device)
    kept = ("stage_seconds", "total_seconds", "memory_gib", "disk_gib")
    return {"calibrated": device.calibrated} | {key: getattr(remaining, key) for key in kept} if remaining else None


def _survey(settings: RunSettings) -> Survey | None:
    """The classes of a folder of images, counted by file name; None for a known data set."""
    dataset = settings.dataset
    return survey(dataset.path, dataset.test_share) if dataset.name == "folder" else None
