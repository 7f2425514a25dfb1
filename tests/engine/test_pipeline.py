"""The order of the stages: which iterations of a distillation are checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import pipeline
from engine.checkpoints import DistillState, best_check
from engine.run.events import Evaluated
from engine.stages.evaluate import EvaluationTarget
from tests.engine.tiny_run import figures, tiny_context, tiny_data, tiny_set, tiny_settings


@pytest.mark.parametrize(
    ("check_from", "checked", "best"), [(0, [0, 2, 4, 5], 0), (2, [2, 4, 5], 2), (3, [4, 5], 4), (9, [5], 5)]
)
def test_a_start_before_check_from_is_neither_checked_nor_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check_from: int, checked: list[int], best: int
) -> None:
    settings = tiny_settings(matching={"iterations": 5, "max_start_epoch": 1})
    evaluate = settings.evaluate.model_copy(update={"every": 2, "check_from": check_from, "labels": ("hard", "stored")})
    settings = settings.model_copy(update={"evaluate": evaluate})
    context, data = tiny_context(tmp_path, settings), tiny_data(settings)
    start, seen = tiny_set(data), []

    def worse_and_worse(context: object, data: object, target: EvaluationTarget, *_: object) -> Evaluated:
        assert target.regime == "hard", "checks are made in the first label regime"
        seen.append(target.iteration)
        return figures("check", target.iteration, mean=50 - (target.iteration or 0))

    states = [DistillState(i, start, start) for i in range(6)]
    monkeypatch.setattr(pipeline, "distill", lambda *_: iter(states))
    monkeypatch.setattr(pipeline, "evaluate", worse_and_worse)
    pipeline._distill_and_check(context, data, start, None)
    assert seen == checked and settings.checks == len(checked)
    assert best_check(context.folder) == best
