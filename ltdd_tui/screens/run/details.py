"""Details panel: the device, what made the run, its folder, and the time that each stage took."""

from __future__ import annotations

import time
from collections.abc import Iterator

from rich.cells import cell_len
from textual.content import Content

from ltdd_tui.formatting import duration, percent, stage_name
from ltdd_tui.runs.figures import number
from ltdd_tui.runs.state import RunState, RunView
from ltdd_tui.runs.verdict import comparison
from ltdd_tui.screens.panel import LinesPanel
from ltdd_tui.screens.run.header import clock, speed
from ltdd_tui.widgets.bars import cells, gauge, resampled
from ltdd_tui.widgets.lines import ACCENT, EMPTY, GOOD, MUTED, WARNING, fit, spread, wrapped

LABEL_CELLS, BAR_CELLS = 11, 12
SIGNS = {"done": ("✓", GOOD), "running": ("●", ACCENT), "interrupted": ("■", WARNING), "pending": ("·", MUTED)}


USES = (("cpu", "cpu_percent", ""), ("ram", "ram_gib", "ram_total_gib"))
USES_OF_GPU = (("gpu", "gpu_percent", ""), ("gpu memory", "gpu_memory_gib", "memory_total_gib"))
USE_CELLS = 20
# Not the whole cell, or the lines of two figures would touch.
HIGHEST = 8 / 7


def detail_lines(view: RunView, now: float, width: int) -> list[Content]:
    """Device, memory, what made the run, its folder, and the time of every stage."""
    lines: list[Content] = []
    for label, value in _facts(view, now):
        lines += wrapped(value, width, first=Content.styled(fit(label, LABEL_CELLS), MUTED))
        if label == "memory" and (reading := view.state.reading):
            room = max(0, min(BAR_CELLS, width - lines[-1].cell_length))
            lines[-1] += gauge(reading.memory_gib or 0.0, reading.memory_total_gib or 0.0, room, ACCENT)
            lines += use_lines(view.state, width)
    lines += _comparison_lines(view.state, width)
    return [*lines, EMPTY, *_stage_lines(view.state, now, width)] if view.state.stages.by_name else lines


def use_lines(state: RunState, width: int) -> Iterator[Content]:
    """How much of CPU, memory and GPU is in use, and its course since the start; empty for runs that did not say it."""
    for label, name, of in (*USES, *USES_OF_GPU):
        values = [number(value) for value in state.readings.values(name)]
        known = [value for value in values if value is not None]
        if not known:
            continue
        most = number(getattr(state.reading, of)) if of else 100.0
        value = f"{known[-1]:.1f} of {most or 0:.1f} GiB" if of else f"{known[-1]:.0f} %"
        cells_left = max(0, width - LABEL_CELLS - USE_CELLS)
        # Against its own highest value: against the total of a large machine it would be a flat line.
        (course,) = cells(resampled(values, cells_left), HIGHEST * max(known), 1)
        yield Content.assemble((fit(label, LABEL_CELLS), MUTED), fit(value, USE_CELLS), (course, ACCENT))


def _facts(view: RunView, now: float) -> Iterator[tuple[str, str]]:
    state, settings, manifest = view.state, view.settings, view.manifest
    reading, started = state.reading, state.started
    device = reading.device if reading else started.device if started else manifest.device
    named = manifest.device_name
    if device:
        yield "device", f"{device} ({named})" if named else device
    if reading and reading.memory_gib is not None:
        yield "memory", f"{reading.memory_gib:.1f} of {reading.memory_total_gib or 0:.1f} GiB at most "
    if pace := speed(state, now):
        yield "speed", pace
    if started:
        yield "network", f"{started.arch}, seed {started.seed}"
    if data := state.data:
        images = f"{sum(data.class_counts):,} images in {len(data.class_names)} classes"
        yield "data", f"{images}, distilled 1 : {data.compression_ratio or 0:.0f}; {data.grouping}"
    if settings and (expected := settings.expected):
        yield "published", f"{percent(expected.accuracy)} [{expected.source}]"
    if started:
        yield "settings", started.settings_hash
    if versions := manifest.versions:
        software = ", ".join(f"{name} {versions[name]}" for name in ("ltdd-tui", "torch") if name in versions)
        yield "software", software + (f", commit {manifest.commit[:7]}" if manifest.commit else "")
    yield from (("origins", told) for told in manifest.mixture())
    if state.first_seconds is not None:
        yield "started", time.strftime("%Y-%m-%d %H:%M", time.localtime(state.first_seconds))
    yield "folder", str(view.folder.root)
    if state.status == "done":
        yield "result", str(view.folder.result)
    if view.stored:
        yield "stored", view.stored


def _comparison_lines(state: RunState, width: int) -> Iterator[Content]:
    """What a person could train on, once the verdict on it is there: accuracy, seconds of a network, bytes."""
    rows = comparison(state)
    if not rows:
        return
    yield EMPTY
    widths = [max(map(cell_len, column)) + 2 for column in zip(*rows, strict=True)]
    while len(widths) > 2 and sum(widths) > width:  # the bytes are in the sentence too
        widths.pop()
    first = max(1, min(widths[0], width - sum(widths[1:])))
    for place, (name, *figures) in enumerate(rows):
        texts = [fit(text, wide, right=True) for text, wide in zip(figures, widths[1:], strict=False)]
        yield Content.assemble((fit(name, first), "" if place else MUTED), ("".join(texts), MUTED))


def _stage_lines(state: RunState, now: float, width: int) -> Iterator[Content]:
    for stage in state.stages.by_name.values():
        sign, style = SIGNS[stage.status]
        took = duration(stage.elapsed(clock(state, now))) if stage.status != "pending" else ""
        name = (stage_name(stage.name), MUTED if stage.status == "pending" else "")
        yield spread(Content.assemble((f"{sign} ", style), name), Content(took), min(width, 40))


class DetailsPanel(LinesPanel):
    """Device, settings, folder and stage times."""

    NAME = "details"
    NUMBER = "8"
    TITLE = "Device and run"
    SHOWS_TIME = True
    HELP = """\
The device and the most memory the worker has used on it. Below that, what is in use now and its course since the start:
`cpu` in percent of one core (800 % are eight busy cores), `ram` what the worker holds, `gpu` the share of time in which
the GPU worked, `gpu memory` what all its processes hold. Then the settings' hash (equal hashes: the same experiment),
the seed, what published work reports for this cell, the folder of the run, and what its result takes where it is kept.
Of a run with a verdict, what one could train on instead: the start, selections, random images, everything, each with
the networks behind the figure. Last the time each stage has worked; `y` copies the folder's path.
"""

    def show(self, view: RunView) -> None:
        # While a stage works, its seconds change by themselves.
        now = time.time() if view.state.status == "running" else 0.0
        if self.changed(view.state, view.settings, view.manifest, view.stored, int(now)):
            self.lines.draw(lambda width: detail_lines(view, now, width))
