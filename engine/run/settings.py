"""Every setting of a run: type, range, unit, default and source. Frozen, strict, no torch.

A field's `source` is where its default comes from: `paper`, `official code`, `ours`, or an equation of docs/method.md.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

# The methods: LTDD, its ablations and the baselines, as the traits that the stages look at.

MethodName = Literal["ltdd", "dam", "ed", "datm", "mtt", "random"]


@dataclass(frozen=True)
class Method:
    """The traits of one method.

    student_loss: what the student minimizes in phase rep. decoupled: whether classifier experts are trained and phase
    cls is run (expert decoupling). matched: the weights that phase rep matches. learns_labels: whether labels are soft
    and learnt, or class indices. distills: false where real images are only selected.
    """

    student_loss: Literal["dam", "soft", "hard"]
    decoupled: bool
    matched: Literal["backbone", "all"]
    learns_labels: bool
    distills: bool = True


METHODS: dict[MethodName, Method] = {
    "ltdd": Method("dam", decoupled=True, matched="backbone", learns_labels=True),
    "dam": Method("dam", decoupled=False, matched="all", learns_labels=True),
    "ed": Method("soft", decoupled=True, matched="backbone", learns_labels=True),
    "datm": Method("soft", decoupled=False, matched="all", learns_labels=True),
    "mtt": Method("hard", decoupled=False, matched="all", learns_labels=False),
    "random": Method("hard", decoupled=False, matched="all", learns_labels=False, distills=False),
}


# The fields of a block: each knows its help, unit, source and range.


def setting(default: Any, help: str, *, unit: str = "", source: str = "ours", **bounds: Any) -> Any:
    """A field with its help, unit and source; the form, docs/settings.md and error hints are made from these."""
    return Field(default, description=help, json_schema_extra={"unit": unit, "source": source}, **bounds)


class Strict(BaseModel):
    """A frozen block of settings that refuses unknown keys, wrong types and numbers that are not finite."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="after")
    @classmethod
    def _within_limits(cls, value: Any) -> Any:
        # Beyond 2^53 a whole number is no exact float any more, and times and sizes are estimated with floats.
        if isinstance(value, int) and value > 2**53:
            raise PydanticCustomError("too_large", "too large")
        # Python reads bytes of a path that are not UTF-8 as surrogates, which cannot be written into a config.yaml.
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            raise PydanticCustomError("no_text", "no text")
        return value


DatasetName = Literal[
    "digits", "cifar10", "cifar100", "fashion_mnist", "svhn", "tiny-imagenet", "imagenet-lt", "folder"
]
NetworkName = Literal["convnet", "resnet18", "vgg11", "alexnet"]
Precision = Literal["float32", "tf32", "bf16"]
Compile = Literal["auto", "always", "never"]
Storage = Literal["float32", "float16"]
AugmentationName = Literal["color", "crop", "cutout", "flip", "scale", "rotate"]


class DatasetSettings(Strict):
    """Which images, how long-tailed they are, and how they are prepared."""

    name: DatasetName = setting("digits", "data set")
    path: str | None = setting(None, "folder that holds the data; empty: the cache, where known sets are downloaded")
    imbalance_factor: Annotated[float, Field(ge=1)] | Literal["natural"] = setting(
        "natural", "largest class over smallest, or natural: every image as it is", unit="x", source="ours"
    )
    resolution: int | None = setting(
        None, "side to which images are resized; empty: the data set's own", unit="pixels", ge=8
    )
    whitening: Literal["paper", "corrected", "none"] = setting(
        "corrected",
        "ZCA of train and test alike (corrected), with test images normalized first as the official code does (paper),"
        " or only mean and std (none)",
        source="ours",
    )
    whitening_epsilon: float = setting(0.1, "added to ZCA's eigenvalues", source="official code", gt=0)
    class_order: Literal["label", "count"] = setting("label", "which class is the head: first label, or most images")
    subset_seed: int = setting(
        42, "seed of the long-tailed subset, drawn anew for every class", source="official code", ge=0
    )
    test_per_class: int | None = setting(
        None,
        "test images kept a class, the first ones; digits: images held out a class (40 if empty)",
        unit="images",
        ge=1,
    )
    test_share: float = setting(0.2, "share of each class held out where the folder has no test/", gt=0, lt=1)
    augmentation: tuple[AugmentationName, ...] = setting(
        ("color", "crop", "cutout", "flip", "scale", "rotate"),
        "differentiable augmentations (DSA); one is drawn for each batch; empty: none",
        source="paper",
        strict=False,
    )


