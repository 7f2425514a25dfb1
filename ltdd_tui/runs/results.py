"""The figures of a run as rows of one table, from its state as far as it has come."""

from __future__ import annotations

import contextlib
import json
import statistics
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from engine.run.errors import Fault, SettingsError
from engine.run.events import Evaluated, ExpertDone
from engine.run.folder import RunFolder
from engine.run.presets import load_preset
from engine.run.settings import RunSettings
from ltdd_tui.formatting import duration, factor_name, mean_and_std
from ltdd_tui.runs.console import since_start
from ltdd_tui.runs.figures import GROUPS, KINDS, are_percents, head_to_tail
from ltdd_tui.runs.live import LiveRun
from ltdd_tui.runs.state import RunState


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
        kind: [done for done in state.done_experts(kind) if are_percents(done.accuracy, *done.per_class)]
        for kind in KINDS
    }
    rows = [_evaluated(subject, event) for subject in ("random", "initialization") for event in _of(found, subject)]
    rows += [_experts(f"{kind} experts", trained[kind], state) for kind in KINDS if trained[kind]]
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


# What metrics.json tells, as far as it can be relied on: the file may come from elsewhere and hold anything at all.


Percent = Annotated[float, Field(ge=0, le=100)]
Seconds = Annotated[float, Field(ge=0, le=1e10)]
Count = Annotated[int, Field(ge=0, le=10**9)]
STRICT = ConfigDict(strict=True)
Found = TypeVar("Found")


class _Figures(BaseModel):
    """One set under the recipe; an accuracy that is not finite was written as null."""

    model_config = STRICT
    accuracy_mean: Percent | None
    accuracy_std: Percent | None
    repeats: Count | None = None
    per_class: list[Percent | None]
    groups: dict[str, Percent | None]
    iteration: Count | None = None


class _Expected(BaseModel):
    """What a publication reports."""

    model_config = STRICT
    accuracy: Percent
    source: str
    note: str | None = None


FIGURES, EXPECTED = TypeAdapter(_Figures), TypeAdapter(_Expected)
COUNT, COUNTS = TypeAdapter(Count, config=STRICT), TypeAdapter(list[Count], config=STRICT)
NAMES, SECONDS = TypeAdapter(list[str], config=STRICT), TypeAdapter(dict[str, Seconds], config=STRICT)


@dataclass(frozen=True)
class Measured:
    """Rows in the order of `result_table`; `faults` say what of the file cannot be shown, and is left out."""

    rows: tuple[Row, ...] = ()
    class_names: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    estimated_seconds: Mapping[str, float] = field(default_factory=dict)
    expected: Mapping[str, Any] | None = None
    faults: tuple[Fault, ...] = ()

    @property
    def final(self) -> float | None:
        """The final accuracy, in percent."""
        return next((row.accuracy_mean for row in self.rows if row.label == "final"), None)


def measured(metrics: Mapping[str, Any]) -> Measured:
    """All that is sound in a metrics.json; never raises."""
    reader = _Reader()
    repeats = reader.take(COUNT, metrics, "repeats") or 1
    figures = [(label, reader.take(FIGURES, holder, *path)) for label, holder, path in _sets(metrics)]
    expected = reader.take(EXPECTED, metrics, "expected")
    counts = reader.take(COUNTS, metrics, "class_counts") or []
    names = reader.take(NAMES, metrics, "class_names")
    seconds = [reader.take(SECONDS, metrics, *path) for path in (("stage_seconds",), ("estimated", "stage_seconds"))]
    return Measured(
        tuple(_row(label, found, repeats) for label, found in figures if found and _is_known(found)),
        tuple(names or map(str, range(len(counts)))),
        tuple(counts),
        seconds[0] or {},
        seconds[1] or {},
        expected.model_dump() if expected else None,
        tuple(reader.faults),
    )


def _sets(metrics: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], tuple[str, ...]]]:
    """The label of each set, and where its figures stand: random, initialization, the experts, final, best, others."""
    yield "random", metrics, ("random",)
    yield "initialization", metrics, ("initialization",)
    for kind in ("representation", "classifier"):
        yield f"{kind} experts", metrics, ("experts", kind)
    yield "final", metrics, ("final",)
    yield "best", metrics, ("best",)
    others = metrics.get("architectures")
    for arch in others if isinstance(others, dict) else ():
        yield f"final on {arch}", metrics, ("architectures", arch)


