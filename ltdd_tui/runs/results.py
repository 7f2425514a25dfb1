"""Results of one run: what of its metrics.json is sound, and a summary of it for the preview beside the list."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.run.errors import Fault
from engine.run.folder import RunFolder
from engine.run.metrics import Figures, readable_metrics, sound_metrics
from engine.run.settings import RunSettings
from ltdd_tui.formatting import factor_name, mean_and_std
from ltdd_tui.runs.figures import KINDS, Row, head_to_tail, is_sound, row_of, rows_from_state
from ltdd_tui.runs.live import LiveRun, read_settings

# ---------------------------------------------------------------------------------------------------------------------
# metrics.json, as far as it can be relied on: the file may come from elsewhere and hold anything at all


@dataclass(frozen=True)
class Measured:
    """Rows in the order of `result_table`; `faults` say what of the file cannot be shown, and is left out."""

    rows: tuple[Row, ...] = ()
    class_names: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    test_counts: tuple[int, ...] = ()
    ipc: int | None = None
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
    sound, faults = sound_metrics(metrics)
    experts, others = sound.experts or {}, sound.architectures or {}
    named: dict[str, Figures | None] = {"random": sound.random, "initialization": sound.initialization}
    named |= {f"{kind} experts": experts.get(kind) for kind in KINDS}
    named |= {"final": sound.final, "best": sound.best}
    named |= {f"final on {arch}": figures for arch, figures in others.items()}
    counts, tests = sound.class_counts or [], sound.test_counts or []
    return Measured(
        tuple(row_of(label, one, sound.repeats or 1) for label, one in named.items() if one and is_sound(one, tests)),
        tuple(sound.class_names or map(str, range(len(counts)))),
        tuple(counts),
        tuple(tests),
        sound.ipc if isinstance(sound.ipc, int) else None,
        sound.stage_seconds or {},
        (sound.estimated and sound.estimated.stage_seconds) or {},
        sound.expected.model_dump() if sound.expected else None,
        tuple(faults),
    )


# ---------------------------------------------------------------------------------------------------------------------
# The summary of a run

CONSOLE_LINES = 6


@dataclass(frozen=True)
class RunSummary:
    """Summary of one run for the preview pane: results, key settings, how it ended.

    `head_to_tail` is the accuracy by class, the largest class first. `settings` is None where config.yaml cannot be
    read; `faults` then say why, or why the run failed. `console` holds the last lines of a worker that crashed.
    """

    rows: tuple[Row, ...] = ()
    head_to_tail: tuple[float, ...] = ()
    settings: RunSettings | None = None
    faults: tuple[Fault, ...] = ()
    console: tuple[str, ...] = ()
    seconds: float | None = None


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
            settings, faults = read_settings(self.folder.config)
            # The figures of a finished run stand in one small file: no need to replay a hundred thousand events.
            if (metrics := readable_metrics(self.folder)) and not self.folder.is_running():
                self.summary = _from_metrics(metrics, settings, faults)
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


def _from_metrics(metrics: Mapping[str, Any], settings: RunSettings | None, faults: tuple[Fault, ...]) -> RunSummary:
    results = measured(metrics)
    by_class = _head_to_tail(results.rows, results.class_counts)
    seconds = sum(results.stage_seconds.values())
    return RunSummary(results.rows, by_class, settings, faults + results.faults, seconds=seconds or None)


def _from_events(live: LiveRun, settings: RunSettings | None, faults: tuple[Fault, ...]) -> RunSummary:
    state = live.view.state
    rows = rows_from_state(state)
    failures = tuple(Fault(failure.what, failure.where, failure.hint) for failure in state.failures)
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
    if settings.traits.matches_trajectories:
        lines += [
            ("experts", f"{experts.num_experts} of {experts.epochs} epochs, {experts.network}"),
            ("matching", f"{matching.iterations:,} iterations of {matching.syn_steps} steps"),
            ("start epochs", f"{matching.min_start_epoch} to {matching.max_start_epoch - 1}"),
            ("step sizes", f"images {matching.image_lr:g}, labels {matching.label_lr:g}"),
        ]
    networks = f"{settings.evaluate.repeats} of {settings.evaluate.epochs:,} epochs"
    return [*lines, ("evaluation", f"{networks}, {', '.join(settings.evaluate.arch)}")]


def known_networks(folder: RunFolder) -> tuple[dict[str, str], int]:
    """The final figures that there are, by network, and how many networks a figure of this run stands for."""
    reader = RunSummaryReader(folder)
    reader.read()
    settings = reader.summary.settings
    first = settings.evaluate.arch[0] if settings else "convnet"
    known = {}
    for row in reader.summary.rows:
        if row.label.startswith("final"):
            arch = first if row.label == "final" else row.label.removeprefix("final on ")
            known[arch] = mean_and_std(row.accuracy_mean, row.accuracy_std, row.repeats)
    return known, settings.evaluate.repeats if settings else 5


def figures_of(folder: RunFolder, archs: Sequence[str]) -> str:
    """The figures of these networks in a line, or that of the first one."""
    known, _ = known_networks(folder)
    wanted = [arch for arch in archs if arch in known] or list(known)[:1]
    return ", ".join(f"{arch} {known[arch]} %" for arch in wanted) or "done"
