"""The confusion matrix of the final set agrees with its accuracies, and survives an interruption."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.context import Context
from engine.pipeline import evaluate_again, run
from engine.run.events import Evaluated
from engine.stages import evaluate as stage
from engine.stages.evaluate import evaluate, summed_confusion, synthetic_target
from tests.engine.tiny_run import tiny_context, tiny_data, tiny_set, tiny_settings


def evaluated(context: Context, key: str) -> tuple[Evaluated, list[list[int]] | None]:
    data = tiny_data(context.settings)
    target = synthetic_target(context, data, "final", key, 3, tiny_set(data))
    return evaluate(context, data, target, "convnet", 2), summed_confusion(context, target, "convnet", 2)


def test_rows_are_true_classes_and_the_diagonal_gives_the_accuracies(tmp_path: Path) -> None:
    context = tiny_context(tmp_path, tiny_settings(compile="never"))
    event, confusion = evaluated(context, "set")
    assert confusion is not None
    assert [sum(row) for row in confusion] == [2 * 40] * 10, "two networks, each tested on 40 images of a class"
    assert [100 * row[c] / sum(row) for c, row in enumerate(confusion)] == pytest.approx(event.per_class)
    assert any(row[c] < max(row) for c, row in enumerate(confusion)), "rows and columns could be told apart"


def test_it_is_read_back_after_an_interruption_and_not_of_files_without_one(tmp_path: Path) -> None:
    context = tiny_context(tmp_path, tiny_settings(compile="never"))
    _, confusion = evaluated(context, "set")
    assert evaluated(context, "set")[1] == confusion
    for file in context.folder.evaluations.iterdir():
        older = [{"per_class": one["per_class"], "norms": one["norms"]} for one in json.loads(file.read_text())]
        file.write_text(json.dumps(older))
    assert evaluated(context, "set")[1] is None


def test_checks_and_very_many_classes_keep_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = tiny_context(tmp_path, tiny_settings(compile="never"))
    assert evaluated(context, "check")[1] is None
    monkeypatch.setattr(stage, "MOST_IN_CONFUSION", 9)
    assert evaluated(context, "set")[1] is None


def test_a_run_writes_it_beside_its_metrics_and_a_later_evaluation_keeps_both_of_the_same_networks(
    tmp_path: Path,
) -> None:
    context = tiny_context(tmp_path, tiny_settings("random", compile="never"))
    run(context)
    for networks in (2, 3):
        written, metrics = (json.loads(path.read_text()) for path in (context.folder.confusion, context.folder.metrics))
        assert written["class_names"] == metrics["class_names"]
        assert [sum(row) for row in written["final"]] == [40 * networks] * 10
        accuracies = [100 * row[c] / sum(row) for c, row in enumerate(written["final"])]
        assert accuracies == pytest.approx(metrics["final"]["per_class"])
        evaluate_again(context, ["convnet"], 3)
