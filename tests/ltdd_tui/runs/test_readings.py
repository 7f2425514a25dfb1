"""Readings of a device: bounded however long a run is, evenly spread, and shown as small curves."""

from __future__ import annotations

from itertools import pairwise

from engine.run.events import DeviceReading, Stamped
from ltdd_tui.runs.readings import MOST, ReadingHistory
from ltdd_tui.runs.state import RunState, fold
from ltdd_tui.screens.run.details import use_lines


def reading(place: int) -> DeviceReading:
    return DeviceReading("cuda:0", 2.0, 80.0, float(place % 100), 1.5, 16.0, 50.0, 4.0)


def test_of_very_many_readings_evenly_spread_ones_are_kept() -> None:
    history = ReadingHistory()
    for place in range(10 * MOST):
        history.append(DeviceReading("cpu", 1.0, 16.0, float(place)))
    places = history.values("cpu_percent")
    assert MOST // 2 < len(places) <= MOST and history.stride == 16
    assert {int(b - a) for a, b in pairwise(places)} == {16}


def test_a_snapshot_does_not_see_later_readings() -> None:
    state = RunState()
    state.apply(Stamped(0, 0.0, reading(1)))
    before = state.snapshot()
    state.apply(Stamped(1, 1.0, reading(2)))
    assert (before.readings.count, state.readings.count) == (1, 2)


def test_each_figure_has_its_value_and_its_course() -> None:
    state = fold(RunState(), [Stamped(place, 0.0, reading(place)) for place in range(100)])
    lines = [line.plain for line in use_lines(state, 60)]
    assert [line[:31].split() for line in lines] == [
        ["cpu", "99", "%"],
        ["ram", "1.5", "of", "16.0", "GiB"],
        ["gpu", "50", "%"],
        ["gpu", "memory", "4.0", "of", "80.0", "GiB"],
    ]
    course = lines[0][31:]
    assert len(course) == 29 and course == "".join(sorted(course)) and course[-1] == "▇"
    assert {len(line) for line in lines} == {60}


def test_runs_that_did_not_say_it_show_nothing() -> None:
    state = fold(RunState(), [Stamped(0, 0.0, DeviceReading("cpu", 1.0, 16.0))])
    assert list(use_lines(state, 60)) == [] and list(use_lines(RunState(), 60)) == []
