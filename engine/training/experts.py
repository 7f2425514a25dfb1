"""What representation and classifier experts share: taking them from the cache or training them, and their batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from engine.context import Context
from engine.data.augment import apply, draw
from engine.data.dataset import LongTailedData
from engine.run.events import ExpertDone, ExpertKind
from engine.run.folder import exclusive
from engine.training.accuracy import overall
from engine.trajectories import ExpertStore, Trajectory


def obtain_experts(
    context: Context,
    data: LongTailedData,
    kind: ExpertKind,
    store: ExpertStore,
    count: int,
    keep: int,
    train: Callable[[int], Trajectory],
) -> list[Trajectory]:
    """`count` experts, each from the cache where epochs 0..keep are there, else by `train(expert)`, then cached."""
    experts = []
    stage = "experts" if kind == "representation" else "classifier_experts"
    with context.stage(stage, count, "experts") as progress, exclusive(store.lock):
        for expert in range(count):
            trajectory = store.load(expert, keep)
            cached = trajectory is not None
            if trajectory is None:
                trajectory = train(expert)
                store.save(expert, trajectory)
            experts.append(trajectory)
            accuracy = overall(trajectory.per_class, data.test_labels)
            context.emit(
                ExpertDone(kind, expert, cached, accuracy, trajectory.per_class.tolist(), trajectory.norms.tolist())
            )
            progress()
    return experts


def augmented_batches(
    context: Context, data: LongTailedData, batches: Iterable[Tensor], generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Real images (B, channels, H, W), augmented, and their labels (B,), for each batch of indices (B,)."""
    for indices in batches:
        chosen = indices.to(data.train_labels.device)
        augmentation = draw(context.settings.dataset.augmentation, len(chosen), data.image_size, generator)
        yield apply(augmentation, data.train_images[chosen]), data.train_labels[chosen]
