"""The cells of a report: runs that differ in their seed alone, their figures, and what can be concluded from them.

Accuracies are percent and differences percentage points. A figure of a seed is the mean over its networks; of a cell
with several seeds the mean of these means, since networks that were trained on one set are no independent samples of
the method. Test folds are pooled: each class is measured on its images in all of them.
Of a single seed there are only its networks, which say nothing of how far another seed would lie.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from engine.run.events import BOUND, DataReady
from engine.run.schema import flat
from engine.run.settings import RunSettings
from ltdd_tui.formatting import mean_and_std
from ltdd_tui.runs.comparison import ComparedRun, SeedMean, differing_settings, seed_groups, seed_mean, text_of
from ltdd_tui.runs.figures import bounding_experts, class_means, head_to_tail
from ltdd_tui.runs.rows import Row

CONFIDENCE = 0.95
LOSSLESS_POINTS = 2.0
"""The widest half of an interval that lets a set be called lossless, in percentage points (ours)."""
NOT_OF_A_CELL = ("seed", "dataset.test_fold")
"""The settings in which the runs of a cell differ."""
NOT_OF_THE_IMAGES = ("dataset.imbalance_factor", "dataset.test_fold", "dataset.augmentation")
"""The settings of the data set that leave its images what they are; the factor is named beside it."""
SHORT = {"method": "", "dataset.name": "", "dataset.imbalance_factor": "IF ", "ipc": "IPC "}
"""How the settings that nearly every comparison is about stand in a name: `ltdd, IF 100, IPC 10`."""
MOST_IN_NAME = 5
"""Settings in a name; where more are needed, a cell is called by the name of its first run."""


@dataclass(frozen=True)
class Spread:
    """A mean with the sample standard deviation of the `n` values that it is of; `of` is what these are of."""

    mean: float
    std: float | None
    n: int
    of: str = "seeds"

    def __str__(self) -> str:
        return mean_and_std(self.mean, self.std, self.n)

    @property
    def counted(self) -> str:
        """`3 seeds`, `1 network`."""
        return f"{self.n} {self.of if self.n != 1 else self.of.removesuffix('s')}"

    @property
    def half_width(self) -> float | None:
        """Half of the 95 % interval of the mean, by Student's t; None of a single value."""
        if self.std is None or self.n < 2:
            return None
        return _t_quantile(self.n - 1) * self.std / math.sqrt(self.n)


@dataclass(frozen=True)
class Lead:
    """How far one mean lies above another, with its 95 % interval and two-sided p, by Welch's t test.

    `n` are the values on either side and `of` what they are. Source: B. L. Welch, Biometrika 34, 1947, 28-35; degrees
    of freedom by F. E. Satterthwaite, Biometrics Bulletin 2, 1946, 110-114.
    """

    difference: float
    low: float | None
    high: float | None
    p: float | None
    n: int
    of: str

    @property
    def is_clear(self) -> bool | None:
        """Whether the interval leaves out 0; None where there is no interval."""
        return None if self.low is None or self.high is None else self.low > 0 or self.high < 0


def lead(ours: Spread, others: Spread) -> Lead:
    """The difference of two means of independent values; without an interval where either is of one value."""
    difference = ours.mean - others.mean
    n, of = min(ours.n, others.n), ours.of
    if ours.std is None or others.std is None or n < 2:
        return Lead(difference, None, None, None, n, of)
    parts = [spread.std**2 / spread.n for spread in (ours, others) if spread.std is not None]
    variance = sum(parts)
    if variance == 0:  # such as of seeds that all have the same set
        return Lead(difference, None, None, None, n, of)
    freedom = variance**2 / sum(part**2 / (spread.n - 1) for part, spread in zip(parts, (ours, others), strict=True))
    from scipy.special import stdtr

    error = math.sqrt(variance)
    half = _t_quantile(freedom) * error
    return Lead(
        difference, difference - half, difference + half, 2 * float(stdtr(freedom, -abs(difference) / error)), n, of
    )


