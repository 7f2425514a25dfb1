"""distilled.safetensors and teacher.safetensors: written by a run, read by whoever has only them and wants to train.

distilled = DistilledSet.load("distilled.safetensors")
training = distilled.training("online", load_teacher("teacher.safetensors"))  # or "hard", "stored", without a teacher
for images, targets in training.batches(seed=epoch): ...
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from engine.data.augment import CutMix, apply, draw
from engine.data.dataset import LongTailedData
from engine.data.partition import Partition
from engine.data.whitening import Whitening
from engine.losses import CrossEntropy, TeacherLoss, TrainingLoss, one_hot, target_probabilities
from engine.matching.synthetic import Synthetic, from_levels, rounded
from engine.nets import build_network
from engine.nets.functional import FlatNetwork
from engine.run.checksums import sealed_safetensors
from engine.run.errors import InputError
from engine.run.folder import verify_file
from engine.run.recipes import EvaluateSettings, HardSettings, OnlineSettings, Recipe, known_network, known_regime
from engine.run.settings import RunSettings
from engine.teachers import Teacher
from engine.training.accuracy import balanced

FORMAT, TEACHER_FORMAT = 2, 1
"""2: pixels and soft labels are computed on reading, and images may have 8 bits."""
METADATA_KEY, TEACHER_KEY = "ltdd", "ltdd-teacher"
WHITENING_PREFIX = "whitening."
# The recipe of stored labels as published; what differs from it is written beside it.
PUBLISHED_RECIPE = {"epochs", "batch_size", "momentum", "weight_decay", "decay_at"}


@dataclass(frozen=True)
class DistilledSet:
    """A distilled set: S images of C classes with soft labels, class after class, and how to train on them.

    `images` (S, channels, H, W): whitened, what networks see. `soft_labels` (S, C): probabilities, the softmax of
    `label_logits` where labels were learnt, else one-hot. `labels` (S,): the classes.
    `learning_rate` and `recipe`: how the run's evaluation trains on the stored labels. `about`: the file's metadata
    (see `describe`).
    """

    images: Tensor
    soft_labels: Tensor
    label_logits: Tensor
    labels: Tensor
    learning_rate: float
    whitening: Whitening
    recipe: Recipe
    about: dict[str, Any]

    @staticmethod
    def load(path: str | Path, device: str | torch.device = "cpu") -> DistilledSet:
        """Reads the file onto a device; raises InputError where it is missing, damaged or something else."""
        tensors, about = _read(Path(path), torch.device(device), METADATA_KEY)
        try:
            whitening = {
                name.removeprefix(WHITENING_PREFIX): value.cpu()
                for name, value in tensors.items()
                if name.startswith(WHITENING_PREFIX)
            }
            logits, images = tensors["label_logits"], tensors["images"]
            if about["format"] == 1:
                soft_labels = tensors["soft_labels"]
            else:
                soft_labels = target_probabilities(logits, about["soft_labels"])
            return DistilledSet(
                images if images.dtype != torch.uint8 else from_levels(images, tensors["image_ranges"]),
                soft_labels,
                logits,
                tensors["labels"],
                learning_rate=float(tensors["learning_rate"]),
                whitening=Whitening.from_state(whitening),
                recipe=EvaluateSettings(**about["recipe"]).recipe(tuple(about["augmentation"])),
                about=about,
            )
        except (KeyError, TypeError, IndexError, ValidationError) as error:
            raise InputError(f"a part of the distilled set is missing: {error}", str(path), "export it anew") from None

    @property
    def synthetic(self) -> Synthetic:
        """The set in the form that distillation has."""
        return Synthetic(self.images, self.label_logits, torch.tensor(self.learning_rate, device=self.images.device))

    @cached_property
    def pixels(self) -> Tensor:
        """The images in [0, 1], (S, channels, H, W)."""
        return self.whitening.to_pixels(self.images).clamp(0, 1)

    @cached_property
    def training_images(self) -> Tensor:
        """The images that networks see, one for each label: `images`, or their mini-images, each enlarged."""
        partition = Partition.into(self.about.get("partition", 1), self.whitening, self.images)
        return partition.decoded(self.images)

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, in the order of the labels."""
        names: list[str] = self.about["class_names"]
        return names

    @property
    def has_soft_labels(self) -> bool:
        """Whether the stored labels are more than the classes."""
        return not torch.equal(self.soft_labels, one_hot(self.labels, self.soft_labels))

    @property
    def ipc(self) -> int:
        """Images per class."""
        return len(self.images) // len(self.class_names)

    def preprocess(self, pixels: Tensor) -> Tensor:
        """Test images (N, channels, H, W), uint8 or floats in [0, 1], whitened as networks of this set need them.

        Raises InputError for another shape or range.
        """
        if pixels.ndim != 4 or pixels.shape[1:] != self.images.shape[1:]:
            wanted = ", ".join(map(str, self.images.shape[1:]))
            hint = f"they must be (N, {wanted}): resize or convert them first"
            raise InputError(f"images of shape {tuple(pixels.shape)}", "preprocess", hint)
        images = pixels.to(self.images.device)
        images = images.float() / 255 if images.dtype == torch.uint8 else images.to(self.images.dtype)
        if len(images) and not (images.min() >= 0 and images.max() <= 1):
            hint = "give uint8, or floats from 0 to 1 that are not normalized yet"
            raise InputError(f"pixels from {images.min():g} to {images.max():g}", "preprocess", hint)
        return self.whitening.test(images)

    def batches(self, batch_size: int | None = None, seed: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch of (images, soft labels), shuffled and augmented as in the run; give each epoch another seed."""
        return self._epoch(self.soft_labels, batch_size or self.recipe.batch_size, seed)

    def _epoch(
        self, targets: Tensor, batch_size: int, seed: int | torch.Generator, cutmix: float = 0.0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch of augmented images with their targets (S, C), mixed by CutMix of this alpha where it is not 0."""
        generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
        order, side = torch.randperm(len(targets), generator=generator), self.images.shape[-1]
        for chosen in order.split(batch_size):
            augmentation = draw(self.about["augmentation"], len(chosen), side, generator)
            indices = chosen.to(self.images.device)
            images, own = apply(augmentation, self.training_images[indices]), targets[indices]
            if cutmix:
                mix = CutMix.draw(cutmix, len(chosen), side, generator)
                images, own = mix.images(images), mix.targets(own)
            yield images, own

    def training(self, labels: str = "stored", teacher: Teacher | None = None) -> Training:
        """How networks are trained on the set in a label regime: hard, stored or online, which needs the teacher.

        Raises InputError for another regime, and for `online` without a teacher.
        """
        classes, augmentation = one_hot(self.labels, self.soft_labels), self.recipe.augmentation
        match known_regime(labels):
            case "stored":
                return Training(self, self.recipe, self.learning_rate, self.soft_labels)
            case "hard":
                hard = HardSettings(**self.about.get("hard", {}))
                return Training(self, hard.recipe(augmentation), hard.learning_rate, classes)
            case "online" if teacher is not None:
                online = OnlineSettings(**self.about.get("online", {}))
                return Training(self, online.recipe(augmentation), online.learning_rate, classes, teacher)
        hint = 'training("online", load_teacher("teacher.safetensors"))'
        raise InputError("a teacher labels the images of this regime, and none is given", "training", hint)

    def network(self, arch: str = "convnet", seed: int = 0) -> nn.Module:
        """A fresh network for this set, on its device; the ConvNet has the run's width and depth."""
        size = self.about["network"]
        return build_network(
            known_network(arch),
            channels=self.images.shape[1],
            classes=len(self.class_names),
            image_size=self.images.shape[-1],
            width=size["width"],
            depth=size["depth"],
            seed=seed,
        ).to(self.images.device)


@dataclass(frozen=True)
class Training:
    """How networks are trained on a set in one label regime, as in the run's evaluation; `recipe` says it in numbers.

    learning_rate: of the first epoch. targets: class probabilities (S, C) of the images. teacher: labels each batch in
    the online regime, else None.
    """

    distilled: DistilledSet
    recipe: Recipe
    learning_rate: float
    targets: Tensor
    teacher: Teacher | None = None

    @property
    def epochs(self) -> int:
        """Epochs of a network."""
        return self.recipe.epochs

    @property
    def loss(self) -> TrainingLoss:
        """The loss of logits (B, C) and the targets of a batch: to the teacher's logits, else soft cross-entropy."""
        return CrossEntropy() if self.recipe.teacher_weight is None else TeacherLoss(self.recipe.teacher_weight)

    def batches(self, seed: int | torch.Generator = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch of (images, targets), shuffled, augmented and mixed; give each epoch another seed, or a generator.

        Targets are class probabilities (B, C); from a teacher its logits and then the classes, (B, 2 C).
        """
        for images, own in self.distilled._epoch(self.targets, self.recipe.batch_size, seed, self.recipe.cutmix):
            yield images, own if self.teacher is None else torch.cat([self.teacher.logits(images), own], dim=1)

    def optimizer(self, network: nn.Module) -> tuple[Optimizer, LambdaLR]:
        """The optimizer, and the schedule of its rate, which steps once an epoch."""
        recipe, weights = self.recipe, network.parameters()
        optimizer: Optimizer
        if recipe.optimizer == "sgd":
            optimizer = SGD(weights, self.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay)
        else:
            optimizer = AdamW(weights, self.learning_rate, weight_decay=recipe.weight_decay)
        begins = recipe.decay_epochs
        return optimizer, LambdaLR(optimizer, lambda epoch: recipe.decay_factor ** sum(at <= epoch for at in begins))

    def averaged(self, network: nn.Module) -> AveragedModel:
        """The network that is tested: the average of the weights over the steps; without one, the latest weights."""
        average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(self.recipe.ema))
        # It holds the weights at the start: without this, the first update would replace them.
        average.n_averaged.fill_(1)
        return average


def load_teacher(path: str | Path, device: str | torch.device = "cpu") -> Teacher:
    """Reads teacher.safetensors onto a device; `logits(images)` labels whitened images (N, channels, H, W).

    Raises InputError where the file is missing, damaged or something else.
    """
    tensors, about = _read(Path(path), torch.device(device), TEACHER_KEY)
    try:
        shape = {name: about[name] for name in ("channels", "classes", "image_size", "width", "depth")}
        module = build_network(known_network(about["arch"]), **shape, seed=0)
        network, names = FlatNetwork(module), [name for name, _ in module.named_parameters()]
        members = [
            network.join({name: tensors[f"{member}.{name}"] for name in names}) for member in range(about["networks"])
        ]
        temperature = float(about.get("temperature", 1.0))  # which an older version did not write
        accuracies, adjustment = list(tensors["per_class"].cpu()), tensors.get("adjustment")
        return Teacher(network, members, accuracies, adjustment, temperature=temperature)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"a part of the teacher is missing: {error}", str(path), "export it anew") from None


def _read(path: Path, device: torch.device, key: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a file and its metadata under `key`; raises InputError if missing, damaged or something else."""
    wanted, name = ("teacher", "teacher") if key == TEACHER_KEY else ("distilled set", "distilled")
    if not path.is_file():
        where = "`ltdd-tui export RUN --teacher` writes" if key == TEACHER_KEY else "a finished run has"
        raise InputError("there is no such file", str(path), f"{where} result/{name}.safetensors")
    try:
        verify_file(path)
        with safe_open(path, framework="pt", device=str(device)) as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"the file is damaged: {error}", str(path), "export it, or download it, anew") from None
    try:
        about = json.loads(metadata[key])
        file_format = int(about["format"])
    except (KeyError, ValueError, TypeError):
        what = f"the file holds tensors, but no {wanted} of ltdd-tui"
        raise InputError(what, str(path), f"use a run's result/{name}.safetensors") from None
    if file_format > FORMAT:
        what = f"the file has format {file_format}, this version reads up to {FORMAT}"
        raise InputError(what, str(path), "update ltdd-tui")
    return tensors, about


# --- Writing ----------------------------------------------------------------------------------------------------------
#
# The same set gives the same bytes, so nothing below may depend on time, versions or paths.


def describe(settings: RunSettings, data: LongTailedData) -> dict[str, Any]:
    """The file's metadata as plain JSON values: what was distilled, from what, and how to train on it."""
    recipe = settings.evaluate
    # What is as by default, and what no label regime of the run needs, is left out: so older sets keep their bytes.
    differing = recipe.model_dump(include={"optimizer", "cutmix", "ema"}, exclude_defaults=True)
    named = {"hard": settings.hard, "online": settings.online}
    blocks = {
        regime: block.model_dump()
        for regime, block in named.items()
        if regime in recipe.labels or block.model_dump(exclude_defaults=True)
    }
    mini_images = settings.initialize.model_dump(include={"partition"}, exclude_defaults=True)
    low_rank = settings.dataset.model_dump(include={"whitening_rank"}, exclude_defaults=True)
    about = {
        "format": FORMAT,
        "method": settings.method,
        "dataset": settings.dataset.name,
        "imbalance_factor": settings.dataset.imbalance_factor,
        "ipc": settings.ipc,
        "seed": settings.seed,
        "class_names": data.class_names,
        "class_counts": data.class_counts,
        "channels": data.channels,
        "image_size": data.image_size,
        "augmentation": list(settings.dataset.augmentation),
        "whitening": settings.dataset.whitening,
        "soft_labels": settings.has_soft_labels,
        "network": {"name": settings.experts.network, "width": settings.experts.width, "depth": settings.experts.depth},
        "recipe": recipe.model_dump(include=PUBLISHED_RECIPE) | differing,
    }
    fit = settings.dataset.model_dump(include={"fit"}, exclude_defaults=True)
    return about | blocks | mini_images | low_rank | fit


def distilled_bytes(settings: RunSettings, data: LongTailedData, synthetic: Synthetic) -> bytes:
    """The safetensors file of a set; `learning_rate` is what its evaluation uses, the learnt beta or a setting."""
    rate = settings.evaluate.learning_rate
    tensors = {
        "images": synthetic.images,
        "label_logits": synthetic.label_logits,
        "labels": torch.arange(data.num_classes).repeat_interleave(len(synthetic.label_logits) // data.num_classes),
        "learning_rate": synthetic.beta if rate == "learnt" else torch.tensor(rate),
    }
    if settings.export.images == "uint8":
        tensors["images"], tensors["image_ranges"] = rounded(synthetic.images)
    tensors |= {WHITENING_PREFIX + name: value for name, value in data.whitening.state().items()}
    return _bytes(tensors, METADATA_KEY, describe(settings, data))


def teacher_bytes(settings: RunSettings, data: LongTailedData, teacher: Teacher) -> bytes:
    """The safetensors file of a teacher: each network's parameters by name, below its number, and what it was made of.

    Beside them `per_class`, each network's test accuracy by class (networks, C), and the adjustment (C,), if any.
    """
    tensors = {
        f"{number}.{name}": value
        for number, theta in enumerate(teacher.weights)
        for name, value in teacher.network.unflatten(theta).items()
    }
    tensors["per_class"] = torch.stack(list(teacher.per_class))
    if teacher.adjustment is not None:
        tensors["adjustment"] = teacher.adjustment
    experts = settings.experts
    about = {
        "format": TEACHER_FORMAT,
        "kind": settings.teacher.kind,
        "networks": len(teacher.weights),
        "label_adjustment": settings.teacher.label_adjustment,
        "temperature": teacher.temperature,
        "arch": experts.network,
        "width": experts.width,
        "depth": experts.depth,
        "channels": data.channels,
        "classes": data.num_classes,
        "image_size": data.image_size,
        "class_names": data.class_names,
        "test_accuracy": [round(balanced(own), 4) for own in teacher.per_class],
    }
    return _bytes(tensors, TEACHER_KEY, about)


def _bytes(tensors: dict[str, Tensor], key: str, about: dict[str, Any]) -> bytes:
    # Cloned: the parameters of a network are views of one vector.
    plain = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    # All metadata under one key: safetensors writes several keys in an order that changes from process to process.
    return sealed_safetensors(save(plain, {key: json.dumps(about, sort_keys=True)}))
