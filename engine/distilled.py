"""distilled.safetensors: written by a run, and read by whoever has only the file and wants to train on it.

distilled = DistilledSet.load("distilled.safetensors")
for images, soft_labels in distilled.batches(seed=epoch): ...
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from engine.data.augment import apply, draw
from engine.data.dataset import LongTailedData
from engine.data.partition import Partition
from engine.data.whitening import Whitening
from engine.losses import target_probabilities
from engine.matching.synthetic import Synthetic
from engine.nets import build_network
from engine.run.errors import InputError
from engine.run.settings import RunSettings
from engine.run.validation import known_network

FORMAT = 1
METADATA_KEY = "ltdd"
WHITENING_PREFIX = "whitening."


@dataclass(frozen=True)
class Recipe:
    """How the run's evaluation trains networks on the set: by SGD, at a tenth of the rate from `decay_epoch` on."""

    epochs: int
    batch_size: int
    momentum: float
    weight_decay: float
    decay_at: float

    @property
    def decay_epoch(self) -> int:
        """The first epoch, counted from 0, at a tenth of the rate."""
        return math.ceil(self.decay_at * self.epochs)


@dataclass(frozen=True)
class DistilledSet:
    """A distilled set: S images of C classes with soft labels, class after class, and how to train on them.

    `images` (S, channels, H, W): whitened, what networks see; `pixels`: the same in [0, 1]. `soft_labels` (S, C):
    probabilities, the softmax of `label_logits` where labels were learnt, else one-hot. `labels` (S,): the classes.
    `learning_rate`: SGD's. `about`: the file's metadata (see `describe`). Where images hold mini-images (`partition` a
    side), networks see `training_images`, one for each mini-image, and labels are those of these.
    """

    images: Tensor
    pixels: Tensor
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
        tensors, about = _read(Path(path), torch.device(device))
        try:
            whitening = {
                name.removeprefix(WHITENING_PREFIX): value.cpu()
                for name, value in tensors.items()
                if name.startswith(WHITENING_PREFIX)
            }
            named = {name: tensors[name] for name in ("images", "pixels", "soft_labels", "label_logits", "labels")}
            return DistilledSet(
                **named,
                learning_rate=float(tensors["learning_rate"]),
                whitening=Whitening.from_state(whitening),
                recipe=Recipe(**about["recipe"]),
                about=about,
            )
        except (KeyError, TypeError, IndexError) as error:
            raise InputError(f"a part of the distilled set is missing: {error}", str(path), "export it anew") from None

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
        generator = torch.Generator().manual_seed(seed)
        images = self.training_images
        order = torch.randperm(len(images), generator=generator)
        for chosen in order.split(batch_size or self.recipe.batch_size):
            augmentation = draw(self.about["augmentation"], len(chosen), images.shape[-1], generator)
            indices = chosen.to(images.device)
            yield apply(augmentation, images[indices]), self.soft_labels[indices]

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


def _read(path: Path, device: torch.device) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of the file, and its metadata; raises InputError where it is missing, damaged or something else."""
    if not path.is_file():
        raise InputError("there is no such file", str(path), "a finished run has result/distilled.safetensors")
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"the file is damaged: {error}", str(path), "export it, or download it, anew") from None
    try:
        about = json.loads(metadata[METADATA_KEY])
        file_format = int(about["format"])
    except (KeyError, ValueError, TypeError):
        what = "the file holds tensors, but no distilled set of ltdd-tui"
        raise InputError(what, str(path), "use a run's result/distilled.safetensors") from None
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
    return {
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
        "network": {"name": settings.experts.network, "width": settings.experts.width, "depth": settings.experts.depth},
        "recipe": recipe.model_dump(include={"epochs", "batch_size", "momentum", "weight_decay", "decay_at"}),
    } | ({"partition": settings.initialize.partition} if settings.initialize.partition > 1 else {})


def distilled_bytes(settings: RunSettings, data: LongTailedData, synthetic: Synthetic) -> bytes:
    """The safetensors file of a set; `learning_rate` is what its evaluation uses, the learnt beta or a setting."""
    rate = settings.evaluate.learning_rate
    tensors = {
        "images": synthetic.images,
        "pixels": data.whitening.to_pixels(synthetic.images).clamp(0, 1),
        "soft_labels": target_probabilities(synthetic.label_logits, settings.has_soft_labels),
        "label_logits": synthetic.label_logits,
        "labels": torch.arange(data.num_classes).repeat_interleave(len(synthetic.label_logits) // data.num_classes),
        "learning_rate": synthetic.beta if rate == "learnt" else torch.tensor(rate),
    }
    tensors |= {WHITENING_PREFIX + name: value for name, value in data.whitening.state().items()}
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    # All metadata under one key: safetensors writes several keys in an order that changes from process to process.
    return save(plain, {METADATA_KEY: json.dumps(describe(settings, data), sort_keys=True)})
