"""How every class stands, head to tail: accuracy now and at the last check, and what it is measured against."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.run.events import Evaluated, ExpertDone, ExpertEpoch, ExpertKind
from ltdd_tui.runs.loss_history import Floats
from ltdd_tui.runs.state import RunState

# What can be relied on of an event's values: a number that is not finite was written as null, a list may be short.


def number(value: float | None) -> float | None:
    """The value if it is known and finite."""
    return value if value is not None and math.isfinite(value) else None


def numbers(values: Sequence[float | None], count: int) -> list[float | None]:
    """`count` numbers, one a class; none of them is known where the list has another length."""
    return [number(value) for value in values] if len(values) == count else [None] * count


def are_percents(*values: float | None) -> bool:
    """Whether all of them are known and can be accuracies."""
    return all(value is not None and 0 <= value <= 100 for value in values)


def mean(values: Sequence[float | None]) -> float | None:
    """The mean of the numbers that are known, if it is finite."""
    known = [value for value in values if value is not None]
    return number(sum(known) / len(known)) if known else None


def difference(value: float | None, other: float | None) -> float | None:
    """`value` less `other`, where both are known."""
    return None if value is None or other is None else value - other


GROUPS = ("many", "medium", "few")
KINDS: tuple[ExpertKind, ...] = ("representation", "classifier")


@dataclass(frozen=True)
class ClassAccuracy:
    """One class; accuracies in percent, None where not known. `change` is since the check before.

    `bound` is what networks reach that saw all long-tailed images: the experts.
    """

    name: str
    count: int | None = None
    group: str = ""
    value: float | None = None
    change: float | None = None
    random: float | None = None
    start: float | None = None
    bound: float | None = None


@dataclass(frozen=True)
class ClassAccuracies:
    """All classes from head to tail; `groups` of the last check; `misfits` says which figures could not be shown."""

    classes: tuple[ClassAccuracy, ...] = ()
    groups: Mapping[str, float | None] = field(default_factory=dict)
    last: Evaluated | None = None
    best: Evaluated | None = None
    bound_of: str = ""
    misfits: tuple[str, ...] = ()

    @property
    def highest(self) -> float:
        """The highest accuracy of any class or mark, 0 where there is none."""
        figures = [one for c in self.classes for one in (c.value, c.random, c.start, c.bound) if one is not None]
        return max(figures, default=0.0)


def class_accuracies(state: RunState) -> ClassAccuracies:
    """The standings at a state; without data there are no classes yet."""
    if state.data is None:
        return ClassAccuracies()
    names, groups = state.data.class_names, state.data.groups
    shown = checks_and_final(state)
    last, before = (shown[-1] if shown else None), (shown[-2] if len(shown) > 1 else None)
    bound_of, bound = _bound(state, len(names))
    columns = {
        "value": _per_class(last, len(names)),
        "before": _per_class(before, len(names)),
        "random": _per_class(_first(state, "random"), len(names)),
        "start": _per_class(_first(state, "initialization"), len(names)),
        "bound": bound,
    }
    sizes = [None if count is None else int(count) for count in numbers(state.data.class_counts, len(names))]
    classes = [
        ClassAccuracy(
            names[place],
            sizes[place],
            groups[place] if place < len(groups) else "",
            columns["value"][place],
            difference(columns["value"][place], columns["before"][place]),
            columns["random"][place],
            columns["start"][place],
            columns["bound"][place],
        )
        for place in head_to_tail(sizes)
    ]
    return ClassAccuracies(
        tuple(classes),
        {group: number(last.groups.get(group)) if last else None for group in GROUPS},
        last,
        best_of(state),
        bound_of,
        _misfits([last, before, _first(state, "random"), _first(state, "initialization")], len(names)),
    )


def head_to_tail(counts: Sequence[float | None]) -> list[int]:
    """The places of the classes, the largest first; equal ones, and those of unknown size, in their own order."""
    return sorted(range(len(counts)), key=lambda place: (-(counts[place] or 0), place))


def checks_and_final(state: RunState) -> list[Evaluated]:
    """The checks in their order, then the final figure of the first architecture, where it is there."""
    found = list(state.evaluations.values())
    checks = sorted((event for event in found if event.subject == "check"), key=lambda event: event.iteration or 0)
    return checks + [event for event in found if event.subject == "final"][:1]


def best_of(state: RunState) -> Evaluated | None:
    """The best check, as the worker evaluated it once more at the end where it has."""
    checks = [event for event in state.evaluations.values() if event.subject == "check"]
    known = [event for event in checks if number(event.accuracy_mean) is not None]
    return _first(state, "best") or max(known, key=lambda event: event.accuracy_mean, default=None)


def _first(state: RunState, subject: str) -> Evaluated | None:
    return next((event for event in state.evaluations.values() if event.subject == subject), None)


def _per_class(event: Evaluated | None, count: int) -> list[float | None]:
    return numbers(event.per_class if event else (), count)


def _bound(state: RunState, count: int) -> tuple[str, list[float | None]]:
    """Mean accuracy per class of the classifier experts, which decouple head from tail, else of the others."""
    for kind in reversed(KINDS):
        rows = [numbers(done.per_class, count) for done in state.done_experts(kind)]
        if rows:
            return f"{kind} experts", [mean([row[place] for row in rows]) for place in range(count)]
    return "", [None] * count


def _misfits(events: Sequence[Evaluated | None], count: int) -> tuple[str, ...]:
    return tuple(
        f"{event.subject}{'' if event.iteration is None else f' @ {event.iteration}'}"
        f" names {len(event.per_class)} classes of {count}"
        for event in events
        if event and len(event.per_class) != count
    )


# The balance picture: how large a classifier's weights are for each class, of the experts and of networks of ours.


@dataclass(frozen=True)
class NormSeries:
    """The norms of one classifier's rows, head to tail, each over their mean: 1 everywhere is perfect balance.

    `lean` is the head's mean over the tail's, a third of the classes each, None where it is not known.
    """

    label: str
    relative: tuple[float | None, ...]
    lean: float | None


@dataclass(frozen=True)
class ClassifierNorms:
    """The norms of several classifiers, and the group of each class, many, medium or few, in the same order."""

    groups: tuple[str, ...] = ()
    series: tuple[NormSeries, ...] = ()

    @property
    def highest(self) -> float:
        """The largest of all relative norms."""
        return max((value for one in self.series for value in one.relative if value is not None), default=1.0)


def norms_by_class(state: RunState) -> ClassifierNorms:
    """The experts of each kind (their mean), then the networks of the last check or of the final set."""
    if state.data is None:
        return ClassifierNorms()
    count, groups = len(state.data.class_names), state.data.groups
    order = head_to_tail(numbers(state.data.class_counts, count))
    found = []
    for kind in KINDS:
        rows = [numbers(expert.classifier_norms, count) for expert in state.done_experts(kind)]
        found.append(_series(f"{kind} experts", [mean([row[place] for row in rows]) for place in order]))
    shown = checks_and_final(state)
    norms = numbers(shown[-1].classifier_norms if shown else (), count)
    found.append(_series("synthetic set", [norms[place] for place in order]))
    return ClassifierNorms(
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


# The experts as figures: how far each one is, and how the accuracy of each kind splits head against tail.


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
    experts = sorted(expert for own, expert in {*state.expert_epochs, *state.experts_done} if own == kind)
    if not experts:
        return None
    rows = tuple(_row(state, kind, expert) for expert in experts)
    stage = state.stages.by_name.get(STAGES[kind])
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


def _row(state: RunState, kind: ExpertKind, expert: int) -> ExpertRow:
    done = state.experts_done.get((kind, expert))
    return ExpertRow(
        expert + 1,
        state.expert_epochs.get((kind, expert), ()),
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


# How a run went over its iterations, as arrays that a chart draws: matching losses, and accuracies of the checks.


def _floats(values: Sequence[Any]) -> Floats:
    try:
        found = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        found = np.empty((0, 0))
    # A foreign file may hold anything in place of a number.
    return found if found.ndim == 1 else np.array([_float(value) for value in values])


def _float(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e300 else float("nan")


def checks(state: RunState) -> tuple[Floats, Floats]:
    """Iterations and mean accuracies of the checks, from the initialization on."""
    found = {
        key[1]: evaluated.accuracy_mean
        for key, evaluated in state.evaluations.items()
        if key[0] in ("initialization", "check") and isinstance(key[1], int)
    }
    iterations = sorted(found)
    return _floats(iterations), _floats([found[at] for at in iterations])


def reference_accuracies(state: RunState) -> dict[str, float]:
    """What the accuracy is compared with: random images, the start, and as bound the experts, which saw all images."""
    found = {key[0]: evaluated.accuracy_mean for key, evaluated in state.evaluations.items()}
    named: dict[str, float] = {name: _float(found[name]) for name in ("random", "initialization") if name in found}
    if done := state.done_experts("classifier") or state.done_experts("representation"):
        named["bound"] = float(np.mean([_float(expert.accuracy) for expert in done]))
    return {name: value for name, value in named.items() if not np.isnan(value)}
