"""Facts about the known data sets, class counts, and what a run will cost: pure arithmetic, nothing is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.run.costs import ParameterCounts, parameter_counts
from engine.run.devices import CUDA, Device, cpu
from engine.run.errors import InputError
from engine.run.expert_cache import NONE_CACHED, CachedExperts
from engine.run.footprint import disk_bytes, memory_bytes
from engine.run.settings import DatasetName, DatasetSettings, RunSettings
from engine.run.workload import Workload

__all__ = [
    "CUDA",
    "FACTS",
    "DatasetFacts",
    "Device",
    "Estimate",
    "ParameterCounts",
    "class_counts",
    "counts_for",
    "cpu",
    "estimate",
    "image_size_for",
    "long_tailed",
    "parameter_counts",
]

GIB = 2**30
FOLDER_CHANNELS = 3
FOLDER_TEST_PER_CLASS = 100  # a guess, and of little weight


def class_counts(largest: int, imbalance_factor: float, num_classes: int) -> list[int]:
    """Images of each class, head first: int(N_max * rate ** (c / (C - 1))), rate = 1 / IF (method.md section 1)."""
    rate = 1 / imbalance_factor
    last = max(num_classes - 1, 1)
    return [int(largest * rate ** (c / last)) for c in range(num_classes)]


@dataclass(frozen=True)
class DatasetFacts:
    """What is known of a data set before it is loaded; class_sizes: train images a class; class_names: short ones."""

    channels: int
    image_size: int
    classes: int
    class_sizes: tuple[int, ...]
    test_images: int
    class_names: tuple[str, ...] = ()


DIGITS_SMALLEST, DIGITS_HELD_OUT = 174, 40
IMAGENET_LT_LARGEST = 1280
_DIGITS = tuple(str(digit) for digit in range(10))
FACTS: dict[DatasetName, DatasetFacts] = {
    # Every class gives as many as the smallest one has left when the test images are held out.
    "digits": DatasetFacts(1, 8, 10, (DIGITS_SMALLEST - DIGITS_HELD_OUT,) * 10, 10 * DIGITS_HELD_OUT, _DIGITS),
    "cifar10": DatasetFacts(
        3,
        32,
        10,
        (5000,) * 10,
        10_000,
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    ),
    "cifar100": DatasetFacts(3, 32, 100, (500,) * 100, 10_000),
    "fashion_mnist": DatasetFacts(
        1,
        28,
        10,
        (6000,) * 10,
        10_000,
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "svhn": DatasetFacts(3, 32, 10, (4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659), 26_032, _DIGITS),
    "tiny-imagenet": DatasetFacts(3, 64, 200, (500,) * 200, 10_000),
    # 1280 is its largest class; the other classes' sizes are in its list of files alone.
    "imagenet-lt": DatasetFacts(3, 64, 1000, (IMAGENET_LT_LARGEST,) * 1000, 50_000),
}


def counts_for(settings: DatasetSettings) -> list[int] | None:
    """Train images of each class, or None where only the files tell: folder, and imagenet-lt as it is.

    imagenet-lt with an imbalance factor assumes a list that has as many images as the factor asks for.
    """
    factor, name = settings.imbalance_factor, settings.name
    if name == "folder" or (name == "imagenet-lt" and factor == "natural"):
        return None
    sizes = list(FACTS[name].class_sizes)
    if name == "digits" and settings.test_per_class is not None:
        sizes = [DIGITS_SMALLEST - settings.test_per_class] * len(sizes)
    return long_tailed(sizes, settings)


def long_tailed(sizes: Sequence[int], settings: DatasetSettings) -> list[int]:
    """What is kept of classes of these sizes, in the order that class_order asks for."""
    ordered = sorted(sizes, reverse=True) if settings.class_order == "count" else list(sizes)
    if settings.imbalance_factor == "natural":
        return ordered
    wanted = class_counts(max(ordered), settings.imbalance_factor, len(ordered))
    return [min(size, count) for size, count in zip(ordered, wanted, strict=True)]


def image_size_for(settings: DatasetSettings) -> int | None:
    """The side of the images in pixels, or None where only the files of a folder tell."""
    if settings.resolution is not None:
        return settings.resolution
    return None if settings.name == "folder" else FACTS[settings.name].image_size


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
