"""The settings of the data: which images, how long-tailed, how whitened and augmented."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from engine.run.fields import AugmentationName, Strict, official, ours, paper

DatasetName = Literal[
    "digits", "cifar10", "cifar100", "fashion_mnist", "svhn", "tiny-imagenet", "imagenet-lt", "folder"
]
Fit = Literal["crop", "pad", "stretch"]
# Values of dataset.whitening without ZCA: nothing is fitted but mean and standard deviation.
WITHOUT_ZCA = ("none", "raw")


class DatasetSettings(Strict):
    """Which images, how long-tailed they are, and how they are prepared."""

    name: DatasetName = ours("digits", "data set")
    path: str | None = ours(None, "folder that holds the data; empty: the cache, where known sets are downloaded")
    imbalance_factor: Annotated[float, Field(ge=1)] | Literal["natural"] = ours(
        "natural", "largest class over smallest, or natural: every image as it is", unit="x"
    )
    resolution: int | None = ours(
        None, "side to which images are resized; empty: the data set's own", unit="pixels", ge=8
    )
    whitening: Literal["corrected", "published", "normalized", "paper", "none", "raw"] = ours(
        "corrected",
        "ZCA of all images (corrected), after normalizing the test images (published: CIFAR-10-LT) or all images"
        " (normalized: CIFAR-100-LT); only mean and std (none); no change (raw); paper: published of older runs",
    )
    whitening_epsilon: float = official(0.1, "added to ZCA's eigenvalues", gt=0)
    whitening_rank: Annotated[int, Field(ge=1)] | Literal["full"] = ours(
        "full",
        "directions that ZCA scales each by itself, those of the largest variance; all others have one scale: 64 make"
        " the whitening of a set a hundredth as large (0.4 MB at 32 pixels)",
        unit="directions",
    )
    class_order: Literal["label", "count", "text"] = ours(
        "label",
        "which class is the head: the first label, or the one of most images; text (tiny-imagenet): classes and files"
        " in text order, as published",
    )
    subset_seed: int = official(42, "seed of the long-tailed subset, drawn anew for every class", ge=0)
    test_per_class: int | None = ours(
        None,
        "test images kept a class, the first ones; digits: images held out a class (40 if empty)",
        unit="images",
        ge=1,
    )
    test_share: float = ours(0.2, "share of each class held out where the folder has no test/ or val/", gt=0, lt=1)
    test_folds: int | None = ours(
        None,
        "instead of test_share, deal each class into so many folds and hold out one (stratified k-fold): a run for"
        " each fold tests every image once",
        unit="folds",
        ge=2,
    )
    test_fold: int = ours(0, "which of the folds is held out: 0 to test_folds - 1", ge=0)
    test_groups: str | None = ours(
        None,
        r"pattern (regular expression) with one group in parentheses, searched for in <class>/<file>, such as"
        r" track(\d+)_: files of one track, patient or camera stay together when images are held out for testing,"
        " or set apart for validation",
    )
    fit: Fit = ours(
        "crop", "image files that are not square: cut off the ends of the long side, add black bars, or stretch"
    )
    unusable_files: Literal["refuse", "skip"] = ours(
        "refuse", "files of a folder that are no images or cannot be read: refuse to run, or skip and count them"
    )
    augmentation: tuple[AugmentationName, ...] = paper(
        ("color", "crop", "cutout", "flip", "scale", "rotate"),
        "differentiable augmentations (DSA); one is drawn for each batch; empty: none",
        strict=False,
    )


StartRule = Literal["random", "herding", "confident", "k-center", "graph-cut"]


class ValidationSettings(Strict):
    """The share of train images on which a run chooses its start, when it stops, and the set that it ends with.

    Nothing else sees these images, and no choice sees a test image. Without a share nothing is chosen.
    """

    share: float = ours(
        0.0, "share of each class's train images that are set apart to choose by; 0: none, and no choices", ge=0, le=0.5
    )
    smallest: int = ours(
        20,
        "classes with fewer train images spare none: their own train images stand in when a set is judged",
        unit="images",
        ge=2,
    )
    candidates: tuple[StartRule, ...] = ours(
        ("random", "herding", "confident"),
        "starts that are tried beside that of initialize, with the teacher's labels where labels are learnt; also plain"
        " selections of whole images, which a verdict compares with the set",
        strict=False,
    )
    networks: int = ours(3, "networks by which a start, and the set of the end, is judged", unit="networks", ge=2)
    patience: int = ours(4, "checks without a gain, after which matching steps down or stops", unit="checks", ge=1)
    step_down: float = ours(4.0, "what image_lr and label_lr are then divided by, from the best set on", gt=1)
    step_downs: int = ours(1, "times that they are divided, before matching stops", ge=0)

    @field_validator("candidates")
    @classmethod
    def _each_once(cls, rules: tuple[StartRule, ...]) -> tuple[StartRule, ...]:
        if len(set(rules)) < len(rules):
            raise PydanticCustomError("named_twice", "named twice")
        return rules

    @property
    def sets_apart(self) -> dict[str, float]:
        """What decides which images are not trained on; empty where none are set apart."""
        return {"share": self.share, "smallest": self.smallest} if self.share else {}

    def spared(self, counts: Sequence[int]) -> list[int]:
        """Of classes with these train images, how many each sets apart: none, or at least one."""
        if not self.share:
            return [0] * len(counts)
        return [max(1, round(self.share * count)) if count >= self.smallest else 0 for count in counts]
