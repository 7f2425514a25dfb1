"""Two to six runs side by side: their figures, classes, settings that differ, and means over seeds. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from engine.run.metrics import GROUPS, group_means
from engine.run.schema import flat, leaves
from ltdd_tui.formatting import factor_name, mean_and_std, percent, short_verdict
from ltdd_tui.runs.figures import beyond_published
from ltdd_tui.runs.rows import Row, by_label, has_regimes, rows_from_state
from ltdd_tui.runs.state import RunView
from ltdd_tui.runs.tables import Cell, Table, TableFormat

TAGS = "ABCDEF"


@dataclass(frozen=True)
class ComparedRun:
    """One run of a comparison; `tag` is the letter by which it is called beside its color.

    `rows` are those of its first label regime, and those of none, by what they are of; `regimes` the same for every
    regime, the first one first, where there is another than `stored`.
    """

    tag: str
    view: RunView
    rows: dict[str, Row] = field(default_factory=dict)
    regimes: dict[str, dict[str, Row]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.view.folder.name

    @property
    def latest(self) -> Row | None:
        """The final figures, or before there are any those of the last check."""
        return self.rows.get("final") or self.rows.get("last check")

    @property
    def verdict(self) -> str:
        """What the run says should be used, in a few words; empty where it does not say."""
        return short_verdict(self.view.state.verdict.use if self.view.state.verdict else None)

    @property
    def best(self) -> Row | None:
        """The best check, as it was evaluated anew at the end where it was."""
        return self.rows.get("best") or self.rows.get("best check")

    @property
    def published(self) -> float | None:
        """What a publication reports for this run's cell, in percent: with stored labels, which the paper has."""
        expected = self.view.settings.expected if self.view.settings else None
        return expected.accuracy if expected and self.labels == "stored" else None

    @property
    def beyond_published(self) -> float | None:
        """How far the final accuracy lies above the published one, in percentage points."""
        final = self.rows.get("final")
        return beyond_published(final.accuracy_mean if final else None, self.published)

    @property
    def labels(self) -> str:
        """The label regime of `rows`."""
        return next((row.labels for row in self.rows.values() if row.labels), "stored")

    @property
    def random_labels(self) -> str:
        """Who labelled the random images of `rows`: `teacher`, else `class`; empty without such images."""
        random = self.rows.get("random")
        return "" if random is None else "teacher" if random.teacher_labels else "class"

    def by_regime(self) -> list[ComparedRun]:
        """The run once for each label regime, with the rows of that one."""
        return [replace(self, rows=rows) for rows in self.regimes.values()] or [self]

    def by_class(self) -> dict[str, float | None]:
        """The latest accuracy of each class, by its name."""
        data = self.view.state.data
        return dict(zip(data.class_names, self.latest.per_class, strict=False)) if data and self.latest else {}


def compared_runs(views: Sequence[RunView], tags: Sequence[str] = TAGS) -> list[ComparedRun]:
    """The runs in their order, with their figures by what they are of; no more than there are `tags`."""
    compared = []
    for tag, view in zip(tags, views, strict=False):
        rows = rows_from_state(view.state)
        labels = dict.fromkeys(row.labels for row in rows if row.labels) if has_regimes(rows) else ()
        regimes = {own: {row.label: row for row in rows if row.labels in ("", own)} for own in labels}
        compared.append(ComparedRun(tag, view, by_label(rows), regimes))
    return compared


def common_cell(runs: Sequence[ComparedRun]) -> str:
    """How many runs there are, and data set, imbalance factor and IPC where all have the same."""
    settings = [run.view.settings for run in runs]
    cells = {(s.dataset.name, s.dataset.imbalance_factor, s.ipc) if s else None for s in settings}
    cell = cells.pop()
    if cells or cell is None:
        return f"{len(runs)} runs"
    name, factor, ipc = cell
    return f"{len(runs)} runs of {name}, IF {factor_name(factor)}, IPC {ipc}"


@dataclass(frozen=True)
class ClassLine:
    """One class, or one group of them, and the accuracy of each run in it, None where a run has no such class."""

    name: str
    count: int | None
    values: tuple[float | None, ...]