class _Reader:
    """Takes out of a mapping what is sound, and notes what is not."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def take(self, kind: TypeAdapter[Found], holder: Any, *path: str) -> Found | None:
        """What stands at a path, None where there is nothing, or nothing of that kind."""
        for name in path:
            if holder is None:
                return None
            if not isinstance(holder, dict):
                self._note("this is no mapping", path[: path.index(name)])
                return None
            holder = holder.get(name)
        if holder is None:
            return None
        try:
            return kind.validate_python(holder)
        except ValidationError as error:
            first = error.errors()[0]
            said = first["msg"][0].lower() + first["msg"][1:]
            what = "this is no mapping" if first["type"] == "model_type" else said
            self._note(what, (*path, *map(str, first["loc"])))
            return None

    def _note(self, what: str, path: tuple[str, ...]) -> None:
        fault = Fault(what, f"metrics.json: {'.'.join(path)}")
        if fault not in self.faults:
            self.faults.append(fault)


def _is_known(found: _Figures) -> bool:
    return are_percents(found.accuracy_mean, found.accuracy_std, *found.per_class)


def _row(label: str, found: _Figures, repeats: int) -> Row:
    assert found.accuracy_mean is not None and found.accuracy_std is not None
    return Row(
        label,
        found.accuracy_mean,
        found.accuracy_std,
        found.repeats or repeats,
        [value for value in found.per_class if value is not None],
        found.groups,
        found.iteration,
    )


def readable_metrics(folder: RunFolder) -> dict[str, Any]:
    """The metrics of a finished run; empty where there are none, or where they are damaged."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(folder.metrics.read_text())
        return found if isinstance(found, dict) and _is_figure(found.get("final")) else {}
    return {}


def _is_figure(final: Any) -> bool:
    """Whether a list can show it; a figure that is not finite was written as null."""
    if not isinstance(final, dict):
        return False
    figures = [final.get(key) for key in ("accuracy_mean", "accuracy_std")]
    return all(value is None or (isinstance(value, float | int) and are_percents(value)) for value in figures)


# What a glance at a run tells beside the list: its figures, its settings, and why it ended as it did.


CONSOLE_LINES = 6


@dataclass(frozen=True)
class RunSummary:
    """The figures of a run, its accuracy by class from head to tail, and what to know of its end.

    `settings` is None where config.yaml cannot be read; `faults` then say why, or why the run failed. `console` holds
    the worker's last lines where it went away without a word.
    """

    rows: tuple[Row, ...] = ()
    head_to_tail: tuple[float, ...] = ()
    settings: RunSettings | None = None
    faults: tuple[Fault, ...] = ()
    console: tuple[str, ...] = ()
    seconds: float | None = None


