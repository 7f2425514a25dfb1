"""The figures of a run as rows of one table, from its state as far as it has come."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.run.events import Evaluated, ExpertDone
from ltdd_tui.sound import are_percents
from ltdd_tui.state import RunState

GROUPS = ("many", "medium", "few")


@dataclass(frozen=True)
class Row:
    """One set under the recipe, in percent; `repeats` networks, `iteration` where the set has one."""

    label: str
    accuracy_mean: float
    accuracy_std: float
    repeats: int
    per_class: list[float]
    groups: Mapping[str, float | None]
    iteration: int | None = None


def rows_from_state(state: RunState) -> list[Row]:
    """random, initialization, the experts, final, best, then final on further networks; before final, two checks.

    An accuracy that is not finite, or none at all, gives no row.
    """
    found = [
        event
        for event in state.evaluations.values()
        if are_percents(event.accuracy_mean, event.accuracy_std, *event.per_class)
    ]
    trained = {
        kind: [done for done in experts.done.values() if are_percents(done.accuracy, *done.per_class)]
        for kind, experts in state.experts.items()
    }
    rows = [_evaluated(subject, event) for subject in ("random", "initialization") for event in _of(found, subject)]
    rows += [
        _experts(f"{kind} experts", trained[kind], state)
        for kind in ("representation", "classifier")
        if trained.get(kind)
    ]
    finals = _of(found, "final")
    checks = [] if finals else sorted(_of(found, "check"), key=lambda event: event.iteration or 0)
    if checks:
        rows += [
            _evaluated("last check", checks[-1]),
            _evaluated("best check", max(checks, key=lambda event: event.accuracy_mean)),
        ]
    main = finals[0].arch if finals else ""
    rows += [_evaluated("final", event) for event in finals if event.arch == main]
    rows += [_evaluated("best", event) for event in _of(found, "best")]
    return rows + [_evaluated(f"final on {event.arch}", event) for event in finals if event.arch != main]


def _of(found: Sequence[Evaluated], subject: str) -> list[Evaluated]:
    return [event for event in found if event.subject == subject]


def _evaluated(label: str, event: Evaluated) -> Row:
    return Row(
        label, event.accuracy_mean, event.accuracy_std, event.repeats, event.per_class, event.groups, event.iteration
    )


def _experts(label: str, done: Sequence[ExpertDone], state: RunState) -> Row:
    per_class = [statistics.fmean(column) for column in zip(*(expert.per_class for expert in done), strict=False)]
    accuracies = [expert.accuracy for expert in done]
    spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    members = {
        group: [
            value
            for value, own in zip(per_class, state.data.groups if state.data else [], strict=False)
            if own == group
        ]
        for group in GROUPS
    }
    groups = {group: statistics.fmean(values) if values else None for group, values in members.items()}
    return Row(label, statistics.fmean(accuracies), spread, len(accuracies), per_class, groups)
