"""What is told of a run's verdict and of what it chose by validation images, and what its accuracies are called."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from engine.run import events as e
from engine.run.folder import RunFolder
from ltdd_tui.formatting import short_verdict
from ltdd_tui.runs.figures import checks, class_accuracies, reference_accuracies
from ltdd_tui.runs.index import overview
from ltdd_tui.runs.live import LiveRun
from ltdd_tui.runs.messages import notice
from ltdd_tui.runs.results import RunSummaryReader
from ltdd_tui.runs.rows import by_label, rows_from_state
from ltdd_tui.runs.state import RunState, RunView
from ltdd_tui.runs.verdict import comparison, verdict_lines
from ltdd_tui.screens.run.details import detail_lines
from tests.ltdd_tui.recorded import COMPARED, SPARED, VERDICT, record


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return record(tmp_path_factory.mktemp("runs") / "judged", "judged", 20)


def view_of(folder: RunFolder) -> RunView:
    live = LiveRun(folder)
    while not live.read():
        pass
    return live.view


def before_the_end(state: RunState) -> RunState:
    """The same run while it still matches: without its final figures and its verdict."""
    early = state.snapshot()
    early.status, early.verdict = "running", None
    early.evaluations = {key: event for key, event in state.evaluations.items() if event.subject != "final"}
    return early


def test_a_finished_run_says_what_to_use_with_numbers_and_what_it_kept_and_why(judged: RunFolder) -> None:
    box = notice(view_of(judged), starting=False)
    assert box is not None and (box.severity, box.title) == ("information", "verdict: use the set")
    advice, *numbers = VERDICT.split("; ")
    assert box.lines[:2] == (advice, *numbers)
    started, kept, measured = box.lines[2:]
    assert started.startswith("started from mini-images") and kept.startswith("kept iteration 18: ")
    assert measured == "measured on 10,000 test images, which no choice has seen"
    assert verdict_lines(before_the_end(view_of(judged).state)) is None, "no verdict before the end"


@pytest.mark.parametrize(("width", "columns"), [(80, 4), (70, 3), (30, 2)])
def test_the_table_behind_it_is_that_of_the_verdict_as_far_as_it_fits(
    judged: RunFolder, width: int, columns: int
) -> None:
    drawn = [line.plain for line in detail_lines(view_of(judged), 0.0, width)]
    titles = next(place for place, line in enumerate(drawn) if line.startswith("trained on"))
    table = drawn[titles : titles + len(COMPARED)]
    assert [len(re.split(r" {2,}", line.strip())) for line in table] == [columns] * len(table)
    assert all(len(line) <= width for line in table)
    assert table[4].split("  ")[0].startswith("the disti") and "52.9 ± 0.4" in table[4]


def test_checks_on_validation_images_are_never_taken_for_test_figures(judged: RunFolder) -> None:
    done = view_of(judged).state
    running = before_the_end(done)
    accuracies = class_accuracies(running)
    assert accuracies.last is not None and accuracies.last.tested_on == "validation"
    assert [one.tests for one in accuracies.classes] == SPARED
    assert [one.name for one in accuracies.classes if one.stands_in] == ["truck"]
    rows = by_label(rows_from_state(running))
    assert rows["last check"].title == "last check (validation)" and rows["random"].title == "random"
    # The curve begins with the start as it was judged on validation images; the level `final` is of test images.
    iterations, means = checks(done)
    first = next(event for event in done.evaluations.values() if event.subject == "start mini-images")
    assert iterations[0] == 0 and np.isclose(means[0], done.evaluated("check")[0].accuracy_mean)
    assert (
        first.tested_on == "validation"
        and reference_accuracies(done)["final"] == done.evaluated("final")[0].accuracy_mean
    )
    # The final set is tested on other images than the last check: there is no change between them.
    assert all(one.change is None and not one.stands_in for one in class_accuracies(done).classes)


def test_the_list_of_runs_and_its_preview_tell_it_in_short(judged: RunFolder) -> None:
    assert overview(judged).verdict == "use the set"
    reader = RunSummaryReader(judged)
    reader.read()
    assert reader.summary.verdict == VERDICT


def test_runs_without_a_verdict_and_those_of_another_program_tell_nothing(tmp_path: Path) -> None:
    folder = record(tmp_path / "done", "done", 20)
    assert overview(folder).verdict == "" and notice(view_of(folder), starting=False) is None
    assert short_verdict("no such word") == short_verdict(None) == ""
    state = view_of(folder).state.snapshot()
    state.verdict = e.Verdict("unheard of", "take it or leave it", rows=[["one", "two"], ["three"]])
    assert comparison(state) == [("one",), ("three",)]
    assert verdict_lines(state) == ("", ["take it or leave it", "measured on 10,000 test images"])