class RunSummaryReader:
    """Reads one run for a glance; `read` may be called from a thread, a little at a time, and again when it went on."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.glance = RunSummary()
        self._live: LiveRun | None = None
        self._reading = threading.Lock()

    def read(self) -> bool:
        """Takes in what is new for a moment; returns whether that was all."""
        # A screen that gives up waiting for one read may begin another before the first is over.
        with self._reading:
            return self._read()

    def _read(self) -> bool:
        settings, faults = _settings(self.folder)
        # The figures of a finished run stand in one small file; no need to replay a hundred thousand events.
        if (metrics := readable_metrics(self.folder)) and not self.folder.is_running():
            self.glance = _from_metrics(metrics, settings, faults)
            return True
        self._live = self._live or LiveRun(self.folder)
        try:
            caught_up = self._live.read()
        except OSError as error:
            self.glance = RunSummary(settings=settings, faults=(*faults, Fault(str(error.strerror), "events.jsonl")))
            return True
        if caught_up:
            self.glance = self._from_events(self._live, settings, faults)
        return caught_up

    def _from_events(self, live: LiveRun, settings: RunSettings | None, faults: tuple[Fault, ...]) -> RunSummary:
        state = live.view.state
        rows = rows_from_state(state)
        failures = tuple(Fault(broke.what, broke.where, broke.hint) for broke in state.failures)
        console = since_start(live.view.console)[-CONSOLE_LINES:] if state.status == "crashed" else ()
        counts = state.data.class_counts if state.data else []
        seconds = sum(stage.elapsed(state.last_seconds or 0.0) for stage in state.stages.by_name.values())
        return RunSummary(
            tuple(rows), _head_to_tail(rows, counts), settings, faults + failures, console, seconds or None
        )


def _settings(folder: RunFolder) -> tuple[RunSettings | None, tuple[Fault, ...]]:
    try:
        return load_preset(str(folder.config)), ()
    except SettingsError as error:
        return None, tuple(error.faults)
    except OSError as error:
        return None, (Fault(f"{error.strerror}", str(folder.config)),)


def _from_metrics(metrics: Mapping[str, Any], settings: RunSettings | None, faults: tuple[Fault, ...]) -> RunSummary:
    found = measured(metrics)
    by_class = _head_to_tail(found.rows, found.class_counts)
    seconds = sum(found.stage_seconds.values())
    return RunSummary(found.rows, by_class, settings, faults + found.faults, seconds=seconds or None)


def _head_to_tail(rows: Sequence[Row], counts: Sequence[int]) -> tuple[float, ...]:
    """Accuracy by class of the latest set, the largest class first."""
    own = [row for row in rows if row.label in ("final", "last check")]
    if not own or len(own[0].per_class) != len(counts):
        return ()
    return tuple(own[0].per_class[place] for place in head_to_tail(counts))


def settings_lines(settings: RunSettings) -> list[tuple[str, str]]:
    """The settings that tell runs apart, each with its name, in the order of the stages."""
    dataset, experts, matching = settings.dataset, settings.experts, settings.matching
    lines = [
        ("data set", f"{dataset.name}, IF {factor_name(dataset.imbalance_factor)}"),
        ("IPC", str(settings.ipc)),
        ("method", settings.method),
        ("seed", str(settings.seed)),
    ]
    if settings.traits.distills:
        lines += [
            ("experts", f"{experts.num_experts} of {experts.epochs} epochs, {experts.network}"),
            ("matching", f"{matching.iterations:,} iterations of {matching.syn_steps} steps"),
            ("start epochs", f"{matching.min_start_epoch} to {matching.max_start_epoch - 1}"),
            ("step sizes", f"images {matching.image_lr:g}, labels {matching.label_lr:g}"),
        ]
    networks = f"{settings.evaluate.repeats} of {settings.evaluate.epochs:,} epochs"
    return [*lines, ("evaluation", f"{networks}, {', '.join(settings.evaluate.arch)}")]


def published_line(glance: RunSummary) -> tuple[str, str] | None:
    """The published figure of the run's cell, and how far from it the run came; None where there is none."""
    if glance.settings is None or glance.settings.expected is None:
        return None
    expected = glance.settings.expected.accuracy
    final = next((row.accuracy_mean for row in glance.rows if row.label == "final"), None)
    return f"{expected:.1f}", "" if final is None else f"{final - expected:+.1f}"


def took(glance: RunSummary) -> str:
    """How long all stages worked, or nothing where that is not known."""
    return "" if glance.seconds is None else duration(glance.seconds)


def known_networks(folder: RunFolder) -> tuple[dict[str, str], int]:
    """The figures that there are, by network, and how many networks a figure of this run stands for."""
    glancer = RunSummaryReader(folder)
    glancer.read()
    settings = glancer.glance.settings
    first = settings.evaluate.arch[0] if settings else "convnet"
    known = {
        first if row.label == "final" else row.label.removeprefix("final on "): mean_and_std(
            row.accuracy_mean, row.accuracy_std, row.repeats
        )
        for row in glancer.glance.rows
        if row.label.startswith("final")
    }
    return known, settings.evaluate.repeats if settings else 5


def figures_of(folder: RunFolder, archs: Sequence[str]) -> str:
    """The figures of these networks in a line, or that of the first one."""
    known, _ = known_networks(folder)
    wanted = [arch for arch in archs if arch in known] or list(known)[:1]
    return ", ".join(f"{arch} {known[arch]} %" for arch in wanted) or "done"
