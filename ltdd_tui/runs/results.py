"""Results of one run: what of its metrics.json is sound, and a summary of it for the preview beside the list."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.run.errors import Fault, SettingsError
from engine.run.events import BOUND, SELECTION
from engine.run.folder import RunFolder
from engine.run.metrics import Figures, TeacherFigures, readable_metrics, sound_metrics
from engine.run.recipes import EvaluateSettings
from engine.run.settings import RunSettings
from engine.sweep.cells import SweepFolder
from engine.sweep.grid import read_grid
from ltdd_tui.formatting import factor_name, mean_and_std
from ltdd_tui.runs.figures import KINDS, head_to_tail
from ltdd_tui.runs.live import LiveRun, read_settings
from ltdd_tui.runs.rows import Row, final_with_stored_labels, is_sound, row_of, rows_from_state, stored_text
from ltdd_tui.runs.state import first_and_others, lost_result

# ---------------------------------------------------------------------------------------------------------------------
# metrics.json, as far as it can be relied on: the file may come from elsewhere and hold anything at all


@dataclass(frozen=True)
class Measured:
    """Rows in the order of `result_table`; `faults` say what of the file cannot be shown, and is left out.

    `stored` is what the set takes on disk, in words; `verdict` what a person should use.
    """

    rows: tuple[Row, ...] = ()
    class_names: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    test_counts: tuple[int, ...] = ()
    ipc: int | None = None
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    estimated_seconds: Mapping[str, float] = field(default_factory=dict)
    expected: Mapping[str, Any] | None = None
    faults: tuple[Fault, ...] = ()
    stored: str = ""
    verdict: str = ""

    @property
    def final(self) -> float | None:
        """The final accuracy with stored labels, in percent: what publications of the method report."""
        return final_with_stored_labels(self.rows)


def measured(metrics: Mapping[str, Any]) -> Measured:
    """All that is sound in a metrics.json; never raises."""
    sound, faults = sound_metrics(metrics)
    experts, others = sound.experts or {}, sound.architectures or {}
    first = str(sound.labels or "stored")
    named: list[tuple[str, str, Figures | None]] = [
        ("random", first, sound.random),
        ("initialization", first, sound.initialization),
        *((f"{kind} experts", "", experts.get(kind)) for kind in KINDS),
        ("teacher", "", sound.teacher),
        ("mean of teacher", "", _mean_logits(sound.teacher)),
        ("final", first, sound.final),
        ("best", first, sound.best),
        *((f"final on {arch}", first, figures) for arch, figures in others.items()),
    ]
    regimes = sound.regimes or {}
    for labels in first_and_others([first, *regimes])[1:]:
        if regime := regimes.get(labels):
            named += [(name, labels, getattr(regime, name)) for name in ("random", "initialization", "final")]
            named += [(f"final on {arch}", labels, figures) for arch, figures in (regime.architectures or {}).items()]
    named += [(f"{SELECTION}{rule}", first, figures) for rule, figures in (sound.selections or {}).items()]
    named += [(f"{BOUND}{loss}".replace("_", " "), "", figures) for loss, figures in (sound.bounds or {}).items()]
    counts, tests = sound.class_counts or [], sound.test_counts or []
    return Measured(
        tuple(
            row_of(label, one, sound.repeats or 1, labels)
            for label, labels, one in named
            if one and is_sound(one, tests)
        ),
        tuple(sound.class_names or map(str, range(len(counts)))),
        tuple(counts),
        tuple(tests),
        sound.ipc if isinstance(sound.ipc, int) else None,
        sound.stage_seconds or {},
        (sound.estimated and sound.estimated.stage_seconds) or {},
        sound.expected.model_dump() if sound.expected else None,
        tuple(faults),
        stored_text(sound),
        sound.verdict.sentence if sound.verdict else "",
    )


# ---------------------------------------------------------------------------------------------------------------------
# The summary of a run

CONSOLE_LINES = 6


def _mean_logits(teacher: TeacherFigures | None) -> Figures | None:
    """The figures of the logits that label images, where they are not those of a single network."""
    adjusted = teacher is not None and (teacher.tau is not None or (teacher.repeats or 1) > 1)
    return teacher.mean_logits if teacher and adjusted else None


@dataclass(frozen=True)
class RunSummary:
    """Summary of one run for the preview pane: results, key settings, how it ended.

    `head_to_tail` is the accuracy by class, the largest class first. `settings` is None where config.yaml cannot be
    read; `faults` then say why, or why the run failed. `console` holds the last lines of a worker that crashed. `grid`
    are the keys of a sweep with their values, which has nothing else here. `verdict` is what a person should use.
    """

    rows: tuple[Row, ...] = ()
    head_to_tail: tuple[float, ...] = ()
    settings: RunSettings | None = None
    faults: tuple[Fault, ...] = ()
    console: tuple[str, ...] = ()
    seconds: float | None = None
    stored: str = ""
    grid: tuple[tuple[str, str], ...] = ()
    verdict: str = ""


class RunSummaryReader:
    """Reads the summary of one run; `read` may be called from a thread, a little at a time, and again later."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.summary = RunSummary()
        self._live: LiveRun | None = None
        # A screen that gives up waiting for one read may begin another before the first is over.
        self._reading = threading.Lock()

    def read(self) -> bool:
        """Takes in what is new for a moment; returns whether that was all."""
        with self._reading:
            if (sweep := SweepFolder(self.folder.root)).exists():
                self.summary = _from_grid(sweep)
                return True
            settings, faults = read_settings(self.folder.config)
            # The figures of a finished run stand in one small file: no need to replay a hundred thousand events.
            if not self.folder.is_running() and (metrics := readable_metrics(self.folder)):
                damage = self.folder.damaged_result() or lost_result(self.folder)
                self.summary = _from_metrics(metrics, settings, (*faults, damage) if damage else faults)
                return True
            self._live = self._live or LiveRun(self.folder)
            try:
                caught_up = self._live.read()
            except OSError as error:
                faults = (*faults, Fault(str(error.strerror), "events.jsonl"))
                self.summary = RunSummary(settings=settings, faults=faults)
                return True
            if caught_up:
                self.summary = _from_events(self._live, settings, faults)
            return caught_up


