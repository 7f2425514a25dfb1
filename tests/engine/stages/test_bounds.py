"""Bounds: networks trained on all long-tailed images, in metrics.json, in the rows, and after a stop."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.context import stages_of
from engine.results.metrics import collect_metrics
from engine.run.device_profiles import cpu
from engine.run.errors import RunFailed, Stopped
from engine.run.estimate import estimate
from engine.run.events import Evaluated, Event, StageProgress, Stamped, Warned
from engine.stages.bounds import evaluate_bounds
from ltdd_tui.runs.results import measured
from ltdd_tui.runs.rows import rows_from_state
from ltdd_tui.runs.state import RunState, fold
from tests.engine.tiny_run import evaluations, tiny_context, tiny_data, tiny_settings


def with_bounds(**more: object):
    """Settings of a run with bounds of three epochs."""
    return tiny_settings(bounds={"losses": ["plain", "balanced_softmax"], "epochs": 3, "networks": 2} | more)


def test_bounds_go_on_after_a_stop_and_stand_in_metrics_and_rows(tmp_path: Path) -> None:
    settings, data = with_bounds(), tiny_data(with_bounds())

    def bounds_of(name: str, stop_after: int | None = None) -> tuple[list[Evaluated], list[Event]]:
        events: list[Event] = []
        context = tiny_context(tmp_path / name, settings, events)

        def check_stop() -> None:
            epochs = sum(isinstance(event, StageProgress) and event.done % 1 != 0 for event in events)
            if epochs == stop_after:
                raise Stopped("stopped on request")

        vars(context)["check_stop"] = check_stop
        return evaluate_bounds(context, data), events

    whole, events = bounds_of("whole")
    assert [event.subject for event in whole] == ["bound plain", "bound balanced_softmax"]
    assert all(event.repeats == 2 and event.accuracy_std > 0 for event in whole)
    done = [event.done for event in events if isinstance(event, StageProgress)]
    assert done[:4] == pytest.approx([1 / 3, 2 / 3, 1, 1]) and done[-1] == 4 and done == sorted(done)
    with pytest.raises(Stopped):
        bounds_of("parts", stop_after=3)
    again, told = bounds_of("parts")
    assert again == whole
    assert sum(isinstance(event, StageProgress) for event in told) == len(done) - 4, "what was done is read back"
    kept = tmp_path / "parts" / "checkpoint" / "evaluations" / "bound-plain-1.json"
    kept.write_bytes(kept.read_bytes().replace(b"1", b"2", 1))
    again, told = bounds_of("parts")
    assert next(event.message for event in told if isinstance(event, Warned)).startswith("damaged, these networks")
    assert again == whole, "the damaged one is trained again"

    context = tiny_context(tmp_path / "whole", settings)
    metrics = collect_metrics(context, data, [*evaluations(), *whole], [], [])
    assert list(metrics["bounds"]) == ["plain", "balanced_softmax"]
    assert metrics["bounds"]["plain"]["accuracy_mean"] == whole[0].accuracy_mean
    labels = ["bound plain", "bound balanced softmax"]
    assert [row.label for row in measured(metrics).rows][-2:] == labels
    state = fold(RunState(), [Stamped(number, 0.0, event) for number, event in enumerate(whole)])
    assert [row.label for row in rows_from_state(state)] == labels


def test_a_bound_that_diverges_ends_the_run(tmp_path: Path) -> None:
    settings = with_bounds().model_copy(update={"teacher": tiny_settings(teacher={"learning_rate": 1e30}).teacher})
    context = tiny_context(tmp_path, settings)
    with pytest.raises(RunFailed, match=r"bounds, plain, network 1, epoch \d: a training loss is not finite"):
        evaluate_bounds(context, tiny_data(settings))
    assert not list(context.folder.evaluations.glob("*"))


def test_bounds_are_a_stage_with_an_estimate_where_they_are_asked_for() -> None:
    assert "bounds" in stages_of(with_bounds()) and "bounds" not in stages_of(tiny_settings())
    seconds = [
        estimate(of, cpu(2)).stage_seconds["bounds"] for of in (tiny_settings(), with_bounds(), with_bounds(networks=4))
    ]
    assert seconds[0] == 0 < seconds[1] and seconds[2] == pytest.approx(2 * seconds[1])