def compared_classes(runs: Sequence[ComparedRun]) -> list[ClassLine]:
    """All classes by name: those of the first run head to tail, then those that only a later one has."""
    counts: dict[str, int] = {}
    for run in runs:
        if data := run.view.state.data:
            by_name = zip(data.class_names, data.class_counts, strict=False)
            for name, count in sorted(by_name, key=lambda one: one[1], reverse=True):
                counts.setdefault(name, count)
    by_run = [run.by_class() for run in runs]
    return [ClassLine(name, count, tuple(values.get(name) for values in by_run)) for name, count in counts.items()]


def group_lines(runs: Sequence[ComparedRun]) -> list[ClassLine]:
    """Many, medium and few, then all."""
    latest = [run.latest for run in runs]
    lines = [
        ClassLine(group, None, tuple(row.groups.get(group) if row else None for row in latest)) for group in GROUPS
    ]
    return [*lines, ClassLine("all", None, tuple(row.accuracy_mean if row else None for row in latest))]


@dataclass(frozen=True)
class Difference:
    """A setting that is not the same in all runs, as each of them has it; None where settings cannot be read."""

    key: str
    values: tuple[str | None, ...]


def differing_settings(runs: Sequence[ComparedRun]) -> list[Difference]:
    """The settings that are not the same in all runs whose settings can be read, in their usual order."""
    settings = [run.view.settings for run in runs]
    values_by_run = [flat(one.model_dump(mode="json")) if one else {} for one in settings]
    # What is published for a cell is no setting of the run.
    keys = [key for key in leaves() if not key.startswith("expected.")]
    differences = [
        Difference(key, tuple(text_of(values[key]) if key in values else None for values in values_by_run))
        for key in keys
    ]
    return [difference for difference in differences if len(set(difference.values) - {None}) > 1]


def text_of(value: Any) -> str:
    """A setting's value as tables show it."""
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class PooledClass:
    """A class over several test folds: `accuracy` in percent on all `tested` images, each of which is in one fold."""

    name: str
    group: str
    accuracy: float
    tested: int


@dataclass(frozen=True)
class SeedMean:
    """Runs that differ in nothing but their seed, or the test fold: the mean of their final accuracies over seeds.

    `std` is the sample standard deviation, None of a single seed. Folds are not averaged but pooled, since the few
    images of one class are not spread evenly over them: `folds` of `of_folds` test folds, and every class over these.
    Seeds that do not all have the same folds were tested on different images: their runs are pooled as of one seed.
    `labels` is the label regime.
    """

    tags: str
    labels: str
    mean: float
    std: float | None
    folds: int = 0
    of_folds: int | None = None
    classes: tuple[PooledClass, ...] = ()

    @property
    def groups(self) -> dict[str, float | None]:
        """Pooled accuracy of the many, medium and few-shot classes."""
        return group_means([one.accuracy for one in self.classes], [one.group for one in self.classes])


def seed_groups(runs: Sequence[ComparedRun]) -> list[list[ComparedRun]]:
    """The runs whose settings can be read, by regime; those that differ in seed or test fold alone are together."""
    by_settings: dict[tuple[str, str], list[ComparedRun]] = {}
    for run in chain.from_iterable(run.by_regime() for run in runs):
        if settings := run.view.settings:
            others = settings.model_dump_json(exclude={"seed": True, "expected": True, "dataset": {"test_fold"}})
            by_settings.setdefault((others, run.labels), []).append(run)
    return [*by_settings.values()]


def seed_means(runs: Sequence[ComparedRun]) -> list[SeedMean]:
    """One for every two or more finished runs of the same settings and different seeds or test folds, by regime."""
    finished = ([run for run in alike if "final" in run.rows] for alike in seed_groups(runs))
    return [mean for alike in finished if (mean := seed_mean(alike)) is not None]


# ---- The comparison as text for a paper or a spreadsheet. ----

# What of a compared run is a column, by its title.
SETS = {"final": "final", "best": "best", "start": "initialization", "random": "random"}