def _from_grid(folder: SweepFolder) -> RunSummary:
    try:
        grid = read_grid(folder.file)
    except SettingsError as error:
        return RunSummary(faults=tuple(error.faults))
    return RunSummary(grid=tuple((key.rpartition(".")[2], ", ".join(map(str, values))) for key, values in grid.items()))


def _from_metrics(metrics: Mapping[str, Any], settings: RunSettings | None, faults: tuple[Fault, ...]) -> RunSummary:
    results = measured(metrics)
    by_class = _head_to_tail(results.rows, results.class_counts)
    seconds = sum(results.stage_seconds.values())
    faults += results.faults
    return RunSummary(
        results.rows, by_class, settings, faults, (), seconds or None, results.stored, verdict=results.verdict
    )


def _from_events(live: LiveRun, settings: RunSettings | None, faults: tuple[Fault, ...]) -> RunSummary:
    state = live.view.state
    rows = rows_from_state(state)
    failures = tuple(Fault(failure.what, failure.where, failure.hint) for failure in state.failures)
    failures += (live.view.damage,) if live.view.damage else ()
    by_class = _head_to_tail(rows, state.data.class_counts if state.data else [])
    console = live.view.console[-CONSOLE_LINES:] if state.status == "crashed" else ()
    seconds = sum(stage.elapsed(state.last_seconds or 0.0) for stage in state.stages.by_name.values())
    return RunSummary(tuple(rows), by_class, settings, faults + failures, console, seconds or None)


def _head_to_tail(rows: Sequence[Row], counts: Sequence[int]) -> tuple[float, ...]:
    """Accuracy by class of the latest set, the largest class first; 0 for a class without test images."""
    latest = next((row for row in rows if row.label in ("final", "last check")), None)
    if latest is None or len(latest.per_class) != len(counts):
        return ()
    return tuple(latest.per_class[place] or 0.0 for place in head_to_tail(counts))


def settings_lines(settings: RunSettings) -> list[tuple[str, str]]:
    """The settings that tell runs apart, each with its name, in the order of the stages."""
    dataset, experts, matching = settings.dataset, settings.experts, settings.matching
    lines = [
        ("data set", f"{dataset.name}, IF {factor_name(dataset.imbalance_factor)}"),
        ("IPC", str(settings.ipc)),
        ("method", settings.method),
        ("seed", str(settings.seed)),
    ]
    if (side := settings.initialize.partition) > 1:
        lines.append(("mini-images", f"{side} x {side} in each image"))
    if settings.traits.matches_distributions:
        lines.append(("matching", f"{matching.iterations:,} iterations, images {settings.image_lr:g}"))
    if settings.traits.matches_trajectories:
        lines += [
            ("experts", f"{experts.num_experts} of {experts.epochs} epochs, {experts.network}"),
            ("matching", f"{matching.iterations:,} iterations of {matching.syn_steps} steps"),
            ("start epochs", f"{matching.min_start_epoch} to {matching.max_start_epoch - 1}"),
            ("step sizes", f"images {matching.image_lr:g}, labels {matching.label_lr:g}"),
        ]
    networks = f"{settings.evaluate.repeats} of {settings.evaluate.epochs:,} epochs"
    lines.append(("evaluation", f"{networks}, {', '.join(settings.evaluate.arch)}"))
    labels = settings.evaluate.labels
    return lines if labels == ("stored",) else [*lines, ("labels", ", ".join(labels))]


@dataclass(frozen=True)
class FinalFigures:
    """The final figures of a run, as they are written, and over how many networks its figures are.

    `by_network` are those of the run's first label regime, `by_regime` those on its first network; `both` are all, by
    regime and network.
    """

    both: Mapping[tuple[str, str], str]
    first_network: str
    first_regime: str
    repeats: int

    @property
    def by_network(self) -> dict[str, str]:
        return {arch: figure for (labels, arch), figure in self.both.items() if labels == self.first_regime}

    @property
    def by_regime(self) -> dict[str, str]:
        return {labels: figure for (labels, arch), figure in self.both.items() if arch == self.first_network}

    def told(self, archs: Sequence[str], regimes: Sequence[str]) -> str:
        """The figures of these networks in these label regimes in a line, or the first one."""
        wanted = {
            (labels, arch): self.both[labels, arch]
            for labels in regimes or [self.first_regime]
            for arch in archs
            if (labels, arch) in self.both
        } or dict(list(self.both.items())[:1])
        named = {labels for labels, _ in self.both} != {"stored"}
        parts = (f"{arch} {figure} %" + f" ({labels})" * named for (labels, arch), figure in wanted.items())
        return ", ".join(parts) or "done"


def final_figures(folder: RunFolder) -> FinalFigures:
    """The final figures that there are."""
    reader = RunSummaryReader(folder)
    reader.read()
    evaluate = reader.summary.settings.evaluate if reader.summary.settings else EvaluateSettings()
    rows = [row for row in reader.summary.rows if row.label.startswith("final")]
    return FinalFigures(
        {
            (row.labels, row.label.removeprefix("final").removeprefix(" on ") or evaluate.arch[0]): mean_and_std(
                row.accuracy_mean, row.accuracy_std, row.repeats
            )
            for row in rows
        },
        evaluate.arch[0],
        rows[0].labels if rows else evaluate.labels[0],
        evaluate.repeats,
    )