def _t_quantile(freedom: float) -> float:
    """What Student's t with so many degrees of freedom stays below in size with probability CONFIDENCE."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


STATED_BOUND = BOUND.replace("_", " ")
"""What the rows of the stage `bounds` begin with."""


@dataclass(frozen=True)
class Bound:
    """Mean accuracy, of all classes and of each, of networks that were trained on all long-tailed images."""

    label: str
    mean: float
    per_class: tuple[float | None, ...]


@dataclass(frozen=True)
class ReportCell:
    """Runs of the same settings but the seed, in one label regime; `name` tells it from the other cells.

    `bound` is the highest that the report knows for the same long-tailed images: experts that are biased to the head
    are no bound for a method that has no others. `images`: the data set, with what tells it from others in the report,
    such as `folder, path /flowers, resolution 32`.
    """

    name: str
    labels: str
    runs: tuple[ComparedRun, ...]
    bound: Bound | None = None
    images: str = ""

    @property
    def settings(self) -> RunSettings:
        settings = self.runs[0].view.settings
        assert settings is not None  # seed_groups takes no others
        return settings

    @cached_property
    def finished(self) -> list[ComparedRun]:
        """The runs with a final figure."""
        return [run for run in self.runs if "final" in run.rows]

    @property
    def shown(self) -> Sequence[ComparedRun]:
        """The finished runs, or where there are none all of them."""
        return self.finished or self.runs

    @cached_property
    def seeds(self) -> int:
        """How many seeds of it are finished."""
        return len({run.view.settings.seed for run in self.finished if run.view.settings})

    @cached_property
    def networks(self) -> int:
        """The networks that each final figure is over, the fewest of all runs."""
        return min((run.rows["final"].repeats for run in self.finished), default=0)

    def figure(self, label: str) -> Spread | None:
        """One figure, as rows of results call it: `final`, `best`, `random`, `initialization`."""
        runs = [run for run in self.finished if label in run.rows]
        if len(runs) == 1:
            row = runs[0].rows[label]
            return Spread(row.accuracy_mean, row.accuracy_std if row.repeats > 1 else None, row.repeats, "networks")
        mean = seed_mean(runs, label)
        if mean is None:
            return None
        seeds = {run.view.settings.seed for run in runs if run.view.settings}
        return Spread(mean.mean, mean.std, len(seeds) if mean.std is not None else 1)

    def over_folds(self, label: str = "final") -> SeedMean | None:
        """One figure, pooled over the test folds of its runs; None where they have no different ones."""
        mean = seed_mean([run for run in self.finished if label in run.rows], label)
        return mean if mean and mean.folds else None

    @cached_property
    def final(self) -> Spread | None:
        return self.figure("final")

    @cached_property
    def lead(self) -> Lead | None:
        """Of the final set over random images; None where random images are all there is."""
        random = self.figure("random")
        if self.final is None or random is None or self.settings.method == "random" or self.final.of != random.of:
            return None
        return lead(self.final, random)

    @cached_property
    def bounds(self) -> list[Bound]:
        """What networks reach that its runs trained on all images: those of the stage `bounds`, else the experts."""
        labels = dict[str, None]()
        for run in self.finished:
            experts = bounding_experts(run.view.state)[0]
            labels |= dict.fromkeys(own for own in run.rows if own.startswith(STATED_BOUND) or own == experts)
        found = [
            Bound(label, spread.mean, tuple(self.by_class(label))) for label in labels if (spread := self.figure(label))
        ]
        return [one for one in found if one.label.startswith(STATED_BOUND)] or found

    @property
    def bound_share(self) -> float | None:
        """The final accuracy in percent of the bound."""
        return 100 * self.final.mean / self.bound.mean if self.final and self.bound and self.bound.mean else None

    @property
    def is_lossless(self) -> bool | None:
        """Whether the bound lies within the 95 % interval of the final accuracy, or below.

        None where that cannot be told: without an interval, or of one wider than LOSSLESS_POINTS on either side, in
        which a bound may lie by chance.
        """
        half = self.final.half_width if self.final else None
        if self.final is None or half is None or self.bound is None:
            return None
        if self.bound.mean > self.final.mean + half:
            return False
        return True if half <= LOSSLESS_POINTS or self.bound.mean <= self.final.mean - half else None

    @property
    def published(self) -> float | None:
        """What a publication reports for it."""
        return self.runs[0].published

    @property
    def latest(self) -> list[Row]:
        """The final row of each finished run; where there is none, those of the last checks."""
        return [row for run in self.shown if (row := run.latest)]

    def by_class(self, label: str | None = None) -> list[float | None]:
        """The accuracy of each class in the order of the data, over all runs: in one figure, or the latest one."""
        if pooled := self.over_folds(label or "final"):
            by_name = {one.name: one.accuracy for one in pooled.classes}
            return [by_name.get(name) for name in self.class_names]
        rows = self.latest if label is None else [run.rows[label] for run in self.shown if label in run.rows]
        return class_means([row.per_class for row in rows], len(self.class_names))

    @property
    def data(self) -> DataReady | None:
        """Its classes and images."""
        return self.shown[0].view.state.data

    @property
    def class_names(self) -> list[str]:
        return self.data.class_names if self.data else []

    @property
    def head_to_tail(self) -> list[int]:
        """The places of the classes, the largest first."""
        return head_to_tail(self.data.class_counts if self.data else [])

    @property
    def groups(self) -> list[str]:
        """The group of each class, empty where it is not known."""
        return [*(self.data.groups if self.data else ()), *[""] * len(self.class_names)][: len(self.class_names)]


def report_cells(runs: Sequence[ComparedRun]) -> list[ReportCell]:
    """The cells in the order of their first runs, each with a name of its own."""
    groups = seed_groups(runs)
    first = [group[0] for group in groups]
    keys = naming_keys(first)
    regimes = len({run.labels for run in first}) > 1
    names = [name_of(run, keys, regimes) for run in first]
    if len(set(names)) < len(names):
        names = [f"{group[0].name} ({group[0].labels})" if regimes else group[0].name for group in groups]
    of_images = [line.key for line in differing_settings(first) if line.key.startswith("dataset.")]
    of_images = ["dataset.name", *(key for key in of_images if key not in ("dataset.name", *NOT_OF_THE_IMAGES))]
    cells = [
        ReportCell(name, group[0].labels, tuple(group), images=name_of(group[0], of_images, False))
        for name, group in zip(names, groups, strict=True)
    ]
    highest: dict[Any, Bound] = {}
    for cell in cells:
        for bound in cell.bounds:
            known = highest.get(column_of(cell)[:2])
            # An accuracy of the stage `bounds` goes before one of experts, which are trained for another purpose.
            if known is None or _rank(bound) > _rank(known):
                highest[column_of(cell)[:2]] = bound
    cells = [replace(cell, bound=highest.get(column_of(cell)[:2])) for cell in cells]
    # Methods are compared within a data set, factor and IPC, and keep the order in which they came there, as words of
    # other settings do; numbers rise.
    further = [key for key in keys if key not in SHORT]

    def place(cell: ReportCell) -> list[tuple[bool, Any]]:
        values = values_of(cell.runs[0])
        numbers = (values[key] if isinstance(values[key], int | float) else 0 for key in further)
        return numbers_first([*column_of(cell), *numbers])

    return sorted(cells, key=place)


def _rank(bound: Bound) -> tuple[bool, float]:
    return bound.label.startswith(STATED_BOUND), bound.mean


def column_of(cell: ReportCell) -> tuple[str, float | str, int]:
    """What methods are compared within, as a table has it as a column: data set, imbalance factor, IPC."""
    return cell.images, cell.settings.dataset.imbalance_factor, cell.settings.ipc


def numbers_first(values: Sequence[Any]) -> list[tuple[bool, Any]]:
    """A key to sort by where one value is a number and another one a word, such as `natural`."""
    return [(isinstance(value, str), value) for value in values]


def naming_keys(runs: Sequence[ComparedRun]) -> list[str]:
    """The settings by which cells are told apart, each given by one of its runs: those of SHORT if they are enough.

    What follows from the method, such as its own defaults, then stays out of the names. Empty where more settings than
    a name can hold are needed.
    """
    differing = [line.key for line in differing_settings(runs) if line.key not in NOT_OF_A_CELL]
    usual = [key for key in SHORT if key in differing]
    for keys in (usual, usual + [key for key in differing if key not in SHORT]):
        if 0 < len(keys) <= MOST_IN_NAME and len({name_of(run, keys, True) for run in runs}) == len(runs):
            return keys
    return []


def name_of(run: ComparedRun, keys: Sequence[str], regimes: bool) -> str:
    """Its values of these settings, such as `ltdd, IF 100, IPC 10`, with its label regime if asked for."""
    values = values_of(run)
    parts = [f"{SHORT.get(key, key.rpartition('.')[2] + ' ')}{text_of(values[key])}" for key in keys]
    return ", ".join(parts + [f"{run.labels} labels"] * regimes) or run.name


def values_of(run: ComparedRun) -> dict[str, Any]:
    """The settings of a run by dotted key."""
    return flat(run.view.settings.model_dump(mode="json")) if run.view.settings else {}


def by_settings(cells: Sequence[ReportCell], key: Callable[[ReportCell], Any]) -> dict[Any, list[ReportCell]]:
    """The cells by a key, in their order."""
    grouped: dict[Any, list[ReportCell]] = {}
    for cell in cells:
        grouped.setdefault(key(cell), []).append(cell)
    return grouped
