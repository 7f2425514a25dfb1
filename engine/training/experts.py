"""What representation and classifier experts share: taking them from the cache or training them, and their batches."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from engine.context import Context
from engine.data.augment import apply, draw
from engine.data.dataset import LongTailedData
from engine.run.errors import InputError
from engine.run.events import ExpertDone, ExpertKind, Warned
from engine.run.folder import exclusive
from engine.training.accuracy import balanced
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
    with context.stage(stage, count, "experts") as progress, _held(context, store):
        for expert in range(count):
            trajectory = store.load(expert, keep)
            cached = trajectory is not None
            if trajectory is None:
                trajectory = train(expert)
                store.save(expert, trajectory)
            experts.append(trajectory)
            accuracy = balanced(trajectory.per_class)
            context.emit(
                ExpertDone(kind, expert, cached, accuracy, trajectory.per_class.tolist(), trajectory.norms.tolist())
            )
            progress()
    return experts


@contextlib.contextmanager
def _held(context: Context, store: ExpertStore) -> Iterator[None]:
    """Holds the experts' folder; while another run trains them, waits for it, and still stops when asked to."""
    with contextlib.ExitStack() as held:
        waiting = False
        while not _take(store, held):
            if not waiting:
                context.emit(Warned("another run trains the same experts; waiting for them", str(store.folder)))
            waiting = True
            context.check_stop()
            time.sleep(0.5)
        yield


def _take(store: ExpertStore, held: contextlib.ExitStack) -> bool:
    try:
        held.enter_context(exclusive(store.lock))
    except InputError:
        return False
    return True


def augmented_batches(
    context: Context, data: LongTailedData, batches: Iterable[Tensor], generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Real images (B, channels, H, W), augmented, and their labels (B,), for each batch of indices (B,)."""
    for indices in batches:
        chosen = indices.to(data.train_labels.device)
        augmentation = draw(context.settings.dataset.augmentation, len(chosen), data.image_size, generator)
        yield apply(augmentation, data.train_images[chosen]), data.train_labels[chosen]
