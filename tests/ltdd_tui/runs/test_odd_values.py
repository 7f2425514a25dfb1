"""Whatever fits the types of an event's fields can be drawn: numbers that were not finite, empty lists, a loss of 0."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from engine.run.events import EVENT_TYPES
from engine.run.folder import RunFolder
from ltdd_tui.runs.comparison import compared_classes, compared_runs, group_lines
from ltdd_tui.runs.figures import checks, class_accuracies, expert_splits, norms_by_class
from ltdd_tui.runs.live import LiveRun
from ltdd_tui.runs.replay import as_of, frames
from ltdd_tui.runs.state import RunView
from ltdd_tui.screens.compare import panels
from ltdd_tui.screens.run.accuracy import class_lines, foot_lines
from ltdd_tui.screens.run.details import detail_lines
from ltdd_tui.screens.run.experts import expert_lines
from ltdd_tui.screens.run.header import headline, stage_line
from ltdd_tui.screens.run.log import log_lines
from ltdd_tui.screens.run.norms import norm_lines
from ltdd_tui.widgets.chart import ChartView, draw, line, whole
from tests.ltdd_tui.recorded import record

WIDTH, HEIGHT = 60, 12
ODD: dict[type, tuple[Any, ...]] = {float: (None, 0.0, 1e308), int: (2**53,), list: ([], None, 1e308)}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return record(tmp_path_factory.mktemp("odd") / "done", "done", 3)


def odd_lines(lines: list[dict[str, Any]], kind: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The events with one field of all events of a kind replaced, for each field and each odd value of its type."""
    sample = next(one for one in lines if one["type"] == kind)
    for field in (field.name for field in fields(EVENT_TYPES[kind])):
        value = sample[field]
        for odd in ODD.get(type(value), ()):
            changed = [odd] * len(value) if isinstance(value, list) and odd != [] else odd
            yield f"{field}: {odd}", [one | {field: changed} if one["type"] == kind else one for one in lines]


def drawn(view: RunView, beside: RunView) -> None:
    state, now = view.state, view.state.last_seconds or 0.0
    curves = [line("rep", state.steps.iterations, state.steps.loss_rep, "red"), line("check", *checks(state), "red")]
    for curve in curves:
        if window := whole([curve]):
            draw([curve], [], ChartView(window, True, None), WIDTH, HEIGHT)
    list(class_lines(class_accuracies(state), WIDTH, HEIGHT))
    foot_lines(class_accuracies(state), WIDTH)
    list(expert_lines(expert_splits(state), WIDTH))
    norm_lines(norms_by_class(state), WIDTH, HEIGHT)
    log_lines(view.log, WIDTH)
    detail_lines(view, now, WIDTH)
    headline(view, now, WIDTH)
    stage_line(state, now, WIDTH)
    frames(state)
    runs = compared_runs([view, beside])
    compared = panels.Comparison(runs, ["red", "blue"], 1)
    panels.figures(compared, [], WIDTH)
    panels.classes(compared, compared_classes(runs), group_lines(runs), WIDTH)


KINDS = ["run_started", "data_ready", "expert_epoch", "expert_done", "matching_step", "evaluated", "initialized"]


@pytest.mark.parametrize("kind", [*KINDS, "stage_started", "stage_progress", "stage_done", "device_reading"])
def test_odd_values_are_drawn(done: RunFolder, tmp_path: Path, kind: str) -> None:
    lines = [json.loads(text) for text in done.events.read_text().splitlines()]
    beside = LiveRun(done)
    beside.read()
    for place, (what, odd) in enumerate(odd_lines(lines, kind)):
        live = LiveRun(RunFolder(tmp_path / str(place)))
        live.folder.root.mkdir()
        live.folder.events.write_text("".join(json.dumps(one) + "\n" for one in odd))
        while not live.read():
            pass
        try:
            drawn(live.view, beside.view)
            drawn(as_of(live.view, 1), beside.view)
        except Exception as error:
            raise AssertionError(f"{kind}.{what}") from error
