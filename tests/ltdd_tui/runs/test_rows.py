"""A figure stands beside others of its own label regime, and is never told without it where there are several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from engine.run import events as e
from engine.run.folder import RunFolder
from engine.run.metrics import Metrics, StoredBytes
from ltdd_tui.runs.comparison import ComparedRun, compared_runs, comparison_as, seed_means
from ltdd_tui.runs.figures import class_accuracies
from ltdd_tui.runs.messages import closing_line_of, log_message
from ltdd_tui.runs.rows import by_label, rows_from_state, stored_text
from ltdd_tui.runs.state import RunState, RunView
from ltdd_tui.runs.verdict import verdict_lines
from ltdd_tui.screens.compare import panels
from ltdd_tui.screens.run.accuracy import class_lines, regime_lines
from tests.ltdd_tui.recorded import settings_of

STAGES = ["data", "teacher", "baselines", "distill", "evaluate"]


def evaluated(subject: str, labels: str, mean: float, arch: str = "convnet") -> e.Evaluated:
    at = {"final": 20, "initialization": 0}.get(subject)
    groups = {"many": mean, "medium": None, "few": mean}
    return e.Evaluated(subject, at, arch, 3, mean, 0.5, [mean, mean], groups, [1.0, 1.0], labels)


def sets(labels: str, random: float, start: float, final: float) -> list[e.Event]:
    return [
        evaluated("random", labels, random),
        evaluated("initialization", labels, start),
        evaluated("final", labels, final),
    ]


def state_of(labels: Sequence[str], *events: e.Event) -> RunState:
    state = RunState()
    start = e.RunStarted("one", "ltdd", "digits", 50.0, 2, 0, "convnet", "cpu", STAGES, 20, "x", 1, labels=[*labels])
    data = e.DataReady(["head", "tail"], [90, 3], ["many", "few"], "by images", 20, 9.0)
    teacher = e.ExpertDone("teacher", 0, False, 62.1, [70.0, 54.2], [1.0, 1.0])
    for seq, event in enumerate([start, data, teacher, *events]):
        state.apply(e.Stamped(seq, float(seq), event))
    return state


def view_of(state: RunState, name: str = "one", seed: int = 0) -> RunView:
    settings = settings_of(20).model_copy(update={"seed": seed})
    return RunView(RunFolder(f"/runs/{name}"), state, settings, [], gone=False, version=1)


@pytest.fixture(scope="module")
def state() -> RunState:
    """Asked for stored labels, and evaluated online and on a further network later; the best is the final set."""
    best, on_resnet = evaluated("best", "stored", 41.0), evaluated("final", "online", 57.0, "resnet18")
    bound = evaluated("bound plain", "", 55.0)
    online = sets("online", 54.6, 54.9, 55.1)
    return state_of(["stored"], *sets("stored", 36.5, 39.3, 41.8), best, *online, on_resnet, bound)


def test_the_first_regime_comes_first_and_its_rows_are_those_of_the_run(state: RunState) -> None:
    rows = rows_from_state(state)
    assert [(row.label, row.labels, row.accuracy_mean) for row in rows] == [
        ("random", "stored", 36.5),
        ("initialization", "stored", 39.3),
        ("teacher", "", 62.1),
        ("final", "stored", 41.8),
        ("best", "stored", 41.0),
        ("random", "online", 54.6),
        ("initialization", "online", 54.9),
        ("final", "online", 55.1),
        ("final on resnet18", "online", 57.0),
        ("bound plain", "", 55.0),
    ]
    assert by_label(rows)["final"].accuracy_mean == 41.8 and state.regimes == ["stored", "online"]
    assert state.first_regime_told == " (stored)" and state_of(["stored"]).first_regime_told == ""


def test_what_the_run_asked_for_first_is_its_first_regime_whatever_is_evaluated_first() -> None:
    state = state_of(["online", "hard"], *sets("hard", 1.0, 2.0, 3.0), *sets("online", 4.0, 5.0, 6.0))
    assert by_label(rows_from_state(state))["final"].accuracy_mean == 6.0
    assert [event.accuracy_mean for event in state.evaluated("final")] == [6.0]


def test_a_closing_line_and_the_log_name_regimes_only_where_there_are_several(state: RunState) -> None:
    plain = state_of(["stored"], *sets("stored", 36.5, 39.3, 41.8))
    assert "41.8 ± 0.5 % with stored labels; random 36.5, start 39.3" in closing_line_of(state)
    # What a bound has reached, and not the experts, where bounds were measured.
    assert closing_line_of(state).endswith("images 55.0")
    assert "41.8 ± 0.5 %; random 36.5, start 39.3" in closing_line_of(plain)
    final = e.Stamped(9, 9.0, evaluated("final", "stored", 41.8))
    told = [log_message(final, run) for run in (plain, state)]
    assert told[0] and "on convnet: 41.8" in told[0] and told[1] and "on convnet, stored labels: 41.8" in told[1]


def test_the_accuracy_panel_has_a_line_for_each_regime_and_the_teacher(state: RunState) -> None:
    lines = regime_lines(rows_from_state(state), 60)
    assert [line.plain for line in lines] == [
        "stored  random 36.5 start 39.3 final 41.8",
        "online  random 54.6 start 54.9 final 55.1",
        "teacher 62.1",
    ]
    accuracies = class_accuracies(state)
    roomy, tight = (class_lines(accuracies, 60, height, lines) for height in (20, 4))
    assert roomy[len(roomy) - 1].plain == "teacher 62.1" and tight[0].plain == lines[0].plain
    assert regime_lines(rows_from_state(state_of(["stored"], *sets("stored", 1.0, 2.0, 3.0))), 60) == []


def test_a_teacher_of_several_networks_is_shown_by_their_mean_which_labels_images() -> None:
    other = e.ExpertDone("teacher", 1, False, 60.1, [68.0, 52.2], [1.0, 1.0])
    ready = e.TeacherReady("balanced_softmax", 2, 64.4, [72.0, 56.8])
    state = state_of(["stored", "online"], other, ready, *sets("online", 54.6, 54.9, 55.1))
    rows = [(row.label, row.accuracy_mean, row.repeats) for row in rows_from_state(state) if "teacher" in row.label]
    assert rows == [("teacher", pytest.approx(61.1), 2), ("mean of teacher", 64.4, 1)]
    assert regime_lines(rows_from_state(state), 60)[-1].plain == "teacher 64.4, its 2 networks 61.1"
    adjusted = e.LabelsAdjusted(0.4, 3.0, 5.0, 65.0, [70.0, 60.0])
    state.apply(e.Stamped(99, 99.0, adjusted))
    assert regime_lines(rows_from_state(state), 60)[-1].plain == "teacher 65.0, its 2 networks 61.1"


def test_random_images_with_a_teachers_labels_never_look_like_those_with_their_classes() -> None:
    random = replace(evaluated("random", "stored", 44.0), teacher_labels=True)
    state = state_of(["stored"], random, *sets("stored", 1.0, 39.3, 41.8)[1:])
    assert [row.title for row in rows_from_state(state)][:2] == ["random (teacher's labels)", "initialization"]
    assert "; random (teacher's labels) 44.0, start 39.3" in closing_line_of(state)
    message = log_message(e.Stamped(9, 9.0, random), state)
    assert message and "evaluated random (teacher's labels) on convnet" in message
    plain = state_of(["stored"], *sets("stored", 30.0, 35.0, 43.8))
    both = compared_runs([view_of(state), view_of(plain, "two")])
    titles, *rows = (line.split(",") for line in comparison_as("csv", both).splitlines())
    assert [row[titles.index("random_labels")] for row in rows] == ["teacher", "class"]
    assert "| random labels |" in comparison_as("markdown", both)
    lines = [line.plain for line in panels.figures(panels.Comparison(both, ["red", "blue"]), [], 110)]
    assert lines[-1] == "A: random images with the teacher's labels where these are stored, not their classes"
    assert "random_labels" not in comparison_as("csv", compared_runs([view_of(plain)]))


@pytest.fixture(scope="module")
def pair(state: RunState) -> list[ComparedRun]:
    other = state_of(["stored"], *sets("stored", 30.0, 35.0, 43.8), *sets("online", 50.0, 52.0, 57.1))
    return compared_runs([view_of(state), view_of(other, "two", seed=1)])


def test_compared_runs_have_a_row_for_each_regime_and_seeds_a_mean_in_each(pair: list[ComparedRun]) -> None:
    means = seed_means(pair)
    assert [(mean.labels, round(mean.mean, 1)) for mean in means] == [("stored", 42.8), ("online", 56.1)]
    lines = [line.plain for line in panels.figures(panels.Comparison(pair, ["red", "blue"]), means, 110)]
    rows = [line.split() for line in lines[1:]]
    assert [row[:3] for row in rows[:4]] == [
        ["A", "one", "stored"],
        ["A", "one", "online"],
        ["B", "two", "stored"],
        ["B", "two", "online"],
    ]
    assert rows[4][:4] == ["A+B", "by", "seed", "stored"] and rows[5][3:5] == ["online", "56.1±1.4"]
    # What is published is of stored labels.
    assert [row[-2:] for row in rows[:2]] == [["53.4", "-11.6"], ["-", "-"]]


def test_a_comparison_as_text_has_a_row_for_each_regime(pair: list[ComparedRun]) -> None:
    titles, *rows = (line.split(",") for line in comparison_as("csv", pair).splitlines())
    assert titles[:3] == ["run", "labels", "final_mean"]
    figures = [
        ("one", "stored", "41.8"),
        ("one", "online", "55.1"),
        ("two", "stored", "43.8"),
        ("two", "online", "57.1"),
    ]
    assert [tuple(row[:3]) for row in rows] == figures
    plain = compared_runs([view_of(state_of(["stored"], *sets("stored", 1.0, 2.0, 3.0)))])
    assert comparison_as("markdown", plain).startswith("| run | final | best |")


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        ({"set_file": 221_345, "all_images": 4_212_345}, "the set 221 kB; all 3,682 train images 4.2 MB"),
        ({"set_file": 38_800_000, "whitening_float32": 37_700_000}, "the set 38.8 MB (37.7 MB of it whitening)"),
        ({"images_float32": 307_200, "labels_float32": 4_000}, "images 307 kB, labels 4.0 kB"),
        ({}, ""),
    ],
)
def test_the_bytes_of_a_set_stand_beside_those_of_all_its_images(kept: dict, told: str) -> None:
    assert stored_text(Metrics(stored_bytes=StoredBytes(**kept), class_counts=[2378, 1295, 5, 4])) == told


def test_networks_that_diverged_are_told_wherever_their_figure_is() -> None:
    bad = replace(evaluated("final", "stored", 10.0), diverged=2)
    verdict = e.Verdict("distilled", "use the set; better")
    state = state_of(["stored"], *sets("stored", 30.0, 35.0, 40.0), bad, verdict, e.RunFinished(10.0, 0.0))
    row, told = by_label(rows_from_state(state))["final"], verdict_lines(state)
    flag = "(2 of 3 networks diverged)"
    assert row.title == f"final {flag}" and flag in closing_line_of(state)
    assert flag in str(log_message(e.Stamped(1, 1.0, bad), state))
    assert told is not None and f"final {flag}: that accuracy is none of the images" in told[1]
