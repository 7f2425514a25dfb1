"""What representation and classifier experts share: taking them from the cache or training them, a group at a time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

from engine.context import Context
from engine.run.errors import InputError
from engine.run.events import ExpertDone, ExpertKind, Warned
from engine.run.folder import exclusive
from engine.training.accuracy import balanced
from engine.training.groups import in_groups
from engine.trajectories import ExpertStore, Trajectory

Train = Callable[[Sequence[int]], list[Trajectory]]
"""Trains the experts of these numbers at once."""


def obtain_experts(
    context: Context,
    kind: ExpertKind,
    store: ExpertStore,
    count: int,
    keep: int,
    group: int,
    train: Train,
    release: Callable[[], object] = lambda: None,
) -> list[Trajectory]:
    """`count` experts, each from the cache where epochs 0..keep are there; the others trained `group` at once.

    What a group has learned is on disk before the next one begins. `release` is that of in_groups.
    """
    stage = "experts" if kind == "representation" else "classifier_experts"
    with context.stage(stage, count, "experts") as progress, _held(context, store):
        experts = {expert: found for expert in range(count) if (found := store.load(expert, keep))}

        def done(expert: int, cached: bool) -> None:
            context.emit(_expert_done(kind, expert, cached, experts[expert]))
            progress()

        for expert in list(experts):
            done(expert, cached=True)
        missing = [expert for expert in range(count) if expert not in experts]
        for members, trained in in_groups(context, missing, group, train, release):
            for expert, trajectory in zip(members, trained, strict=True):
                store.save(expert, trajectory)
                # Mapped from its file again, what was trained leaves memory, and the first run sees what later ones do.
                experts[expert] = store.load(expert, keep) or trajectory
                done(expert, cached=False)
    return [experts[expert] for expert in range(count)]


def _expert_done(kind: ExpertKind, expert: int, cached: bool, trajectory: Trajectory) -> ExpertDone:
    per_class = trajectory.per_class
    return ExpertDone(kind, expert, cached, balanced(per_class), per_class.tolist(), trajectory.norms.tolist())


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
