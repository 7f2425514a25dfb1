"""What cannot work although every value is allowed by itself: seen from facts about the data, nothing is loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from engine.run.catalog import DIGITS_SMALLEST, counts_for, image_size_for
from engine.run.errors import Fault
from engine.run.folder import cache_root, expanded
from engine.run.settings import DatasetSettings, RunSettings

# Three poolings of these networks leave a pixel of it (engine/nets).
SMALLEST_FOR_OTHERS = 8
TINY_FOLDER, TINY_MARK = "tiny-imagenet-200", "wnids.txt"


def impossible(settings: RunSettings) -> list[Fault]:
    """Faults whose `where` is the key at fault; the other keys they depend on are named in `what`."""
    return [*_start_epochs(settings), *_networks(settings), *_tail(settings)]


def check_runnable(settings: RunSettings) -> list[Fault]:
    """What this machine lacks to run these settings: faults about dataset.path, which shipped presets leave open."""
    dataset = settings.dataset
    where, path = "dataset.path", dataset.path
    if path is not None and not os.path.isdir(expanded(path)):
        return [Fault("there is no such folder", f"{where} {path}", "give the folder that holds the data")]
    if path is not None:
        return []
    if dataset.name in ("folder", "imagenet-lt"):
        what = "train/<class>/*" if dataset.name == "folder" else "the images and train.txt"
        hint = f"--set dataset.path=FOLDER, the folder with {what}"
        return [Fault(f"data set {dataset.name} needs a path", where, hint)]
    if dataset.name == "tiny-imagenet":
        home = cache_root() / "data"
        if not any((folder / TINY_MARK).is_file() for folder in (home, home / TINY_FOLDER)):
            return [
                Fault(
                    f"tiny-imagenet is not in {home}",
                    where,
                    f"--set dataset.path=FOLDER, the folder with {TINY_FOLDER}",
                )
            ]
    return []


def _start_epochs(settings: RunSettings) -> Iterator[Fault]:
    matching = settings.matching
    if matching.sequential_from is not None and matching.sequential_from > matching.max_start_epoch:
        yield Fault(
            f"{matching.sequential_from} lies above matching.max_start_epoch {matching.max_start_epoch}",
            "matching.sequential_from",
            "the bound of start epochs grows: lower it, or leave it empty",
        )


def _networks(settings: RunSettings) -> Iterator[Fault]:
    size, depth = image_size_for(settings.dataset), settings.experts.depth
    networks = {settings.experts.network, *settings.evaluate.arch}
    if size is None:
        return
    if "convnet" in networks and size >> depth < 1:
        yield Fault(
            f"{depth} blocks halve images of {size} pixels (dataset.name, dataset.resolution) away",
            "experts.depth",
            f"at most {size.bit_length() - 1}, or raise dataset.resolution",
        )
    if networks - {"convnet"} and size < SMALLEST_FOR_OTHERS:
        yield Fault(
            f"evaluate.arch and experts.network need images of {SMALLEST_FOR_OTHERS} pixels, these have {size}",
            "dataset.resolution",
            "raise dataset.resolution",
        )


def _tail(settings: RunSettings) -> Iterator[Fault]:
    dataset = settings.dataset
    if dataset.name == "digits" and (dataset.test_per_class or 0) >= DIGITS_SMALLEST:
        yield Fault(
            f"{dataset.test_per_class} test images a class leave none to train on (dataset.name digits)",
            "dataset.test_per_class",
            f"the smallest class of digits has {DIGITS_SMALLEST} images",
        )
        return
    counts = counts_for(dataset)
    if counts is not None:
        yield from empty_tail(dataset, counts)


def empty_tail(dataset: DatasetSettings, counts: Sequence[int]) -> Iterator[Fault]:
    """The fault of an imbalance factor that leaves nothing of some classes; `counts` are what it leaves."""
    if min(counts) < 1:
        yield Fault(
            f"{dataset.imbalance_factor:g} leaves no image for {list(counts).count(0)} classes of dataset.name"
            f" {dataset.name}, whose largest has {max(counts)}",
            "dataset.imbalance_factor",
            f"at most {max(counts)}",
        )
