"""Every setting of a run: type, range, unit, default and source. Frozen, strict, no torch."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any, Literal, cast, get_args

from pydantic import BaseModel, model_validator

from engine.run.data_settings import DatasetSettings, ValidationSettings

# The names of `fields` are a part of the settings: as such they are imported from here.
from engine.run.fields import AUTO, Strict, WholeOrAuto, official, ours, paper, rldd
from engine.run.fields import AugmentationName as AugmentationName
from engine.run.fields import LabelRegime as LabelRegime
from engine.run.fields import NetworkName as NetworkName
from engine.run.fields import Precision as Precision
from engine.run.methods import METHODS, MethodName, MethodTraits, SelectionRule
from engine.run.recipes import EvaluateSettings, HardSettings, OnlineSettings, Recipe
from engine.run.synthesis import DistributionSettings, RecoverySettings
from engine.run.synthesis import MatchingSettings as MatchingSettings

BY_SIZE = (
    ("experts", "batch_size"),
    ("experts", "epochs"),
    ("classifier_experts", "batch_size"),
    ("classifier_experts", "epochs"),
    ("teacher", "batch_size"),
    ("teacher", "epochs"),
    ("bounds", "epochs"),
    ("matching", "max_start_epoch"),
    ("matching", "dam_weight_total"),
)
"""Settings that may be `auto`: the number of images decides (auto_settings.py)."""
LongTailLoss = Literal["plain", "class_balanced", "balanced_softmax"]
StartingImages = Literal["correct", "real", "noise", "crops", SelectionRule]
StartSpace = Literal["auto", "whitened", "normalized", "pixels"]
Compile = Literal["auto", "always", "never"]
Storage = Literal["float32", "float16"]


class ExpertSettings(Strict):
    """Representation experts: ordinary training on the long-tailed images, weights saved at every epoch."""

    network: NetworkName = paper("convnet", "network of experts and students")
    width: int = paper(128, "channels of the ConvNet", unit="channels", ge=1)
    depth: int = paper(3, "blocks of the ConvNet", unit="blocks", ge=1, le=6)
    num_experts: int = paper(100, "experts", ge=1)
    epochs: WholeOrAuto = paper(100, "epochs of each expert; auto: by its steps", unit="epochs")
    batch_size: WholeOrAuto = paper(256, "real images a batch; auto: by the number of images", unit="images")
    learning_rate: float = paper(0.01, "SGD step size", gt=0)
    momentum: float = paper(0.0, "SGD momentum", ge=0, lt=1)
    weight_decay: float = paper(5.0e-3, "SGD weight decay", ge=0)
    optimizer: Literal["gsam", "sgd"] = paper("gsam", "flat trajectories (GSAM), or plain SGD")
    gsam_rho: float = paper(0.01, "GSAM radius (adaptive)", gt=0)
    gsam_alpha: float = paper(0.3, "GSAM weight of the orthogonal part", ge=0)
    precision: Precision = ours(
        "float32",
        "products in training: float32, with TF32 where a GPU has it (as the official code has), or of bfloat16",
    )
    imported: str | None = ours(
        None,
        "experts trained elsewhere, by the name that `ltdd-tui import-experts` gives them; they are taken in place of"
        " trained ones, whatever the other settings of experts say of training",
    )
    storage: Storage = ours("float32", "snapshots on disk; float16 takes half the room")


class ClassifierExpertSettings(Strict):
    """Classifier experts: from the last representation weights, with the backbone frozen, trained class-balanced."""

    epochs: WholeOrAuto = paper(
        10, "epochs of the classifier; one is max n_c * C draws; auto: by these draws", unit="epochs"
    )
    batch_size: WholeOrAuto = paper(256, "images a batch; auto: that of the experts", unit="images")
    images_per_turn: int = official(4, "images drawn from a class at its turn", unit="images", ge=1)
    learning_rate: float = paper(0.01, "SGD step size", gt=0)
    momentum: float = paper(0.0, "SGD momentum", ge=0, lt=1)
    weight_decay: float = paper(0.0, "SGD weight decay", ge=0)
    optimizer: Literal["sgd", "gsam"] = ours(
        "sgd", "plain SGD, or GSAM with rho and alpha of the representation experts, as in the official code"
    )


class TeacherSettings(Strict):
    """The teacher: networks trained on all images, debiased, whose mean logits label images.

    It is trained only where the method, the labels of the start or a label regime needs it.
    """

    kind: Literal["classifier_experts", "balanced_softmax", "glmc"] = ours(
        "classifier_experts",
        "the run's classifier experts, a network trained with balanced softmax, or one trained by GLMC (published with"
        " 200 epochs, batches of 64, learning_rate 0.01, weight_decay 5e-3, none of which is set by itself)",
    )
    networks: int = ours(1, "networks of the teacher; their mean logits are the label", unit="networks", ge=1)
    epochs: WholeOrAuto = ours(25, "epochs of each network; auto: by its steps", unit="epochs")
    batch_size: WholeOrAuto = ours(128, "real images a batch; auto: by the number of images", unit="images")
    learning_rate: float = ours(
        0.05, "SGD step size: the peak of one cycle, or with GLMC the first one, which falls by a cosine", gt=0
    )
    momentum: float = ours(0.9, "SGD momentum", ge=0, lt=1)
    weight_decay: float = ours(5.0e-4, "SGD weight decay", ge=0)
    precision: Precision = ours(
        "float32", "products in training: float32, with TF32 where a GPU has it, or of bfloat16"
    )
    cutmix: float = ours(
        0.0,
        "alpha of CutMix's Beta distribution, which mixes each batch after its augmentation; 0: no mixing (GLMC mixes"
        " batches in its own way)",
        ge=0,
    )
    temperature: float = ours(
        1.0,
        "its logits are divided by this where they are stored as soft labels: above 1 labels are softer",
        ge=0.01,
        le=100,
    )
    label_adjustment: Literal["none", "adsa"] = ours(
        "none", "take tau * log(class share) from the logits before labels are taken (ADSA searches tau)"
    )


class BoundSettings(Strict):
    """Bounds of what a set can reach: networks trained on all long-tailed images by the teacher's recipe.

    They are tested like those of a set, and of the first network of evaluations; nothing else depends on them.
    """

    losses: tuple[LongTailLoss, ...] = ours(
        (),
        "plain cross-entropy, the same on class-balanced batches, and balanced softmax; empty: no bounds",
        strict=False,
    )
    epochs: WholeOrAuto = ours(25, "epochs of each network; auto: by its steps", unit="epochs")
    networks: int = ours(1, "networks of each bound", unit="networks", ge=1)


class InitializeSettings(Strict):
    """Where the synthetic set starts."""

    images: StartingImages = paper(
        "correct",
        "real images that an expert predicts correctly, any real images, noise, or the real images that a teacher"
        " chooses: its most confident ones, by herding, k-center or graph-cut, or the crops it is surest of (RLDD); a"
        " selection method chooses its own",
    )
    crops: int = rldd(5, "random square crops of each real image, where crops are the start", unit="crops", ge=1)
    crop_images: int = ours(300, "real images of a class, at random, of which crops are taken", unit="images", ge=1)
    smallest_crop: float = rldd(0.08, "smallest share of an image in such a crop", gt=0, le=1)
    labels: Literal["experts", "one_expert", "teacher", "class", "stored"] = paper(
        "experts",
        "mean logits of the experts that are right, logits of one expert, right or wrong (official code: real images)"
        ", mean logits of the teacher, which then label the random images of a report too, the class itself, or what"
        " is stored with start_set; rldd has the teacher's, also where this says experts",
    )
    start_set: str | None = ours(
        None,
        "a set to start from in place of real images: a run's folder, its distilled.safetensors, images.pt with"
        " labels.pt and lr.pt, or a folder of images a class; copied into the run's folder when it begins",
    )
    start_space: StartSpace = ours(
        "auto",
        "what the values of start_set's images are: as dataset.whitening prepares train images (whitened), less the"
        " channels' mean over their std (normalized), 0 to 1 (pixels), or what the set itself tells (auto)",
    )
    partition: int = ours(
        1,
        "mini-images along a side of each stored image, each of them enlarged to an image of its own before a network"
        " sees it (IDC): 2 stores four real images in one, as idm does",
        unit="images",
        ge=1,
        le=8,
    )
    class_logit: float = ours(10.0, "logit of the own class where the class itself is the soft label (others 0)", gt=0)


class ExportSettings(Strict):
    """How the set is kept in result/distilled.safetensors."""

    images: Literal["float32", "uint8"] = ours(
        "float32",
        "the numbers of its images, as networks see them; uint8: 256 steps between the smallest and the largest one of"
        " each image, in a quarter of the room (a set is rounded so before it is evaluated)",
    )
    model: bool = ours(
        False,
        "keep the first network that the evaluation trains on the final set, as result/model.pt2: a program of PyTorch"
        " that takes pixels (`ltdd-tui predict`; `ltdd-tui export RUN --model` trains one later)",
    )


class Expected(Strict):
    """The published accuracy of this cell, with which a run is compared."""

    accuracy: float = ours(..., "published test accuracy", unit="%", ge=0, le=100)
    source: str = ours(..., "where the figure stands")
    note: str = ours("", "what to know before comparing")


class RunSettings(Strict):
    """All settings of a run."""

    dataset: DatasetSettings = DatasetSettings()
    validation: ValidationSettings = ValidationSettings()
    ipc: int = paper(10, "synthetic images per class (IPC)", unit="images", ge=1)
    method: MethodName = paper(
        "ltdd",
        "how the set is made: by matching experts (ltdd-plus; ltdd and its ablations dam and ed; datm, mtt) or features"
        " (dm, idm), from a teacher's statistics (rldd), of chosen real images (random, k-center, herding, graph-cut,"
        " confident), or elsewhere (imported)",
    )
    seed: int = ours(0, "the one seed; every stage draws its own generator from it", ge=0)
    experts: ExpertSettings = ExpertSettings()
    classifier_experts: ClassifierExpertSettings = ClassifierExpertSettings()
    teacher: TeacherSettings = TeacherSettings()
    initialize: InitializeSettings = InitializeSettings()
    matching: MatchingSettings = MatchingSettings()
    distribution: DistributionSettings = DistributionSettings()
    recovery: RecoverySettings = RecoverySettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    hard: HardSettings = HardSettings()
    online: OnlineSettings = OnlineSettings()
    bounds: BoundSettings = BoundSettings()
    export: ExportSettings = ExportSettings()
    compile: Compile = ours(
        "auto",
        "compile the steps of experts, matching and evaluation, in C++ (ConvNet on a CPU) or by torch: each where it"
        " pays (auto), always or never; eager without a compiler",
    )
    expected: Expected | None = ours(None, "the published figure of this cell")

    @property
    def unresolved(self) -> tuple[str, ...]:
        """The dotted keys of the settings that are `auto` and still have to become numbers."""
        values = {f"{block}.{name}": getattr(getattr(self, block), name) for block, name in BY_SIZE}
        return tuple(key for key, value in values.items() if value == AUTO)

    @property
    def traits(self) -> MethodTraits:
        """The traits of the method."""
        return METHODS[self.method]

    @property
    def image_lr(self) -> float:
        """Step size of the synthetic images."""
        return self.distribution.image_lr if self.traits.matches_distributions else self.matching.image_lr

    @property
    def images_per_class(self) -> int:
        """Images of each class that networks see of the set: its mini-images, each enlarged."""
        return self.ipc * self.initialize.partition**2

    @property
    def needs_teacher(self) -> bool:
        """Whether images are chosen or labelled by a teacher."""
        online, labelled = "online" in self.evaluate.labels, self.teacher_labels_start
        chosen = self.starting_images in (*get_args(SelectionRule), "crops")
        return self.traits.uses_teacher or online or labelled or chosen or self.tries_starts

    @property
    def tries_starts(self) -> bool:
        """Whether the start is chosen among candidates, by the validation share."""
        # Who names a set to start from wants that one.
        named = self.initialize.start_set is not None
        return bool(self.validation.share and self.validation.candidates and self.traits.distills and not named)

    @property
    def starting_images(self) -> StartingImages:
        """What the set starts from: a selection method's own rule, else `initialize.images`."""
        if not self.traits.distills and self.method != "imported":
            return "real" if self.method == "random" else cast(SelectionRule, self.method)
        images = self.initialize.images
        # What is correct is decided by experts.
        return "real" if images == "correct" and not self.traits.matches_trajectories else images

    @property
    def teacher_labels_start(self) -> bool:
        """Whether the starting images have the teacher's logits as labels, as recovery gives its images in the end."""
        return self.initialize.labels == "teacher" or self.traits.synthesis == "recovery"

    @property
    def has_soft_labels(self) -> bool:
        """Whether the set's labels are probabilities; else they are its classes alone."""
        return self.traits.learns_labels or self.teacher_labels_start or self.initialize.labels == "stored"

    @property
    def trains_experts(self) -> bool:
        """Whether there are representation experts: to be matched, or as what the teacher is made from."""
        return self.traits.matches_trajectories or self.trains_classifier_experts

    @property
    def trains_classifier_experts(self) -> bool:
        """Whether there are classifier experts: to be matched, or as the teacher."""
        return self.traits.decoupled or (self.needs_teacher and self.teacher.kind == "classifier_experts")

    def recipe(self, regime: LabelRegime) -> Recipe:
        """How networks are trained in a label regime."""
        blocks = {"hard": self.hard.recipe, "stored": self.evaluate.recipe, "online": self.online.recipe}
        return blocks[regime](self.dataset.augmentation)

    @property
    def trains_teacher(self) -> bool:
        """Whether there are networks that are trained as the teacher alone."""
        return self.needs_teacher and self.teacher.kind != "classifier_experts"

    @property
    def teacher_networks(self) -> int:
        """Networks of the teacher."""
        own = self.teacher.kind == "classifier_experts"
        return self.experts.num_experts if own else self.teacher.networks

    @property
    def trajectories(self) -> int:
        """Trajectories that are matched in an iteration; the ranks of a gang share them."""
        return self.matching.trajectories if self.traits.matches_trajectories else 1

    @property
    def checks(self) -> int:
        """Checks of the synthetic set in distillation, that of the last iteration included."""
        every, iterations = self.evaluate.every, self.matching.iterations
        return 1 + max(0, math.ceil(iterations / every) - math.ceil(self.evaluate.check_from / every))

    @model_validator(mode="after")
    def _fold_exists(self) -> RunSettings:
        if self.dataset.test_fold >= (self.dataset.test_folds or 1):
            hint = "set dataset.test_folds, the number of folds, as well" if self.dataset.test_folds is None else ""
            raise ValueError("dataset.test_fold must lie below dataset.test_folds", hint)
        return self

    @model_validator(mode="after")
    def _recovered_images_are_whole(self) -> RunSettings:
        if self.traits.synthesis == "recovery" and self.initialize.partition > 1:
            raise ValueError(f"initialize.partition must be 1 for method {self.method}, which recovers whole images")
        return self

    @model_validator(mode="after")
    def _start_set_is_named(self) -> RunSettings:
        if self.initialize.start_set is None and (self.method == "imported" or self.initialize.labels == "stored"):
            needing = "method imported" if self.method == "imported" else "initialize.labels stored"
            raise ValueError(f"{needing} needs initialize.start_set", "`ltdd-tui import PATH` and `run --from` set it")
        if self.initialize.start_set is not None and not self.traits.distills and self.method != "imported":
            what = f"method {self.method} chooses its own images, and takes no initialize.start_set"
            raise ValueError(what, "use method imported, or one that distills")
        return self

    @model_validator(mode="after")
    def _start_is_used(self) -> RunSettings:
        # Values that a preset may have for its own method are no fault: experts, one_expert, real, noise.
        images, labels, method = self.initialize.images, self.initialize.labels, self.method
        if self.traits.matches_trajectories and not self.traits.learns_labels and labels in ("teacher", "stored"):
            what = f"initialize.labels {labels} would not be matched: method {method} has the classes as labels"
            raise ValueError(what, "write class, or use method datm, which learns soft labels")
        if self.traits.synthesis == "recovery" and labels in ("class", "stored"):
            what = f"initialize.labels {labels} would not be used: method {method} has the teacher's labels"
            raise ValueError(what, "write teacher")
        selects = not self.traits.distills and method != "imported"
        if selects and images in (*get_args(SelectionRule), "crops") and images != self.starting_images:
            what = f"initialize.images {images} would not be used: method {method} chooses its own images"
            raise ValueError(what, "write real, or use a method that distills")
        return self

    @model_validator(mode="after")
    def _start_epochs_exist(self) -> RunSettings:
        matching = self.matching
        if self.unresolved:  # what becomes of them is validated as well
            return self
        if matching.min_start_epoch >= matching.max_start_epoch:
            raise ValueError("matching.min_start_epoch must lie below matching.max_start_epoch")
        last_epoch = matching.max_start_epoch - 1 + matching.expert_epochs
        if self.traits.matches_trajectories and last_epoch > self.experts.epochs:
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
