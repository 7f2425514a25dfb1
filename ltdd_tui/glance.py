"""What a glance at a run tells beside the list: its figures, its settings, and why it ended as it did."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.run.errors import Fault, SettingsError
from engine.run.folder import RunFolder
from engine.run.presets import load_preset
from engine.run.settings import RunSettings
from ltdd_tui.console_marks import since_start
from ltdd_tui.live import LiveRun
from ltdd_tui.measured import measured
from ltdd_tui.results import Row, rows_from_state
from ltdd_tui.runs import readable_metrics
from ltdd_tui.standings import head_to_tail
from ltdd_tui.wording import duration, factor_name, mean_and_std

CONSOLE_LINES = 6


@dataclass(frozen=True)
class Glance:
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


class Glancer:
    """Reads one run for a glance; `read` may be called from a thread, a little at a time, and again when it went on."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.glance = Glance()
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
            self.glance = Glance(settings=settings, faults=(*faults, Fault(str(error.strerror), "events.jsonl")))
            return True
        if caught_up:
            self.glance = self._from_events(self._live, settings, faults)
        return caught_up

    def _from_events(self, live: LiveRun, settings: RunSettings | None, faults: tuple[Fault, ...]) -> Glance:
        state = live.view.state
        rows = rows_from_state(state)
        failures = tuple(Fault(broke.what, broke.where, broke.hint) for broke in state.failures)
        console = since_start(live.view.console)[-CONSOLE_LINES:] if state.status == "crashed" else ()
        counts = state.data.class_counts if state.data else []
        seconds = sum(stage.elapsed(state.last_seconds or 0.0) for stage in state.stages.by_name.values())
        return Glance(tuple(rows), _head_to_tail(rows, counts), settings, faults + failures, console, seconds or None)


def _settings(folder: RunFolder) -> tuple[RunSettings | None, tuple[Fault, ...]]:
    try:
        return load_preset(str(folder.config)), ()
    except SettingsError as error:
        return None, tuple(error.faults)
    except OSError as error:
        return None, (Fault(f"{error.strerror}", str(folder.config)),)


def _from_metrics(metrics: Mapping[str, Any], settings: RunSettings | None, faults: tuple[Fault, ...]) -> Glance:
    found = measured(metrics)
    by_class = _head_to_tail(found.rows, found.class_counts)
    seconds = sum(found.stage_seconds.values())
    return Glance(found.rows, by_class, settings, faults + found.faults, seconds=seconds or None)


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


def published_line(glance: Glance) -> tuple[str, str] | None:
    """The published figure of the run's cell, and how far from it the run came; None where there is none."""
    if glance.settings is None or glance.settings.expected is None:
        return None
    expected = glance.settings.expected.accuracy
    final = next((row.accuracy_mean for row in glance.rows if row.label == "final"), None)
    return f"{expected:.1f}", "" if final is None else f"{final - expected:+.1f}"


def took(glance: Glance) -> str:
    """How long all stages worked, or nothing where that is not known."""
    return "" if glance.seconds is None else duration(glance.seconds)


def known_networks(folder: RunFolder) -> tuple[dict[str, str], int]:
    """The figures that there are, by network, and how many networks a figure of this run stands for."""
    glancer = Glancer(folder)
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
