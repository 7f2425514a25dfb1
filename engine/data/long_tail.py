"""The long tail: how many images each class keeps, which ones, and which classes count as many, medium or few-shot."""

from __future__ import annotations

from typing import Literal

import numpy as np

from engine.run.catalog import class_counts

MANY_ABOVE, FEW_BELOW = 100, 20


def wanted_counts(available: list[int], imbalance_factor: float | Literal["natural"]) -> list[int]:
    """Images per class that the imbalance factor asks for, its head as large as the largest class (method, section 1).

    A class may have fewer available; natural asks for all there are.
    """
    if imbalance_factor == "natural":
        return list(available)
    return class_counts(max(available), imbalance_factor, len(available))


def select_long_tailed(
    labels: np.ndarray, num_classes: int, imbalance_factor: float | Literal["natural"], subset_seed: int
) -> np.ndarray:
    """Indices of the long-tailed subset of `labels` (N,), class after class in the order drawn.

    Every class is drawn from a fresh generator with the same seed, as in the official code; a class short of its
    count gives all it has, and natural takes every image in the order of the labels.
    """
    members = [np.flatnonzero(labels == c) for c in range(num_classes)]
    if imbalance_factor == "natural":
        return np.concatenate(members)
    sizes = [len(own) for own in members]
    kept = [min(size, wanted) for size, wanted in zip(sizes, wanted_counts(sizes, imbalance_factor), strict=True)]
    return np.concatenate(
        [
            own[np.random.RandomState(subset_seed).choice(len(own), count, replace=False)]
            for own, count in zip(members, kept, strict=True)
        ]
    )


def class_groups(counts: list[int]) -> tuple[list[str], str]:
    """many, medium or few for each class, and the rule in words: by count, else by rank where a group were empty."""
    groups = ["many" if count > MANY_ABOVE else "few" if count < FEW_BELOW else "medium" for count in counts]
    if len(set(groups)) == 3:
        return groups, f"by images: many > {MANY_ABOVE}, medium {FEW_BELOW}-{MANY_ABOVE}, few < {FEW_BELOW}"
    ranked = np.argsort([-count for count in counts], kind="stable")
    for name, classes in zip(("many", "medium", "few"), np.array_split(ranked, 3), strict=True):
        for c in classes:
            groups[c] = name
    return groups, "thirds of the classes, ranked by images"
