"""The methods: LTDD, its ablations, the baselines and ours, as the traits that the stages look at. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

MethodName = Literal[
    "ltdd-plus",
    "ltdd",
    "dam",
    "ed",
    "datm",
    "mtt",
    "dm",
    "idm",
    "rldd",
    "random",
    "k-center",
    "herding",
    "graph-cut",
    "confident",
    "imported",
]

SelectionRule = Literal["confident", "herding", "k-center", "graph-cut"]
"""Rules by which a teacher chooses real images: each is a method of its own, and a start for the others."""

Synthesis = Literal["trajectory matching", "distribution matching", "recovery", "selection"]


@dataclass(frozen=True)
class MethodTraits:
    """The traits of one method.

    summary: the method in a few words, for lists. synthesis: what the images follow. Trajectory matching follows
    experts, distribution matching the features of real images, recovery a trained network's statistics; a selection
    takes real images as they are. student_loss: what the student of trajectory matching minimizes in phase rep.
    decoupled: whether classifier experts are trained and phase cls is run (expert decoupling). matched: the weights
    that phase rep matches. learns_labels: whether labels are soft and learnt, or class indices. uses_teacher: whether
    images are chosen, or synthesized, by networks that were trained on all images. trains_networks:
    whether the networks whose features are matched are trained on the way, or random (distribution matching).
    """

    summary: str
    synthesis: Synthesis
    student_loss: Literal["dam", "soft", "hard"] = "hard"
    decoupled: bool = False
    matched: Literal["backbone", "all"] = "all"
    learns_labels: bool = False
    uses_teacher: bool = False
    trains_networks: bool = False

    @property
    def matches_trajectories(self) -> bool:
        """Whether the method needs experts."""
        return self.synthesis == "trajectory matching"

    @property
    def matches_distributions(self) -> bool:
        """Whether the images follow the mean features of real images."""
        return self.synthesis == "distribution matching"

    @property
    def distills(self) -> bool:
        """Whether images are synthesized, in outer iterations; else real images are only selected."""
        return self.synthesis != "selection"


MATCHING: Synthesis = "trajectory matching"
DISTRIBUTION: Synthesis = "distribution matching"

METHODS: dict[MethodName, MethodTraits] = {
    "ltdd-plus": MethodTraits(
        "ltdd with a teacher's labels (ours)", MATCHING, "dam", True, "backbone", learns_labels=True, uses_teacher=True
    ),
    "ltdd": MethodTraits("DAM + expert decoupling", MATCHING, "dam", True, "backbone", learns_labels=True),
    "dam": MethodTraits("DAM alone", MATCHING, "dam", learns_labels=True),
    "ed": MethodTraits("expert decoupling alone", MATCHING, "soft", True, "backbone", learns_labels=True),
    "datm": MethodTraits("plain matching, soft labels", MATCHING, "soft", learns_labels=True),
    "mtt": MethodTraits("plain matching, hard labels", MATCHING, "hard"),
    "dm": MethodTraits("mean features, random networks", DISTRIBUTION),
    "idm": MethodTraits("mean features, 2x2 mini-images", DISTRIBUTION, trains_networks=True),
    "rldd": MethodTraits("statistics of a teacher", "recovery", learns_labels=True, uses_teacher=True),
    "random": MethodTraits("real images, picked", "selection"),
    "k-center": MethodTraits("real images, far apart", "selection", uses_teacher=True),
    "herding": MethodTraits("real images, nearest the mean", "selection", uses_teacher=True),
    "graph-cut": MethodTraits("real images, typical and diverse", "selection", uses_teacher=True),
    "confident": MethodTraits("real images, the teacher's surest", "selection", uses_teacher=True),
    "imported": MethodTraits("a set made elsewhere, as it is", "selection"),
}

METHOD_DEFAULTS: dict[MethodName, dict[tuple[str, str], Any]] = {
    "idm": {("initialize", "partition"): 2, ("distribution", "image_lr"): 0.2},
    "ltdd-plus": {
        ("initialize", "images"): "herding",
        ("initialize", "partition"): 2,
        ("initialize", "labels"): "teacher",
        # That of the classifier experts, which label better than a network of higher accuracy does (docs/log.md).
        ("teacher", "temperature"): 2.0,
        # Matching lowers a start as good as this one about as often as it helps (docs/log.md): the better one is kept.
        ("validation", "share"): 0.1,
    },
    "rldd": {
        ("initialize", "images"): "crops",
        ("teacher", "kind"): "balanced_softmax",
        ("matching", "iterations"): 75,
    },
}
"""What a method has other defaults for; presets may still say else."""
