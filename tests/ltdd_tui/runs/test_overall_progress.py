"""The progress of a whole run: it never falls, names its stage, and every display says the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from engine.run import events as e
from engine.run.event_log import EventLog
from engine.run.folder import RunFolder
from ltdd_tui.runs.index import overview
from ltdd_tui.runs.live import LiveRun
from ltdd_tui.runs.messages import closing_line_of, progress_text, terminal_title
from ltdd_tui.runs.overall_progress import overall_progress
from ltdd_tui.runs.state import DISTILL, RunState, fold
from tests.ltdd_tui.recorded import COUNTS, STAGES, hold, let_go, record

ESTIMATED = {"data": 2.0, "experts": 40.0, "distill": 50.0, "evaluate": 8.0}


def started(resumed: bool = False, estimated: dict[str, float] | None = None) -> e.RunStarted:
    seconds = ESTIMATED if estimated is None else estimated
    cell = ("r", "ltdd", "digits", 50.0, 2, 0, "convnet", "cpu", STAGES, 20, "abc", 1)
    return e.RunStarted(*cell, resumed=resumed, estimated_seconds=seconds)


def stage(name: str, total: int, *events: e.Event) -> list[e.Event]:
    return [e.StageStarted(name, total, "units"), *events, e.StageDone(name, ESTIMATED.get(name, 0.0))]


def experts(group: int, count: int = 4, epochs: int = 3) -> Iterator[e.Event]:
    for first in range(0, count, group):
        members = range(first, first + group)
        for epoch in range(1, epochs + 1):
            yield from (e.ExpertEpoch("representation", expert, epoch, epochs, 1.0) for expert in members)
        for expert in members:
            yield e.ExpertDone("representation", expert, False, 50.0, [], [])
            yield e.StageProgress("experts", expert + 1, count)


def step(at: int) -> e.MatchingStep:
    return e.MatchingStep(at, 0.9, None, 0.01, 0.1)


def a_run(group: int = 1, again: bool = False) -> list[e.Event]:
    cached = [e.StageProgress("experts", expert + 1, 4) for expert in range(4)]
    data = stage("data", 1)
    begins = e.StageStarted("distill", 20, "iterations")
    evaluation = [e.StageProgress("evaluate", done, 3) for done in (1, 2, 3)]
    killed = [
        e.Checkpointed(10),
        step(11),
        step(12),
        started(resumed=True),
        *data,
        *stage("experts", 4, *cached),
        begins,
    ]
    return [
        started(),
        *data,
        *stage("experts", 4, *experts(group)),
        begins,
        *map(step, range(1, 11)),
        *(killed if again else []),
        *map(step, range(11, 21)),
        e.StageDone("distill", 50.0),
        *stage("evaluate", 3, *evaluation[:2], *([started(resumed=True), *data] if again else []), evaluation[2]),
        e.RunFinished(90.0, 1.0),
    ]


def states_after_each(events: Sequence[e.Event]) -> Iterator[RunState]:
    state = RunState()
    for seq, event in enumerate(events):
        state.apply(e.Stamped(seq, 1000.0 + seq, event))
        yield state.snapshot()


@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("estimated", [True, False])
def test_it_never_falls_whatever_happens(group: int, again: bool, estimated: bool) -> None:
    shares: list[float] = []
    for state in states_after_each(a_run(group, again)):
        assert state.started is not None
        if not estimated:
            state.started = started(estimated={})
        if overall := overall_progress(state, state.last_seconds or 0.0):
            shares.append(overall.share)
    assert shares == sorted(shares) and shares[0] == 0.0 and 0.95 < shares[-1] <= 1.0
    assert len(set(shares)) > 4 * 3 + 20, "each epoch and each iteration counts"


def test_a_stage_counts_as_much_as_the_time_it_was_estimated_to_take() -> None:
    *_, half = states_after_each([*a_run()[: a_run().index(step(5))], step(5)])
    overall = overall_progress(half, half.last_seconds or 0.0)
    assert overall is not None and overall.stage.name == "distill"
    assert overall.share == pytest.approx((2 + 40 + 50 * 5 / 20) / 100)


def test_the_time_left_is_that_of_the_whole_run() -> None:
    # Iterations of one second, as the events come; the machine keeps to its estimate in all stages before.
    *_, state = states_after_each([*a_run()[: a_run().index(step(10))], step(10)])
    assert progress_text(state, state.last_seconds or 0.0) == "67 %, about 18 s left"


HOURS = {"data": 5.0, "experts": 40.0, "classifier_experts": 4000.0, "initialize": 100.0, DISTILL: 6000.0}


@pytest.mark.parametrize(
    ("before", "expected", "least", "most"),
    [
        ({"data": 0.2}, HOURS, 10140, 10140),
        ({"data": 50.0}, HOURS, 10140, 10140),
        ({"data": 5.0, "experts": 200.0}, HOURS, 10100, 13500),
        ({"data": 5.0, "experts": 4.0}, HOURS, 9400, 10100),
        ({"data": 5.0, "experts": 80.0, "classifier_experts": 8000.0}, HOURS, 11500, 12200),
        ({"data": 0.1, "experts": 2.0}, {"data": 0.0, "experts": 0.0, DISTILL: 100.0}, 100, 100),
    ],
)
def test_the_time_left_is_corrected_as_far_as_enough_is_done_to_tell(
    before: dict[str, float], expected: dict[str, float], least: float, most: float
) -> None:
    told = [started(estimated=expected)]
    for name, seconds in before.items():
        told += [e.StageStarted(name, 1, "units"), e.StageDone(name, seconds)]
    *_, state = states_after_each([*told, e.StageStarted("initialize", 10, "images")])
    overall = overall_progress(state, state.last_seconds or 0.0)
    assert overall is not None and overall.seconds_left is not None
    assert least <= overall.seconds_left <= most


@pytest.mark.parametrize("resumed", [False, True])
def test_experts_from_the_cache_say_nothing_of_the_machine(resumed: bool) -> None:
    """A run that goes on finds the experts that it trained itself: those took their time."""
    trained = e.ExpertDone("representation", 0, False, 50.0, [], [])
    again = [e.StageStarted("experts", 1, "experts"), replace(trained, cached=True), e.StageDone("experts", 80.0)]
    took = e.StageDone("experts", 80.0 if resumed else 0.1)
    told = [started(), *stage("experts", 1, trained if resumed else again[1])[:-1], took]
    told += [started(resumed=True), *again] if resumed else []
    *_, state = states_after_each([*told, e.StageStarted(DISTILL, 20, "iterations")])
    overall = overall_progress(state, state.last_seconds or 0.0)
    assert overall is not None
    # 58 s were estimated; experts that took 80 instead of 40 s nearly double them. `data` is not done here: 2 s.
    assert overall.seconds_left == pytest.approx(60 * 85 / 45 if resumed else 60)


def test_a_finished_run_that_is_evaluated_again_shows_that(tmp_path: Path) -> None:
    folder = record(tmp_path / "demo", "done", iterations=20)
    log = EventLog(folder.events)
    log.emit(e.StageStarted("evaluate", 10, "networks"))
    log.emit(e.StageProgress("evaluate", 3, 10))
    hold(folder)
    live = LiveRun(folder)
    live.read()
    now = live.view.state.last_seconds or 0.0
    assert overview(folder).status == "done, evaluate 30 %" and overview(folder).state == "done"
    assert terminal_title(live.view, now) == "30 % evaluate · demo"
    # The worker is killed.
    let_go(folder)
    assert overview(folder).status == "done, evaluate interrupted"


def test_the_list_and_the_screen_say_the_same(tmp_path: Path) -> None:
    for status in ("experts", "running"):
        folder = record(tmp_path / status, status, iterations=20)
        state = fold(RunState(), [e.decode(line) for line in folder.events.read_text().splitlines()])
        overall = overall_progress(state, 0.0)
        assert overall is not None and overview(folder).progress == pytest.approx(overall.share), status
        let_go(folder)


def test_a_group_of_experts_tells_many_epochs_before_the_first_is_done(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "demo")
    record(folder.root, "empty")
    told = [e.ExpertEpoch("representation", expert, epoch, 100, 1.0) for epoch in range(1, 51) for expert in range(16)]
    events = [started(), *stage("data", 1), e.StageStarted("experts", 32, "experts"), *told]
    folder.events.write_text("".join(e.encode(event, seq, 1000.0 + seq) + "\n" for seq, event in enumerate(events)))
    with folder.held():
        assert overview(folder).stage == "experts 8/32"


def test_the_closing_line_compares_with_random_start_and_all_images(tmp_path: Path) -> None:
    folder = record(tmp_path / "demo", "done", iterations=20)
    state = fold(RunState(), [e.decode(line) for line in folder.events.read_text().splitlines()])
    reached = "100 images reach 52.9 ± 0.4 %; random 27.9, start 40.1, all 12,406 images 62.0"
    assert sum(COUNTS) == 12406 and closing_line_of(state) == reached
    assert closing_line_of(RunState()) == ""


def test_an_old_run_without_estimates_is_read(tmp_path: Path) -> None:
    folder = record(tmp_path / "demo", "running", iterations=20)
    lines = [json.loads(line) for line in folder.events.read_text().splitlines()]
    for line in lines:
        line.pop("estimated_seconds", None)
    folder.events.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = overview(folder)
    let_go(folder)
    assert run.status == "running 78 %" and run.seconds_left is None
