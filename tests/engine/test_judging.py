"""What a run chooses: which iterations of a distillation are checked, and what follows."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import judging, pipeline
from engine.checkpoints import DistillState, best_check, load_set, load_state
from engine.context import Context
from engine.data.dataset import LongTailedData
from engine.distilled import DistilledSet
from engine.matching.plain import IterationResult
from engine.matching.synthetic import Synthetic, from_levels, rounded
from engine.run.errors import Diverged, RunFailed, Stopped
from engine.run.events import Chosen, Evaluated, Event, MatchingStep, Recovered
from engine.run.folder import RunFolder
from engine.run.settings import RunSettings
from engine.stages.evaluate import EvaluationTarget
from tests.engine.tiny_run import CPU, figures, tiny_context, tiny_data, tiny_set, tiny_settings

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


# ---- Matching that diverges ----


class Bowl:
    """A matcher whose loss is half the images' square: with a rate above 2 each step throws them farther out.

    edge: from this norm of the images on, their loss is infinite.
    """

    def __init__(self, edge: float = math.inf) -> None:
        self.edge = edge

    def gradient(self, synthetic: Synthetic, *_: object) -> IterationResult:
        own = Synthetic(synthetic.images, torch.zeros_like(synthetic.label_logits), torch.zeros(()))
        loss = 0.9 if float(synthetic.images.norm()) < self.edge else math.inf
        return IterationResult(own, torch.tensor(loss), None, "")


def distilled_in_a_bowl(
    root: Path, image_lr: float, *stops_after: int, edge: float = math.inf
) -> tuple[DistillState, list[Event]]:
    """Twelve iterations with a checkpoint after every fourth; stopped after as many steps as asked to, and resumed."""
    matching = {"iterations": 12, "max_start_epoch": 1, "checkpoint_every": 4, "image_momentum": 0.0}
    evaluate = {"every": 12, "check_from": 12, "repeats": 2, "epochs": 2}
    settings, events = tiny_settings(matching=matching | {"image_lr": image_lr}, evaluate=evaluate), list[Event]()
    context, data = tiny_context(root, settings, events), tiny_data(settings)

    def check_stop() -> None:
        if sum(isinstance(event, MatchingStep) for event in events) in stops_after:
            raise Stopped("stopped on request")

    context = replace(context, check_stop=check_stop)
    for _ in stops_after:
        with pytest.raises(Stopped):
            judging.distill_and_check(context, data, tiny_set(data), Bowl(edge))  # type: ignore[arg-type]
        events.append(MatchingStep(0, None, None, 0.0, 0.0))
    return judging.distill_and_check(context, data, tiny_set(data), Bowl(edge)), events  # type: ignore[arg-type]


@pytest.fixture
def no_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "evaluate", lambda *_: figures("check", 12))
    monkeypatch.setattr(judging, "save_preview", lambda *_: None)


@pytest.mark.usefixtures("no_checks")
def test_matching_that_diverges_goes_back_with_half_the_rates_and_a_stop_anywhere_changes_nothing(
    tmp_path: Path,
) -> None:
    # 2.9 throws the images out by iteration 8, half of that does not.
    whole, events = distilled_in_a_bowl(tmp_path / "whole", 2.9)
    told = [event for event in events if isinstance(event, Recovered)]
    assert [(event.iteration, event.back_to, event.rates) for event in told] == [(8, 4, 0.5)]
    assert "iteration 8" in told[0].what and "the set has exploded" in told[0].what
    assert whole.recovered == (8,) and whole.iteration == 12
    # Of the states that stops have saved before it diverges none is gone back to; an added step counts each stop.
    for stops_after in ((5, 7, 9), (7, 10, 13)):
        again, _ = distilled_in_a_bowl(tmp_path / str(stops_after), 2.9, *stops_after)
        assert torch.equal(again.synthetic.images, whole.synthetic.images) and again.recovered == (8,)


@pytest.mark.usefixtures("no_checks")
def test_matching_that_still_diverges_fails_with_what_it_saw_also_when_resumed(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(Diverged, match=r"the set has exploded .*, also with all rates divided by 8"):
            distilled_in_a_bowl(tmp_path, 1e6)
    kept = load_state(RunFolder(tmp_path), CPU)
    assert kept is not None and kept.iteration == 0 and kept.recovered == (1, 1, 1)


@pytest.mark.usefixtures("no_checks")
def test_a_loss_that_is_bad_with_any_rates_is_gone_back_from_to_the_start_and_at_the_start_ends_the_run(
    tmp_path: Path,
) -> None:
    norm = float(tiny_set(tiny_data(tiny_settings())).images.norm())
    # Each step multiplies the images by -1.9, the fourth is saved, and the loss of what was saved is infinite.
    state, events = distilled_in_a_bowl(tmp_path / "later", 2.9, edge=10 * norm)
    told = [event for event in events if isinstance(event, Recovered)]
    assert [(event.iteration, event.back_to) for event in told] == [(5, 0)] and state.iteration == 12
    with pytest.raises(Diverged, match="not finite") as failed:
        distilled_in_a_bowl(tmp_path / "start", 2.9, edge=norm / 2)
    assert "no step was taken yet" in failed.value.faults[0].hint and "also with" not in str(failed.value)
    assert load_state(RunFolder(tmp_path / "start"), CPU) is None


@pytest.mark.parametrize(
    ("smallest", "random", "chosen"), [(2, 54.0, "herding"), (2, 99.0, "random"), (20, 99.0, "herding")]
)
def test_another_start_has_to_be_better_than_few_images_can_show_by_chance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, smallest: int, random: float, chosen: str
) -> None:
    settings = choosing()
    validation = settings.validation.model_copy(update={"smallest": smallest})
    settings = settings.model_copy(update={"validation": validation})
    context, data = tiny_context(tmp_path, settings), tiny_data(settings)
    means, count = {"start herding": 50.0, "start random": random}, len(data.validation_labels)

    def judge(_: object, __: object, name: str, *___: object) -> judging.Judged:
        # The first images are right, as many as the accuracy says.
        right = torch.arange(count) < count * means[name] / 100
        return judging.Judged(figures(name, 0, mean=means[name]), right.double())

    monkeypatch.setattr(judging, "_judge", judge)
    start = tiny_set(data)
    judged = judging.choose_start(context, data, start, None, lambda *_: start)
    assert judged.name == chosen
    # Where a class has no validation images, its own train images say nothing of another start: none is tried.
    assert set(judged.tried) == ({"herding"} if data.stand_ins else {"herding", "random"})
    assert bool(data.stand_ins) == (smallest == 20)


def test_the_error_of_a_difference_counts_networks_and_images_that_differ() -> None:
    labels = torch.tensor([0, 0, 0, 0, 1])
    one = judging.Judged(figures("start", 0), torch.tensor([1.0, 0.5, 0, 0, 1], dtype=torch.float64))
    other = judging.Judged(figures("chosen", 1), torch.tensor([1.0, 1, 0, 0, 0], dtype=torch.float64))
    # Each over two networks with a standard deviation of 1.5; v = (0.5^2 + 1) / 5 over two classes of 4 and 1 images.
    images = 100**2 * 0.25 * (1 / 4 + 1) / 2**2
    assert judging.standard_error(one, other, labels) == pytest.approx((2 * 1.5**2 / 2 + images) ** 0.5, abs=1e-10)
    assert judging.standard_error(one, one, labels) == pytest.approx(1.5, abs=1e-10)


# ---- Whole runs, on digits: never worse than the start, and the same bytes after a kill anywhere ----


def choosing(**matching: object) -> RunSettings:
    """A run that chooses by validation images, with a check after every iteration."""
    return tiny_settings(
        "ltdd-plus",
        compile="never",
        validation={"share": 0.2, "smallest": 2, "patience": 1, "networks": 2, "candidates": ["random"]},
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


@pytest.mark.parametrize("share", [0.2, 0.0])
def test_matching_that_cannot_begin_ends_a_run_with_its_start_where_no_class_can_spare_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    settings = choosing(max_recoveries=0)
    validation = settings.validation.model_copy(update={"share": share, "smallest": 1000})
    settings = settings.model_copy(update={"validation": validation})
    events = list[Event]()
    context, data = tiny_context(tmp_path, settings, events), tiny_data(settings)
    assert not data.chooses

    def diverges(*_: object) -> Iterator[DistillState]:
        raise Diverged("a matching loss has exploded", "iteration 1", "lower the rates")
        yield

    monkeypatch.setattr(judging, "distill", diverges)
    if not share:
        with pytest.raises(Diverged):
            judging.distill_and_check(context, data, tiny_set(data), None)
        return
    state = judging.distill_and_check(context, data, start := tiny_set(data), None)
    assert state.iteration == 0 and torch.equal(state.result.images, start.images)
    assert choices(events)["stop"].why == "a matching loss has exploded"


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


def test_evaluated_again_the_labels_are_adjusted_by_images_as_they_were_before_they_were_rounded(
    tmp_path: Path,
) -> None:
    settings = choosing()
    blocks = {
        "teacher": settings.teacher.model_copy(update={"label_adjustment": "adsa"}),
        "validation": settings.validation.model_copy(update={"share": 0.0}),
        "export": settings.export.model_copy(update={"images": "uint8"}),
    }
    context = tiny_context(tmp_path, settings.model_copy(update=blocks))
    prepared = pipeline.prepare(context)
    start, begun, _ = pipeline._starting_set(context, prepared)
    kept = start._replace(images=from_levels(*rounded(start.images)))
    again = pipeline._starting_set(context, prepared, kept).teacher
    assert begun is not None and again is not None and begun.tau == again.tau != 0


def test_evaluated_in_another_regime_the_start_is_the_one_that_the_run_chose_in_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absurd: tuple[Context, list[Event]]
) -> None:
    whole, choose, judged_in = absurd[0], pipeline.choose_start, list[tuple[str, ...]]()
    shutil.copytree(whole.folder.root, tmp_path / "run")
    short = whole.settings.hard.model_copy(update={"epochs": 1})
    context = tiny_context(tmp_path / "run", whole.settings.model_copy(update={"hard": short}))

    def lost(*_: object) -> Synthetic:
        raise RunFailed("no such checkpoint")

    def chosen(context: Context, *rest: Any) -> judging.JudgedStart:
        judged_in.append(context.settings.evaluate.labels)
        return choose(context, *rest)

    monkeypatch.setattr(pipeline, "load_set", lost)
    monkeypatch.setattr(pipeline, "choose_start", chosen)
    pipeline.evaluate_again(context, None, 1, ["hard"])
    pipeline.keep_teacher(context)
    assert judged_in == [("stored",), ("stored",)]


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
