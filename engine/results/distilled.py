"""The content of distilled.safetensors: the same set gives the same bytes, so no times, versions or paths."""

from __future__ import annotations

import json
from typing import Any

import torch
from safetensors.torch import save

from engine.data.dataset import LongTailedData
from engine.distilled import FORMAT, METADATA_KEY, WHITENING_PREFIX
from engine.losses import target_probabilities
from engine.matching.batches import Synthetic
from engine.run.settings import RunSettings


def describe(settings: RunSettings, data: LongTailedData) -> dict[str, Any]:
    """What the file says of itself in its metadata, as plain values."""
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
    }


def distilled_bytes(settings: RunSettings, data: LongTailedData, synthetic: Synthetic) -> bytes:
    """The safetensors file of a set; `learning_rate` is what its evaluation uses, the learnt beta or a setting."""
    rate = settings.evaluate.learning_rate
    tensors = {
        "images": synthetic.images,
        "pixels": data.whitening.to_pixels(synthetic.images).clamp(0, 1),
        "soft_labels": target_probabilities(synthetic.label_logits, settings.traits.learns_labels),
        "label_logits": synthetic.label_logits,
        "labels": torch.arange(data.num_classes).repeat_interleave(synthetic.ipc),
        "learning_rate": synthetic.beta if rate == "learnt" else torch.tensor(rate),
    }
    tensors |= {WHITENING_PREFIX + name: value for name, value in data.whitening.state().items()}
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    # One key: safetensors writes several in an order that changes from process to process.
    return save(plain, {METADATA_KEY: json.dumps(describe(settings, data), sort_keys=True)})
