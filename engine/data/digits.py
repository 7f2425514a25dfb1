"""scikit-learn's handwritten digits, 8x8 and gray: the set that needs no file and no network."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits

from engine.data.split import Source, split_in_memory
from engine.run.errors import InputError
from engine.run.settings import DatasetSettings

CLASSES, SIZE, LEVELS = 10, 8, 16
TEST_PER_CLASS = 40


def load_digits_source(settings: DatasetSettings) -> Source:
    """Test: the last 40 images of each class (or test_per_class). Train: equally many of each class from the rest.

    Equally many, 134 as the smallest class has, so that any class can be the head of the tail (method.md's toy).
    """
    pixels, labels = load_digits(return_X_y=True)
    held_out = settings.test_per_class or TEST_PER_CLASS
    members = [np.flatnonzero(labels == c) for c in range(CLASSES)]
    train_per_class = min(len(own) for own in members) - held_out
    if train_per_class < 1:
        raise InputError(
            f"{held_out} test images a class leave none to train on",
            "dataset.test_per_class",
            f"the smallest class of digits has {min(len(own) for own in members)} images",
        )
    images = torch.from_numpy(np.rint(pixels * (255 / LEVELS)).astype(np.uint8)).view(-1, 1, SIZE, SIZE)
    size = settings.resolution or SIZE
    everything = split_in_memory(images, labels, size)
    train = everything.keep(np.sort(np.concatenate([own[:train_per_class] for own in members])))
    test = everything.keep(np.sort(np.concatenate([own[-held_out:] for own in members])))
    return Source([str(c) for c in range(CLASSES)], train, test, size, channels=1)
