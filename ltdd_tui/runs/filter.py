"""The filter of the list of runs: `running cifar10`, `state:done method:ltdd,datm if:100 acc>50 tag:paper -quickstart`.

Words stand for what a run's line holds, `field:value` for one field, `field>number` and the like for a number; commas
mean or, a leading minus means not, and all terms must hold.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from ltdd_tui.runs.index import Overview

# Fields of a term and the attributes of an Overview that they stand for.
TEXTS = {name: name for name in ("name", "state", "stage", "dataset", "method")}
TEXTS |= {"labels": "regimes", "tag": "tags", "note": "note"}
NUMBERS = {"if": "imbalance_factor", "ipc": "ipc", "seed": "seed", "acc": "accuracy_mean"}
COMPARISONS = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
    ":": operator.eq,
}
TERM = re.compile(r"(?P<field>[a-z]+)(?P<sign>>=|<=|>|<|=|:)(?P<value>.*)")
FIELDS = ", ".join([*TEXTS, *NUMBERS])
Test = Callable[[Overview], bool]


@dataclass(frozen=True)
class RunFilter:
    """The terms of a text, all of which must hold; `faults` say which of them could not be read and were left out."""

    tests: tuple[Test, ...] = ()
    faults: tuple[str, ...] = ()

    def matches(self, run: Overview) -> bool:
        """Whether every term holds for the run."""
        return all(test(run) for test in self.tests)


def parse(text: str) -> RunFilter:
    """The filter that a text stands for; a term that is still being typed (`state:`) lets everything through."""
    tests: list[Test] = []
    faults: list[str] = []
    for word in text.casefold().split():
        try:
            if test := _term(word):
                tests.append(test)
        except ValueError as fault:
            faults.append(str(fault))
    return RunFilter(tuple(tests), tuple(faults))


def _term(word: str) -> Test | None:
    """The test that a term stands for, None while its value is not typed yet; raises ValueError for a faulty one."""
    if word.startswith("-") and len(word) > 1:
        inner = _term(word[1:])
        return inner and (lambda run: not inner(run))
    term = TERM.fullmatch(word)
    if not term:
        return lambda run: word in _line(run)
    field, sign, value = term.group("field", "sign", "value")
    if field not in TEXTS and field not in NUMBERS:
        raise ValueError(f"no field {field!r}; there are {FIELDS}")
    if field in TEXTS and sign not in ":=":
        raise ValueError(f"{field} is text: {field}:... finds it")
    parts = tuple(part for part in value.split(",") if part)
    if not parts:
        return None
    if field in TEXTS:
        return lambda run: any(text.casefold().startswith(parts) for text in _texts(run, TEXTS[field]))
    if sign in ":=" and field == "if" and "natural" in parts:
        return lambda run: run.imbalance_factor in parts
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        raise ValueError(f"{field}{sign}{value}: {field} is a number") from None
    return lambda run: _holds(getattr(run, NUMBERS[field]), COMPARISONS[sign], numbers)


def _holds(value: float | str | None, compare: Callable[[float, float], bool], numbers: list[float]) -> bool:
    """Whether the value is a number that compares so with one of `numbers`."""
    return isinstance(value, int | float) and any(compare(value, number) for number in numbers)


def _texts(run: Overview, name: str) -> tuple[str, ...]:
    """What a run has of a field: one text, or each of its label regimes or tags."""
    value = getattr(run, name) or ""
    return value if isinstance(value, tuple) else (value,)


def _line(run: Overview) -> str:
    """What the list shows of the run, which plain words are looked for in."""
    return " ".join(
        filter(None, (run.name, run.state, run.stage, run.cell, run.method, *run.tags, run.note))
    ).casefold()
