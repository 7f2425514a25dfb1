"""Replay: the state as of an iteration is what was known then, and nothing that came later."""

from __future__ import annotations

from pathlib import Path

import pytest

from ltdd_tui.runs.live import LiveRun
from ltdd_tui.runs.replay import as_of, frames, state_at
from ltdd_tui.runs.state import RunView
from tests.ltdd_tui.recorded import record


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunView:
    live = LiveRun(record(tmp_path_factory.mktemp("runs") / "demo", "done", iterations=100))
    while not live.read():
        pass
    return live.view


@pytest.mark.parametrize("at", [0, 1, 37, 40, 99])
def test_nothing_later_than_the_iteration_is_known(finished: RunView, at: int) -> None:
    state = state_at(finished.state, at)
    assert state.iteration == at
    assert all(iteration <= at for iteration in state.previews)
    assert all(key[1] <= at for key in state.evaluations if key[0] == "check")
    assert {key[0] for key in state.evaluations} <= {"random", "initialization", "check"}
    assert state.finished is None and not state.failures
    assert all(said.iteration <= at for said in as_of(finished, at).log)


def test_what_came_before_distilling_is_kept(finished: RunView) -> None:
    state = state_at(finished.state, 0)
    assert state.experts_done == finished.state.experts_done and state.expert_epochs == finished.state.expert_epochs
    assert {"random", "initialization"} <= {key[0] for key in state.evaluations}
    assert state.data == finished.state.data


def test_it_is_the_state_that_a_screen_had_then(tmp_path: Path) -> None:
    """A recording cut off right after what belongs to iteration 50 replays to the same steps, previews and checks."""
    folder = record(tmp_path / "demo", "done", iterations=100)
    whole = LiveRun(folder)
    while not whole.read():
        pass
    lines = folder.events.read_text().splitlines(keepends=True)
    cut = next(place for place, line in enumerate(lines) if '"iteration":51,' in line)
    folder.events.write_text("".join(lines[:cut]))
    then = LiveRun(folder)
    then.read()
    replayed = as_of(whole.view, 50)
    for known in ("steps", "previews", "evaluations", "data", "experts_done", "expert_epochs"):
        assert getattr(replayed.state, known) == getattr(then.view.state, known), known
    assert list(replayed.log) == list(then.view.log)


def test_stages_stand_in_the_middle_of_distilling(finished: RunView) -> None:
    stages = state_at(finished.state, 30).stages
    assert stages.current is not None and (stages.current.name, stages.current.done) == ("distill", 30)
    # The recording's steps take 0.04 s each.
    assert stages.current.seconds == pytest.approx(30 * 0.04)
    assert {stages.by_name[name].status for name in ("data", "experts", "baselines")} == {"done"}
    assert {stages.by_name[name].status for name in ("evaluate", "export")} == {"pending"}


@pytest.mark.parametrize("at", [None, 100, 5000])
def test_the_end_is_the_run_itself(finished: RunView, at: int | None) -> None:
    assert as_of(finished, at) is finished


def test_frames_are_where_there_is_something_to_look_at(finished: RunView) -> None:
    assert frames(finished.state) == list(range(0, 101, 10))
