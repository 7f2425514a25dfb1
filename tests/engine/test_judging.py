"""What a run chooses: which iterations of a distillation are checked, and what follows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine import judging, pipeline
from engine.checkpoints import DistillState, best_check, load_set
from engine.context import Context
from engine.data.dataset import LongTailedData
from engine.distilled import DistilledSet
from engine.matching.synthetic import Synthetic
from engine.run.errors import Stopped
from engine.run.events import Chosen, Evaluated, Event
from engine.run.settings import RunSettings
from engine.stages.evaluate import EvaluationTarget
from tests.engine.tiny_run import figures, tiny_context, tiny_data, tiny_set, tiny_settings

CHOOSE_BY = ("check", "start", "chose")


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
    monkeypatch.setattr(judging, "distill", lambda *_: iter(states))
    monkeypatch.setattr(judging, "evaluate", worse_and_worse)
    judging.distill_and_check(context, data, start, None)
    assert seen == checked and settings.checks == len(checked)
    assert best_check(context.folder) == best


# ---- Whole runs, on digits: never worse than the start, and the same bytes after a kill anywhere ----


def choosing(**matching: object) -> RunSettings:
    """A run that chooses by validation images, with a check after every iteration."""
    return tiny_settings(
        "ltdd-plus",
        compile="never",
        validation={"share": 0.2, "patience": 1, "networks": 2, "candidates": ["random"]},
        matching={"iterations": 6, "max_start_epoch": 1, "syn_steps": 2, "syn_steps_cls": 2} | matching,
        evaluate={"repeats": 2, "epochs": 2, "every": 1, "arch": ["convnet"]},
        initialize={"images": "herding", "labels": "teacher"},
    )


def done(root: Path, settings: RunSettings, stop_after: str = "") -> tuple[Context, list[Event]]:
    """A run, told to stop at its first safe point after a choice of this kind; and its events."""
    events = list[Event]()

    def check_stop() -> None:
        if stop_after in choices(events):
            raise Stopped("stopped on request")

    context = replace(tiny_context(root, settings, events), check_stop=check_stop)
    pipeline.run(context)
    return context, events


def choices(events: list[Event]) -> dict[str, Chosen]:
    return {event.of: event for event in events if isinstance(event, Chosen)}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One cache for all runs here, so that experts and networks on real images are trained once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LTDD_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def absurd(cache: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Context, list[Event]]:
    """A run with a thousand times the image_lr that would do."""
    return done(tmp_path_factory.mktemp("runs") / "absurd", choosing(image_lr=1e5))


def test_a_run_with_an_absurd_rate_steps_down_stops_and_returns_its_start(absurd: tuple[Context, list[Event]]) -> None:
    context, events = absurd
    told, metrics = choices(events), json.loads(context.folder.metrics.read_text())
    assert told["rates"].iteration < told["stop"].iteration < context.settings.matching.iterations
    assert told["set"].chosen == "start" and told["set"].why
    assert metrics["final"]["iteration"] == 0 and metrics["final"] == metrics["initialization"] == metrics["best"]
    assert metrics["validation"]["stepped_down"] == [told["rates"].iteration]
    assert metrics["validation"]["stopped_at"] == told["stop"].iteration and metrics["verdict"]["use"] != "distilled"
    start = load_set(context.folder, 0, context.device)
    assert torch.equal(DistilledSet.load(context.folder.distilled).images, start.images)
    judged = [event.tested_on for event in events if isinstance(event, Evaluated) and event.subject[:5] in CHOOSE_BY]
    assert set(judged) == {"validation"}


def test_a_run_that_is_killed_after_each_choice_ends_with_the_same_bytes(
    tmp_path: Path, absurd: tuple[Context, list[Event]]
) -> None:
    whole = absurd[0]
    for kind in ("start", "rates", "stop"):
        with pytest.raises(Stopped):
            done(tmp_path / "run", whole.settings, stop_after=kind)
    again, _ = done(tmp_path / "run", whole.settings)
    assert again.folder.distilled.read_bytes() == whole.folder.distilled.read_bytes()
    checks = "checks.json"
    assert (again.folder.checkpoint / checks).read_bytes() == (whole.folder.checkpoint / checks).read_bytes()


def test_evaluated_again_the_labels_are_adjusted_by_the_start_that_the_settings_ask_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = choosing()
    adjusted = settings.teacher.model_copy(update={"label_adjustment": "adsa"})
    context = tiny_context(tmp_path, settings.model_copy(update={"teacher": adjusted}))
    prepared = pipeline.prepare(context)

    def another(context: Context, data: LongTailedData, start: Synthetic, *_: object) -> judging.JudgedStart:
        return judging.JudgedStart("noise", start._replace(images=tiny_set(data).images), {})

    monkeypatch.setattr(pipeline, "choose_start", another)
    begun = pipeline._starting_set(context, prepared)
    again = pipeline._starting_set(context, prepared, begun.synthetic)
    assert begun.teacher is not None and again.teacher is not None
    assert begun.teacher.tau == again.teacher.tau != 0 and again.synthetic is begun.synthetic


def test_no_choice_sees_a_test_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absurd: tuple[Context, list[Event]]
) -> None:
    whole, load = absurd[0], pipeline.load_run_data

    def garbled(context: Context) -> LongTailedData:
        data = load(context)
        return replace(data, test_images=-data.test_images, test_labels=data.test_labels.flip(0))

    monkeypatch.setattr(pipeline, "load_run_data", garbled)
    again, events = done(tmp_path / "run", whole.settings)
    assert again.folder.distilled.read_bytes() == whole.folder.distilled.read_bytes()
    assert choices(events) == choices(absurd[1])
    assert (
        json.loads(again.folder.metrics.read_text())["final"] != json.loads(whole.folder.metrics.read_text())["final"]
    )
