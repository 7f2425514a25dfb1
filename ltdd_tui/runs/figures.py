"""The figures of a run, computed from its state: rows of results, class accuracies, classifier norms, experts, checks.

Values are None where they are not known. Events come from files, and a file may be of another program: NaN is stored
as null, a list per class may be short, and numbers may be too large to add up.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.run.events import Evaluated, ExpertDone, ExpertEpoch, ExpertKind
from engine.run.metrics import FEW_TEST_IMAGES, GROUPS, class_intervals, group_means
from ltdd_tui.runs.history import Floats
from ltdd_tui.runs.state import EXPERT_STAGES, VALIDATION, RunState

KINDS: tuple[ExpertKind, ...] = ("representation", "classifier")


def number(value: float | None) -> float | None:
    """The value if it is known and finite."""
    return value if value is not None and math.isfinite(value) else None


def numbers(values: Sequence[float | None], count: int) -> list[float | None]:
    """`count` numbers, one a class; none of them is known where the list has another length."""
    return [number(value) for value in values] if len(values) == count else [None] * count


def mean(values: Sequence[float | None]) -> float | None:
    """The mean of the numbers that are known, if it is finite."""
    known = [value for value in values if value is not None]
    return number(sum(known) / len(known)) if known else None


def beyond_published(final: float | None, published: float | None) -> float | None:
    """How far a final accuracy lies above the published one, in percentage points; None where either is unknown."""
    return None if final is None or published is None else final - published


def class_means(lists: Iterable[Sequence[float | None]], count: int) -> list[float | None]:
    """For each of `count` classes the mean over several lists of one number a class."""
    return [mean(values) for values in zip(*(numbers(one, count) for one in lists), strict=True)] or [None] * count


def head_to_tail(counts: Sequence[float | None]) -> list[int]:
    """The places of the classes, the largest first; equal ones, and those of unknown size, in their own order."""
    return sorted(range(len(counts)), key=lambda place: -(counts[place] or 0))


# ---------------------------------------------------------------------------------------------------------------------
# Class accuracies: every class from head to tail, and what its accuracy is measured against


@dataclass(frozen=True)
class ClassAccuracy:
    """One class; accuracies in percent, None where not known. `change` is since the check before.

    `count` and `tests` are its train and test images; `interval` is that of `value` where the latter are very few.
    `bound` is what networks reach that saw all long-tailed images: the experts. `stands_in`: `value` is on the class's
    own train images, as it could spare none for validation.
    """

    name: str
    count: int | None = None
    group: str = ""
    value: float | None = None
    change: float | None = None
    random: float | None = None
    start: float | None = None
    bound: float | None = None
    tests: int | None = None
    interval: Sequence[float] | None = None
    stands_in: bool = False


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

    @property
    def tests_of_each(self) -> int | None:
        """The number of test images of every class, None where that is not one number, or so few that it matters."""
        tests = {one.tests for one in self.classes}
        count = tests.pop() if len(tests) == 1 else None
        return count if count is not None and count >= FEW_TEST_IMAGES else None


def class_accuracies(state: RunState) -> ClassAccuracies:
    """Every class at a state; without data there are no classes yet."""
    if state.data is None:
        return ClassAccuracies()
    names, count = state.data.class_names, len(state.data.class_names)
    counts: Sequence[int | None] = state.data.class_counts
    if len(counts) != count:
        counts = [None] * count
    groups = [*state.data.groups, *[""] * count]
    shown = checks_and_final(state)
    last, before = (shown[-1] if shown else None), (shown[-2] if len(shown) > 1 else None)
    random, start = _first(state, "random"), _first(state, "initialization")
    validated = last is not None and last.tested_on == VALIDATION
    tests = state.data.validation_counts if validated else state.data.test_counts
    if before is not None and last is not None and before.tested_on != last.tested_on:
        before = None
    spared_none = set(state.data.stand_ins) if validated else set()
    values, values_before, of_random, of_start = (
        numbers(event.per_class if event else (), count) for event in (last, before, random, start)
    )
    bound_of, experts = bounding_experts(state)
    bound = class_means([done.per_class for done in experts], count)
    intervals, classes = class_intervals(values, tests), []
    for place in head_to_tail(counts):
        value, previous = values[place], values_before[place]
        change = None if value is None or previous is None else value - previous
        marks = of_random[place], of_start[place], bound[place]
        tested = tests[place] if len(tests) == count else None
        one = names[place], counts[place], groups[place], value, change, *marks, tested, intervals[place]
        classes.append(ClassAccuracy(*one, place in spared_none))
    return ClassAccuracies(
        tuple(classes),
        {group: number(last.groups.get(group)) if last else None for group in GROUPS},
        last,
        _first(state, "best") or best_check(state),
        bound_of,
        tuple(
            f"{event.subject}{'' if event.iteration is None else f' @ {event.iteration}'}"
            f" names {len(event.per_class)} classes of {count}"
            for event in (last, before, random, start)
            if event and len(event.per_class) != count
        ),
    )


def bounding_experts(state: RunState) -> tuple[str, list[ExpertDone]]:
    """The networks that saw all long-tailed images, and what they are called; those that do best by design.

    Classifier experts decouple head from tail, and so reach more than the others. A teacher is debiased too, but is
    not what a set is made from where there are experts.
    """
    kinds: tuple[tuple[ExpertKind, str], ...] = (
        ("classifier", "classifier experts"),
        ("representation", "representation experts"),
        ("teacher", "teacher"),
    )
    return next(((name, done) for kind, name in kinds if (done := state.done_experts(kind))), ("", []))


def checks_and_final(state: RunState) -> list[Evaluated]:
    """The checks in their order, then the final figure of the first architecture, where it is there."""
    return state.evaluated("check") + state.evaluated("final")[:1]


def best_check(state: RunState) -> Evaluated | None:
    """The check of the highest mean accuracy."""
    known = [event for event in state.evaluated("check") if number(event.accuracy_mean) is not None]
    return max(known, key=lambda event: event.accuracy_mean, default=None)


def _first(state: RunState, subject: str) -> Evaluated | None:
    return next(iter(state.evaluated(subject)), None)


# ---------------------------------------------------------------------------------------------------------------------
# Classifier norms: how large a classifier's weights are for each class, of the experts and of networks of ours


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
    count = len(state.data.class_names)
    groups = [*state.data.groups, *[""] * count]
    series = [_norm_series(label, values) for label, values in _of_networks(state, "classifier_norms").items()]
    return ClassifierNorms(tuple(groups[place] for place in _order(state)), tuple(one for one in series if one))


def confidence_by_class(state: RunState) -> dict[str, list[float | None]]:
    """The mean probability that test images of a class give that class, in percent, head to tail; by what gives it.

    The experts of each kind, then the networks of the last check or of the final set, as far as they are known.
    """
    return {label: own for label, own in _of_networks(state, "confidence").items() if mean(own) is not None}


def _order(state: RunState) -> list[int]:
    count = len(state.data.class_names) if state.data else 0
    return head_to_tail(numbers(state.data.class_counts if state.data else (), count))


def _of_networks(state: RunState, figure: str) -> dict[str, list[float | None]]:
    """A figure of each class, head to tail, that experts and evaluations tell: a mean over each kind of networks."""
    count = len(state.data.class_names) if state.data else 0
    of_kinds = {f"{kind} experts": state.done_experts(kind) for kind in KINDS}
    told = {label: [getattr(done, figure) for done in experts] for label, experts in of_kinds.items()}
    told["synthetic set"] = [getattr(event, figure) for event in checks_and_final(state)[-1:]]
    means = {label: class_means(lists, count) for label, lists in told.items()}
    return {label: [values[place] for place in _order(state)] for label, values in means.items()}


def _norm_series(label: str, norms: Sequence[float | None]) -> NormSeries | None:
    middle = mean(norms)
    if not middle:
        return None
    third = max(1, len(norms) // 3)
    head, tail = mean(norms[:third]), mean(norms[-third:])
    relative = tuple(None if norm is None else norm / middle for norm in norms)
    return NormSeries(label, relative, head / tail if head is not None and tail else None)


# ---------------------------------------------------------------------------------------------------------------------
# The experts: how far each one is, and how the accuracy of each kind splits head against tail


@dataclass(frozen=True)
class ExpertRow:
    """One expert and its epochs so far; accuracies in percent once it is done."""

    number: int
    history: Sequence[ExpertEpoch]
    cached: bool = False
    accuracy: float | None = None
    groups: Mapping[str, float | None] = field(default_factory=dict)

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
    """All experts of a kind, or networks of the teacher: how many are done, and their mean accuracy by group, in
    percent."""

    kind: ExpertKind
    done: int
    total: int
    accuracy: float | None
    groups: Mapping[str, float | None]
    rows: tuple[ExpertRow, ...]

    @property
    def title(self) -> str:
        """What they are called."""
        return "networks of the teacher" if self.kind == "teacher" else f"{self.kind} experts"


def expert_splits(state: RunState) -> list[ExpertSplit]:
    """The kinds of which something is known, in the order they are trained."""
    return [split for kind in EXPERT_STAGES if (split := _expert_split(state, kind)).rows]


def _expert_split(state: RunState, kind: ExpertKind) -> ExpertSplit:
    experts = sorted(expert for own, expert in {*state.expert_epochs, *state.experts_done} if own == kind)
    rows = tuple(_expert_row(state, kind, expert) for expert in experts)
    stage = state.stages.by_name.get(EXPERT_STAGES[kind])
    return ExpertSplit(
        kind,
        len(state.done_experts(kind)),
        max(len(rows), stage.total if stage else 0),
        mean([row.accuracy for row in rows]),
        {group: mean([row.groups.get(group) for row in rows]) for group in GROUPS},
        rows,
    )


def _expert_row(state: RunState, kind: ExpertKind, expert: int) -> ExpertRow:
    epochs, done = state.expert_epochs.get((kind, expert), ()), state.experts_done.get((kind, expert))
    if done is None:
        return ExpertRow(expert + 1, epochs)
    groups: Sequence[str] = state.data.groups if state.data else ()
    means = group_means(numbers(done.per_class, len(groups)), groups)
    by_group = {group: number(value) for group, value in means.items()}
    return ExpertRow(expert + 1, epochs, done.cached, number(done.accuracy), by_group)


# ---------------------------------------------------------------------------------------------------------------------
# The checks over the iterations, as arrays that a chart draws, and what their accuracy is compared with


def validation_start(state: RunState) -> Evaluated | None:
    """The start that was taken, as it was judged on validation images."""
    judged = [event for event in state.evaluations.values() if event.subject.startswith("start ")]
    taken = {f"start {choice.chosen}" for choice in state.choices if choice.of == "start"}
    return next((event for event in judged if event.subject in taken or len(judged) == 1), None)


def checks(state: RunState) -> tuple[Floats, Floats]:
    """Iterations and mean accuracies of the checks, from the initialization on; NaN for what is no number."""
    # Of checks on validation images, the first point is the start as it was judged on those.
    judged = validation_start(state) if state.validates else None
    starts = [judged] * (judged is not None) if state.validates else state.evaluated("initialization")
    evaluated = {
        event.iteration: _float(event.accuracy_mean)
        for event in [*starts, *state.evaluated("check")]
        if event is not None and event.iteration is not None
    }
    import numpy as np  # here: numpy takes a tenth of a second to import, and a list of runs does without it

    iterations = sorted(evaluated)
    return np.array(iterations, dtype=np.float64), np.array([evaluated[at] for at in iterations], dtype=np.float64)


def reference_accuracies(state: RunState) -> dict[str, float]:
    """What the accuracy is compared with: random images, the start, and as bound the experts, which saw all images.

    Where checks are on validation images, the final set too: all of these are on test images.
    """
    subjects = ["random", "initialization", *["final"] * state.validates]
    named = {event.subject: _float(event.accuracy_mean) for own in subjects for event in state.evaluated(own)[:1]}
    if done := bounding_experts(state)[1]:
        named["bound"] = statistics.fmean(_float(expert.accuracy) for expert in done)
    return {name: value for name, value in named.items() if not math.isnan(value)}


def _float(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e300 else math.nan
