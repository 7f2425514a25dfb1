"""The balance picture: how large a classifier's weights are for each class, of the experts and of networks of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ltdd_tui.sound import mean, numbers
from ltdd_tui.standings import checks_and_final, head_to_tail
from ltdd_tui.state import NO_EXPERTS, RunState


@dataclass(frozen=True)
class NormSeries:
    """The norms of one classifier's rows, head to tail, each over their mean: 1 everywhere is perfect balance.

    `lean` is the head's mean over the tail's, a third of the classes each, None where it is not known.
    """

    label: str
    relative: tuple[float | None, ...]
    lean: float | None


@dataclass(frozen=True)
class Balance:
    """The norms of several classifiers, and the group of each class, many, medium or few, in the same order."""

    groups: tuple[str, ...] = ()
    series: tuple[NormSeries, ...] = ()

    @property
    def highest(self) -> float:
        """The largest of all relative norms."""
        return max((value for one in self.series for value in one.relative if value is not None), default=1.0)


def balance(state: RunState) -> Balance:
    """The experts of each kind (their mean), then the networks of the last check or of the final set."""
    if state.data is None:
        return Balance()
    count, groups = len(state.data.class_names), state.data.groups
    order = head_to_tail(numbers(state.data.class_counts, count))
    found = []
    for kind in ("representation", "classifier"):
        done = state.experts.get(kind, NO_EXPERTS).done
        rows = [numbers(expert.classifier_norms, count) for expert in done.values()]
        found.append(_series(f"{kind} experts", [mean([row[place] for row in rows]) for place in order]))
    shown = checks_and_final(state)
    norms = numbers(shown[-1].classifier_norms if shown else (), count)
    found.append(_series("synthetic set", [norms[place] for place in order]))
    return Balance(
        tuple(groups[place] if place < len(groups) else "" for place in order),
        tuple(series for series in found if series),
    )


def _series(label: str, norms: Sequence[float | None]) -> NormSeries | None:
    middle = mean(norms)
    if not middle:
        return None
    third = max(1, len(norms) // 3)
    head, tail = mean(norms[:third]), mean(norms[-third:])
    relative = tuple(None if norm is None else norm / middle for norm in norms)
    return NormSeries(label, relative, head / tail if head is not None and tail else None)
