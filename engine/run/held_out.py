"""Images of a folder that are held out for testing where it has no test/: a share of each class, or one of its folds.

The same images on every run and for every fold. Files of one group (a track, a patient, a camera) stay on one side.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from engine.run.errors import Fault, shortened

HELD_OUT_SEED = 0


class HeldOut(NamedTuple):
    """What is held out: a share, or of so many folds the one with this number; `groups` is a pattern of file names."""

    share: float
    folds: int | None = None
    fold: int = 0
    groups: str | None = None


def held_out_faults(
    folders: Sequence[Path], classes: Sequence[Sequence[str]], held: Sequence[Sequence[int]], which: HeldOut
) -> list[Fault]:
    """The faults of classes that cannot be held out as asked for.

    folders: where each class lies. classes, held: what `held_out_places` takes and gives.
    """
    faults, sizes = list[Fault](), [len(own) for own in classes]
    parts, part = sizes, "images"
    if which.groups is not None:
        parts, part = [len({group_of(which.groups, path) for path in own}) for own in classes], "groups"
    for folder, size, count, places in zip(folders, sizes, parts, held, strict=True):
        if size == 1:
            what = "one image is too few to train and to test"
            faults.append(Fault(what, str(folder), "add images, or a test/ folder"))
        elif size and (count == 1 or (not which.folds and not 0 < len(places) < size)):
            what = (
                "all images of this class are of one group" if count == 1 else "its groups are those of other classes"
            )
            hint = "add images of other groups, or a test/ folder, or change dataset.test_groups"
            faults.append(Fault(f"{what}, so none can be held out", str(folder), hint))
    # A class of one image has its fault above.
    smallest, name = min(
        ((count, folder.name) for folder, count in zip(folders, parts, strict=True) if count > 1), default=(0, "")
    )
    if which.folds and 0 < smallest < which.folds:
        what = f"test_folds {which.folds} is more than the {smallest} {part} of class {name}"
        hint = f"at most {smallest}, so that each fold tests every class"
        faults.append(Fault(what, "dataset.test_folds", hint))
    return faults


def unmatched(pattern: str | None, classes: Sequence[Sequence[str]]) -> list[Fault]:
    """The fault of a pattern that matches no file; files are given by their paths below train/, class after class."""
    paths = [path for own in classes for path in own]
    if pattern is None or any(re.search(pattern, path) for path in paths):
        return []
    hint = f"it is searched for in paths such as {next(iter(paths), '')}"
    return [Fault(f"the pattern {pattern!r} matches no file", "dataset.test_groups", hint)]


def pattern_fault(pattern: str) -> Fault | None:
    """What is wrong with a pattern of groups by itself."""
    where, example = "dataset.test_groups", r"for example track(\d+)_ for files such as track12_003.png"
    try:
        groups = re.compile(pattern).groups
    except (re.error, RecursionError, OverflowError) as error:
        return Fault(f"{shortened(pattern)!r} is no regular expression: {error}", where, example)
    if groups != 1:
        there = "no group" if groups == 0 else f"{groups} groups"
        return Fault(f"{shortened(pattern)!r} has {there} in parentheses, where one is needed", where, example)
    return None


def share_of(size: int, share: float) -> int:
    """Images of a class of this size that are held out: at least one, never all."""
    return min(max(round(share * size), 1), size - 1) if size else 0


FEW_TESTS, FOLDS = 5, 5


def folds_instead(sizes: Sequence[int], share: float) -> int | None:
    """The folds that test classes of these sizes better than a share, by which some would have under FEW_TESTS images.

    None where the share will do, or a class has fewer images than folds.
    """
    tested = min((share_of(size, share) for size in sizes), default=FEW_TESTS)
    return FOLDS if tested < FEW_TESTS and min(sizes) >= FOLDS else None


def group_of(pattern: str, path: str) -> str:
    """The group of a file by its path below train/; one that the pattern does not match is a group of its own."""
    found = re.search(pattern, path)
    return path if found is None or found[1] is None else f"group {found[1]}"


def held_out_places(classes: Sequence[Sequence[str]], which: HeldOut) -> list[list[int]]:
    """Of the files of each class, by their paths below train/ in order, the places of those that are held out.

    A share: at least one image, never all. One of several folds: all images are dealt in turn, class after class, so
    that neither the folds of a class nor whole folds differ by more than one image. Groups are dealt whole, which
    `places_by_group` does as evenly as they allow.
    """
    import numpy as np

    share, folds, fold, pattern = which
    sizes = [len(own) for own in classes]
    if pattern is not None:
        groups = [[group_of(pattern, path) for path in own] for own in classes]
        if folds is None:
            return places_by_group(groups, [share_of(size, share) for size in sizes], HELD_OUT_SEED)
        dealt = _dealt_to_folds(groups, folds)
        return [[place for place, group in enumerate(own) if dealt[group] == fold] for own in groups]
    if folds is None:
        dealt_places = [range(share_of(size, share)) for size in sizes]
    else:
        before = accumulate(sizes, initial=0)
        dealt_places = [range((fold - n) % folds, size, folds) for size, n in zip(sizes, before, strict=False)]
    orders = (np.random.RandomState(HELD_OUT_SEED).permutation(size) for size in sizes)
    return [sorted(order[list(places)].tolist()) for order, places in zip(orders, dealt_places, strict=True)]


def places_by_group(groups: Sequence[Sequence[str]], wanted: Sequence[int], seed: int) -> list[list[int]]:
    """The places of the images that are held out, about `wanted` of each class, so that no group is on both sides.

    groups: the group of each image, class after class; one group may have images of several classes. Classes with the
    fewest groups choose first, in an order drawn by `seed`: a group is held out where this brings the class nearer to
    what is wanted. A class keeps a group to train on; it has none held out where its groups do not allow it.
    """
    # A class of which nothing is wanted keeps all its groups.
    held = {group: False for own, count in zip(groups, wanted, strict=True) if not count for group in own}

    def choose(sizes: Mapping[str, int], order: Sequence[str], count: int) -> None:
        taken = sum(size for group, size in sizes.items() if held.get(group))
        kept = any(held.get(group) is False for group in sizes)
        free = [group for group in order if group not in held]
        if not taken and free:  # at least one group: the one nearest to what is wanted
            free.sort(key=lambda group: abs(sizes[group] - count))
        for place, group in enumerate(free):
            nearer = abs(taken + sizes[group] - count) < abs(taken - count) or not taken
            held[group] = nearer and (kept or place < len(free) - 1)
            taken += sizes[group] * held[group]
            kept = kept or not held[group]

    _by_class(groups, seed, lambda c, sizes, order: choose(sizes, order, wanted[c]))
    return [[place for place, group in enumerate(own) if held[group]] for own in groups]


def _dealt_to_folds(groups: Sequence[Sequence[str]], folds: int) -> dict[str, int]:
    """The fold of each group: the one with the fewest images of its class so far, the largest groups first."""
    fold_of, totals = dict[str, int](), [0] * folds

    def deal(sizes: Mapping[str, int], order: Sequence[str]) -> None:
        own = [0] * folds
        for group, size in sizes.items():
            if group in fold_of:
                own[fold_of[group]] += size
        for group in sorted((group for group in order if group not in fold_of), key=lambda group: -sizes[group]):
            fold = min(range(folds), key=lambda fold: (own[fold], totals[fold]))
            fold_of[group] = fold
            own[fold] += sizes[group]
            totals[fold] += sizes[group]

    _by_class(groups, HELD_OUT_SEED, lambda _, sizes, order: deal(sizes, order))
    return fold_of


def _by_class(
    groups: Sequence[Sequence[str]], seed: int, visit: Callable[[int, Mapping[str, int], Sequence[str]], None]
) -> None:
    """Calls `visit` with each class, its images by group and its groups in a drawn order; the fewest groups first."""
    import numpy as np

    sizes = [Counter(own) for own in groups]
    for c in sorted(range(len(sizes)), key=lambda c: len(sizes[c])):
        names = list(sizes[c])
        order = np.random.RandomState(seed).permutation(len(names))
        visit(c, sizes[c], [names[i] for i in order])