def comparison_as(form: TableFormat, runs: Sequence[ComparedRun]) -> str:
    """The figures of compared runs, and their accuracy by class from head to tail, as text.

    A row for each run, and for each of its label regimes where a run has another than `stored`. Where random images of
    one have a teacher's labels, a column tells who labelled them.
    """
    labels = ("labels",) if any(run.regimes for run in runs) else ()
    runs = [own for run in runs for own in run.by_regime()]
    column = f"random{'_' if form == 'csv' else ' '}labels"
    by_whom = (column,) if any(run.random_labels == "teacher" for run in runs) else ()
    classes = [line for line in compared_classes(runs) if any(value is not None for value in line.values)]
    titles: tuple[str, ...]
    if form == "csv":
        by_set = tuple(title for name in SETS for title in (f"{name}_mean", f"{name}_std"))
        titles = ("run", *labels, *by_set, *by_whom, *GROUPS, "published", *(f"class:{line.name}" for line in classes))
    else:
        titles = ("run", *labels, *SETS, *by_whom, *GROUPS, "published", *(line.name for line in classes))
    rows: list[tuple[Cell, ...]] = []
    for place, run in enumerate(runs):
        sets = [run.latest if name == "final" else run.rows.get(row) for name, row in SETS.items()]
        groups = [run.latest.groups.get(group) if run.latest else None for group in GROUPS]
        numbers = [*groups, run.published, *(line.values[place] for line in classes)]
        named = (run.name, run.labels) if labels else (run.name,)
        labelled = [run.random_labels] if by_whom else []
        if form == "csv":
            spreads = [
                cell for row in sets for cell in ((row.accuracy_mean, row.accuracy_std) if row else (None, None))
            ]
            rows.append((*named, *spreads, *labelled, *numbers))
        else:
            rows.append((*named, *map(_spread, sets), *labelled, *map(percent, numbers)))
    table = Table(titles, tuple(rows))
    return table.as_csv() if form == "csv" else table.as_markdown()


def _spread(row: Row | None) -> str:
    return mean_and_std(row.accuracy_mean, row.accuracy_std, row.repeats) if row else "-"


def seed_mean(runs: Sequence[ComparedRun], label: str = "final") -> SeedMean | None:
    """The mean of one figure over runs that have it and differ in seed or test fold alone; None of a single run."""
    # A seed counts once, also where two runs have it; and so does a fold of a seed.
    by_seed: dict[int, dict[int, list[ComparedRun]]] = {}
    for run in runs:
        assert run.view.settings is not None
        by_fold = by_seed.setdefault(run.view.settings.seed, {})
        by_fold.setdefault(run.view.settings.dataset.test_fold, []).append(run)
    if sum(map(len, by_seed.values())) < 2:
        return None
    folds: dict[int, list[ComparedRun]] = {}
    for fold, same in chain.from_iterable(by_fold.items() for by_fold in by_seed.values()):
        folds.setdefault(fold, []).extend(same)
    if any(by_fold.keys() != folds.keys() for by_fold in by_seed.values()):
        by_seed = {0: folds}
    classes: tuple[PooledClass, ...] = ()
    pooled = [_pooled(by_fold, label) for by_fold in by_seed.values()] if len(folds) > 1 else []
    # An older run may not say how many test images a class has.
    if pooled and all(pooled):
        accuracies = [statistics.fmean(one.accuracy for one in of_seed) for of_seed in pooled]
        by_name: dict[str, list[PooledClass]] = {}
        for one in chain.from_iterable(pooled):
            by_name.setdefault(one.name, []).append(one)
        classes = tuple(
            replace(same[0], accuracy=statistics.fmean(one.accuracy for one in same)) for same in by_name.values()
        )
    else:
        accuracies = [
            statistics.fmean(run.rows[label].accuracy_mean for same in by_fold.values() for run in same)
            for by_fold in by_seed.values()
        ]
    settings = runs[0].view.settings
    return SeedMean(
        "".join(sorted(run.tag for run in runs)),
        runs[0].labels,
        statistics.fmean(accuracies),
        statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        len(folds) if classes else 0,
        settings.dataset.test_folds if settings else None,
        classes,
    )


def _pooled(by_fold: Mapping[int, Sequence[ComparedRun]], label: str) -> list[PooledClass]:
    """Every class over the folds of one seed, in the order of the data."""
    groups: dict[str, str] = {}
    right: dict[str, float] = {}
    tested: dict[str, int] = {}
    for same in by_fold.values():
        for place, run in enumerate(same):
            data = run.view.state.data
            if data is None:
                continue
            accuracies = dict(zip(data.class_names, run.rows[label].per_class, strict=False))
            for name, group, count in zip(data.class_names, data.groups, data.test_counts, strict=False):
                groups.setdefault(name, group)
                right[name] = right.get(name, 0.0) + (accuracies.get(name) or 0.0) * count / len(same)
                tested[name] = tested.get(name, 0) + (count if place == 0 else 0)
    return [PooledClass(name, groups[name], right[name] / n, n) for name, n in tested.items() if n]