class ExpertSettings(Strict):
    """Representation experts: ordinary training on the long-tailed images, weights saved at every epoch."""

    network: NetworkName = setting("convnet", "network of experts and students", source="paper")
    width: int = setting(128, "channels of the ConvNet", unit="channels", source="paper", ge=1)
    depth: int = setting(3, "blocks of the ConvNet", unit="blocks", source="paper", ge=1, le=6)
    num_experts: int = setting(100, "experts", source="paper", ge=1)
    epochs: int = setting(100, "epochs of each expert", unit="epochs", source="paper", ge=1)
    batch_size: int = setting(256, "real images a batch", unit="images", source="paper", ge=1)
    learning_rate: float = setting(0.01, "SGD step size", source="paper", gt=0)
    momentum: float = setting(0.0, "SGD momentum", source="paper", ge=0, lt=1)
    weight_decay: float = setting(5.0e-3, "SGD weight decay", source="paper", ge=0)
    optimizer: Literal["gsam", "sgd"] = setting("gsam", "flat trajectories (GSAM), or plain SGD", source="paper")
    gsam_rho: float = setting(0.01, "GSAM radius (adaptive)", source="paper", gt=0)
    gsam_alpha: float = setting(0.3, "GSAM weight of the orthogonal part", source="paper", ge=0)
    precision: Precision = setting(
        "float32",
        "products in training: float32, with TF32 where a GPU has it (as the official code has), or of bfloat16",
    )
    storage: Storage = setting("float32", "snapshots on disk; float16 takes half the room")


class ClassifierExpertSettings(Strict):
    """Classifier experts: from the last representation weights, with the backbone frozen, trained class-balanced."""

    epochs: int = setting(10, "epochs of the classifier; one is max n_c * C draws", unit="epochs", source="paper", ge=1)
    batch_size: int = setting(256, "images a batch", unit="images", source="paper", ge=1)
    images_per_turn: int = setting(
        4, "images drawn from a class at its turn", unit="images", source="official code", ge=1
    )
    learning_rate: float = setting(0.01, "SGD step size", source="paper", gt=0)
    momentum: float = setting(0.0, "SGD momentum", source="paper", ge=0, lt=1)
    weight_decay: float = setting(0.0, "SGD weight decay", source="paper", ge=0)


class InitializeSettings(Strict):
    """Where the synthetic set starts."""

    images: Literal["correct", "real", "noise"] = setting(
        "correct", "real images that an expert predicts correctly, any real images, or noise", source="paper"
    )
    labels: Literal["experts", "class"] = setting(
        "experts", "mean logits of the experts that are right, or the class itself", source="paper"
    )
    class_logit: float = setting(
        10.0, "logit of the own class where the class itself is the soft label (others 0)", gt=0
    )


class MatchingSettings(Strict):
    """The outer iterations of trajectory matching."""

    iterations: int = setting(10000, "outer iterations", unit="iterations", source="official code", ge=1)
    syn_steps: int = setting(80, "student steps in phase rep", unit="steps", source="official code", ge=1)
    syn_steps_cls: int = setting(80, "student steps in phase cls", unit="steps", source="official code", ge=1)
    expert_epochs: int = setting(2, "expert epochs that a student is to follow", unit="epochs", source="paper", ge=1)
    batch_syn: int = setting(
        500, "synthetic images a student step; at most all", unit="images", source="official code", ge=1
    )
    min_start_epoch: int = setting(
        0, "earliest expert epoch to start from", unit="epochs", source="official code", ge=0
    )
    max_start_epoch: int = setting(20, "start epochs lie below this", unit="epochs", source="official code", ge=1)
    sequential_from: int | None = setting(
        None,
        "upper bound of start epochs at iteration 0, growing to max_start_epoch (DATM); empty: no growth",
        unit="epochs",
        source="official code",
        ge=1,
    )
    sequential_until: int = setting(
        1000, "iteration at which that bound reaches max_start_epoch", unit="iterations", source="official code", ge=1
    )
    lambda_rep: float = setting(1.0, "weight of phase rep, where there are two phases", source="official code", ge=0)
    lambda_cls: float = setting(0.5, "weight of phase cls", source="official code", ge=0)
    beta: float = setting(0.01, "student's learning rate at the start; learnt", source="official code", gt=0)
    image_lr: float = setting(
        100.0, "step size of the synthetic images", unit="whitened pixel", source="official code", ge=0
    )
    rate_decay: Literal["none", "linear", "cosine"] = setting(
        "none", "how image_lr and label_lr fall to 0 over the iterations"
    )
    label_lr: float = setting(2.0, "step size of the label logits", unit="logit", source="official code", ge=0)
    beta_lr: float = setting(1.0e-5, "step size of beta", source="official code", ge=0)
    image_momentum: float = setting(0.5, "momentum of the images' SGD", source="official code", ge=0, lt=1)
    label_momentum: float = setting(0.9, "momentum of the labels' SGD", source="official code", ge=0, lt=1)
    beta_momentum: float = setting(0.5, "momentum of beta's SGD", source="official code", ge=0, lt=1)
    dam_smoothness: float = setting(
        0.0, "lambda of the DAM loss: logit adjustment by class share", source="paper", ge=0
    )
    dam_weight: Literal["share", "none"] = setting(
        "share", "g of the DAM loss: a class's share of the images, or 1", source="official code"
    )
    dam_weight_total: Literal["one", "classes"] = setting(
        "one", "what g sums to: 1 as published, or the number of classes (ours)", source="official code"
    )
    gradient: Literal["published", "exact", "unrolled"] = setting(
        "published",
        "constant-memory gradient (TESLA, later weights held), the true gradient in the same memory, or"
        " the true one by back-propagation through every student step",
        source="paper",
    )
    precision: Precision = setting(
        "float32",
        "products and convolutions of the student: float32, with TF32 where a GPU has it, or of bfloat16; weights,"
        " losses and sums stay float32",
    )
    images_at_once: Annotated[int, Field(ge=1)] | Literal["auto"] = setting(
        "auto",
        "synthetic images that are in work at a time: parts of a large batch, or several steps of the published"
        " gradient; halved where a GPU's memory is too small",
        unit="images",
    )
    emulate_replicas: int = setting(
        1,
        "GPUs whose data-parallel averaging is imitated (the student's displacement is divided by it)",
        unit="GPUs",
        source="official code",
        ge=1,
    )
    checkpoint_every: int = setting(50, "iterations between checkpoints", unit="iterations", ge=1)
    preview_every: int = setting(50, "iterations between previews of the images", unit="iterations", ge=1)


