"""The experts as figures: how far each one is, and how the accuracy of each kind splits head against tail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.run.events import ExpertDone, ExpertEpoch, ExpertKind
from ltdd_tui.results import GROUPS
from ltdd_tui.sound import mean, number, numbers
from ltdd_tui.state import Experts, RunState, stage_named

KINDS: tuple[ExpertKind, ...] = ("representation", "classifier")
STAGES: Mapping[ExpertKind, str] = {"representation": "experts", "classifier": "classifier_experts"}


@dataclass(frozen=True)
class ExpertRow:
    """One expert and its epochs so far; accuracies in percent once it is done."""

    number: int
    history: Sequence[ExpertEpoch]
    cached: bool = False
    accuracy: float | None = None
    groups: Mapping[str, float | None] | None = None

    @property
    def epoch(self) -> int:
        """The last epoch, 0 before the first."""
        return self.history[-1].epoch if self.history else 0

    @property
    def epochs(self) -> int:
        """How many there will be, 0 where that is not known."""
        return self.history[-1].epochs if self.history else 0

    @property
    def loss(self) -> float | None:
        """The mean training loss of the last epoch."""
        return number(self.history[-1].loss) if self.history else None


@dataclass(frozen=True)
class ExpertSplit:
    """All experts of a kind: how many are done, and their mean accuracy by group, in percent."""

    kind: ExpertKind
    done: int
    total: int
    cached: int
    accuracy: float | None
    groups: Mapping[str, float | None]
    rows: tuple[ExpertRow, ...]


def expert_splits(state: RunState) -> list[ExpertSplit]:
    """The kinds of which something is known, in the order they are trained."""
    return [split for kind in KINDS if (split := _split(state, kind)) is not None]


def _split(state: RunState, kind: ExpertKind) -> ExpertSplit | None:
    found = state.experts.get(kind)
    if found is None:
        return None
    rows = tuple(_row(state, found, place) for place in sorted({*found.losses, *found.done}))
    stage = stage_named(state, STAGES[kind])
    done = [row for row in rows if row.groups is not None]
    return ExpertSplit(
        kind,
        len(done),
        max(len(rows), stage.total if stage else 0),
        sum(row.cached for row in done),
        mean([row.accuracy for row in done]),
        {group: mean([(row.groups or {}).get(group) for row in done]) for group in GROUPS},
        rows,
    )


def _row(state: RunState, found: Experts, place: int) -> ExpertRow:
    done = found.done.get(place)
    return ExpertRow(
        place + 1,
        found.losses.get(place, ()),
        done.cached if done else False,
        number(done.accuracy) if done else None,
        _by_group(state, done) if done else None,
    )


def _by_group(state: RunState, done: ExpertDone) -> Mapping[str, float | None]:
    groups: Sequence[str] = state.data.groups if state.data else ()
    per_class = numbers(done.per_class, len(groups))
    return {
        group: mean([value for value, own in zip(per_class, groups, strict=True) if own == group]) for group in GROUPS
    }
