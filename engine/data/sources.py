"""From the name of a data set to its images: one loader a kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engine.data.image_folder import load_image_folder
from engine.data.imagenet_lt import load_imagenet_lt
from engine.data.split import Source, Split
from engine.data.tiny_imagenet import load_tiny_imagenet
from engine.run.errors import Fault, InputError
from engine.run.settings import DatasetSettings

__all__ = ["Source", "Split", "load_source"]


def load_source(settings: DatasetSettings) -> Source:
    """The whole data set at the setting's resolution, images not yet decoded; raises InputError."""
    source = _load(settings)
    _check_classes(source, settings)
    if settings.test_per_class is None:
        return source
    return replace(source, test=source.test.first_per_class(settings.test_per_class))


def _load(settings: DatasetSettings) -> Source:
    match settings.name:
        case "folder":
            return load_image_folder(settings)
        case "tiny-imagenet":
            return load_tiny_imagenet(settings)
        case "imagenet-lt":
            return load_imagenet_lt(settings)
        case "digits":
            # scikit-learn and torchvision take seconds to import: only where they are needed.
            from engine.data.digits import load_digits_source

            return load_digits_source(settings)
        case _:
            from engine.data.torchvision_sets import load_torchvision_set

            return load_torchvision_set(settings)


def _check_classes(source: Source, settings: DatasetSettings) -> None:
    """Every class has images in both splits, and no label is beyond the classes."""
    where, faults = settings.path or settings.name, []
    for kind, split in (("train", source.train), ("test", source.test)):
        counts = np.bincount(split.labels, minlength=len(source.class_names))
        faults += [
            Fault(f"class {name} has no {kind} images", where, "add images, or leave the class out")
            for name, count in zip(source.class_names, counts, strict=False)
            if count == 0
        ]
        if len(counts) > len(source.class_names):
            faults.append(
                Fault(
                    f"{kind} label {len(counts) - 1} is unknown to train",
                    where,
                    f"labels run from 0 to {len(source.class_names) - 1}",
                )
            )
    if faults:
        raise InputError(faults)