class EvaluateSettings(Strict):
    """Fresh networks trained on the synthetic set alone, then tested on the balanced test set."""

    every: int = setting(
        500,
        "iterations between checks of the synthetic set on the way; `best` is the best check",
        unit="iterations",
        source="official code",
        ge=1,
    )
    check_repeats: int = setting(1, "networks of a check on the way", unit="networks", source="official code", ge=1)
    repeats: int = setting(5, "networks of every reported figure", unit="networks", ge=1)
    arch: tuple[NetworkName, ...] = setting(
        ("convnet",),
        "networks that are trained on the result; the first gives final, best, random, initialization",
        source="paper",
        min_length=1,
        strict=False,
    )
    epochs: int = setting(1000, "epochs of a network", unit="epochs", source="paper", ge=1)
    batch_size: int = setting(128, "synthetic images a batch", unit="images", source="official code", ge=1)
    learning_rate: Annotated[float, Field(gt=0)] | Literal["learnt"] = setting(
        "learnt", "SGD step size; learnt: the synthetic set's own beta", source="official code"
    )
    real_learning_rate: float = setting(0.01, "SGD step size on random real images, which have no learnt one", gt=0)
    momentum: float = setting(0.9, "SGD momentum", source="official code", ge=0, lt=1)
    weight_decay: float = setting(5.0e-4, "SGD weight decay", source="official code", ge=0)
    decay_at: float = setting(
        0.5, "share of the epochs after which the rate falls to a tenth", source="official code", gt=0, le=1
    )


class Expected(Strict):
    """The published accuracy of this cell, with which a run is compared."""

    accuracy: float = setting(..., "published test accuracy", unit="%", ge=0, le=100)
    source: str = setting(..., "where the figure stands")
    note: str = setting("", "what to know before comparing")


class RunSettings(Strict):
    """All settings of a run."""

    dataset: DatasetSettings = DatasetSettings()
    ipc: int = setting(10, "synthetic images per class (IPC)", unit="images", source="paper", ge=1)
    method: MethodName = setting("ltdd", "ltdd, one of its ablations (dam, ed) or a baseline", source="paper")
    seed: int = setting(0, "the one seed; every stage draws its own generator from it", ge=0)
    experts: ExpertSettings = ExpertSettings()
    classifier_experts: ClassifierExpertSettings = ClassifierExpertSettings()
    initialize: InitializeSettings = InitializeSettings()
    matching: MatchingSettings = MatchingSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    compile: Compile = setting(
        "auto",
        "compile the steps of experts, matching and evaluation, in C++ (ConvNet on a CPU) or by torch: each where it"
        " pays (auto), always or never; eager without a compiler",
    )
    expected: Expected | None = setting(None, "the published figure of this cell")

    @property
    def traits(self) -> Method:
        """The traits of the method."""
        return METHODS[self.method]

    @model_validator(mode="after")
    def _start_epochs_exist(self) -> RunSettings:
        matching = self.matching
        if matching.min_start_epoch >= matching.max_start_epoch:
            raise ValueError("matching.min_start_epoch must lie below matching.max_start_epoch")
        if self.traits.distills and matching.max_start_epoch - 1 + matching.expert_epochs > self.experts.epochs:
            raise ValueError(
                f"matching.max_start_epoch {matching.max_start_epoch} + matching.expert_epochs"
                f" {matching.expert_epochs} reaches past experts.epochs {self.experts.epochs}"
            )
        if self.traits.decoupled and matching.expert_epochs > self.classifier_experts.epochs:
            raise ValueError("matching.expert_epochs reaches past classifier_experts.epochs")
        return self


def settings_hash(*parts: Any) -> str:
    """A hash of `parts` (settings blocks or plain values) in sixteen hex digits, the same on every machine."""
    plain = [part.model_dump(mode="json") if isinstance(part, BaseModel) else part for part in parts]
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
