"""How every class stands, head to tail: accuracy now and at the last check, and what it is measured against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from engine.run.events import Evaluated
from ltdd_tui.results import GROUPS
from ltdd_tui.sound import difference, mean, number, numbers
from ltdd_tui.state import RunState


@dataclass(frozen=True)
class ClassStanding:
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
class Standings:
    """All classes from head to tail; `groups` of the last check; `misfits` says which figures could not be shown."""

    classes: tuple[ClassStanding, ...] = ()
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


def standings(state: RunState) -> Standings:
    """The standings at a state; without data there are no classes yet."""
    if state.data is None:
        return Standings()
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
        ClassStanding(
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
    return Standings(
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
    for kind in ("classifier", "representation"):
        experts = state.experts.get(kind)
        rows = [numbers(done.per_class, count) for done in experts.done.values()] if experts else []
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
