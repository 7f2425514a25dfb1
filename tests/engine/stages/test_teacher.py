"""The teacher of a tiny run: trained once, found in the cache, resumed after an epoch, and its labels adjusted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine import pipeline
from engine.checkpoints import load_set
from engine.context import stages_of
from engine.results.metrics import teacher_figures
from engine.run.device_profiles import cpu
from engine.run.errors import RunFailed, Stopped
from engine.run.estimate import estimate
from engine.run.events import (
    Event,
    ExpertDone,
    ExpertEpoch,
    LabelsAdjusted,
    StageDone,
    StageStarted,
    TeacherReady,
    Warned,
)
from engine.run.expert_cache import cached_experts, experts_root, origin_of, teachers_trained_alike
from engine.run.manifest import Origin
from engine.run.settings import RunSettings
from engine.stages import teacher
from engine.stages.teacher import adjust_labels, train_teacher
from engine.teachers import Teacher, search_tau
from engine.training.accuracy import per_class_accuracy
from engine.training.from_scratch import fresh_network
from engine.training.long_tailed import newest_checkpoint
from engine.trajectories import Trajectory
from tests.engine.tiny_run import expert, tiny_context, tiny_data, tiny_set, tiny_settings


def with_teacher(kind: str = "balanced_softmax", method: str = "random", **more: object) -> RunSettings:
    """Settings of a run with a teacher of three epochs."""
    teacher = {"kind": kind, "epochs": 3, "networks": 2} | more
    return tiny_settings(method, teacher=teacher, evaluate={"labels": ["online"], "repeats": 1, "epochs": 1})


def teacher_of(root: Path, settings: RunSettings, stop_after: int | None = None) -> tuple[Teacher, list[Event]]:
    """The teacher and what was told; a stop is asked for after so many epochs."""
    events: list[Event] = []
    context, data = tiny_context(root, settings, events), tiny_data(settings)

    def check_stop() -> None:
        if sum(isinstance(event, ExpertEpoch) for event in events) == stop_after:
            raise Stopped("stopped on request")

    vars(context)["check_stop"] = check_stop
    network, _ = fresh_network(settings, data, "convnet")
    return train_teacher(context, data, network, [], []), events


@pytest.mark.parametrize("kind", ["balanced_softmax", "glmc"])
def test_a_teacher_is_trained_once_and_a_stopped_one_goes_on_from_its_last_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    settings = with_teacher(kind)
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "whole"))
    whole, told = teacher_of(tmp_path / "a", settings)
    data = tiny_data(settings)
    assert [event.epoch for event in told if isinstance(event, ExpertEpoch)] == [1, 2, 3, 1, 2, 3]
    assert [event.cached for event in told if isinstance(event, ExpertDone)] == [False, False]
    assert not torch.equal(*whole.weights), "each network has a seed of its own"
    for theta, known in zip(whole.weights, whole.per_class, strict=True):
        tested = per_class_accuracy(whole.network, theta, data.test_images, data.test_labels)
        torch.testing.assert_close(tested, known)
    again, told_again = teacher_of(tmp_path / "b", settings)
    assert [event.cached for event in told_again if isinstance(event, ExpertDone)] == [True, True]
    assert not any(isinstance(event, ExpertEpoch) for event in told_again)
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "parts"))
    with pytest.raises(Stopped):
        teacher_of(tmp_path / "c", settings, stop_after=5)
    # Another run goes on with it: what was done so far is in the cache.
    resumed, told_then = teacher_of(tmp_path / "d", settings)
    assert [event.epoch for event in told_then if isinstance(event, ExpertEpoch)] == [3]
    for one, other, third in zip(whole.weights, again.weights, resumed.weights, strict=True):
        assert torch.equal(one, other) and torch.equal(one, third)
    assert not list(experts_root().glob("*/*.epochs.*")), "checkpoints of epochs go when a network is done"


def test_a_network_that_another_origin_goes_on_with_is_told_and_is_of_no_origin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "cache"))
    settings, here = with_teacher(networks=1, epochs=4), teacher.origin_here
    elsewhere = here(torch.device("cpu")).model_copy(update={"threads": 77})

    def origins_of_checkpoints() -> list[Origin | None]:
        return [origin_of(path) for path in sorted(experts_root().glob("*/*.epochs*.safetensors"))]

    with pytest.raises(Stopped):
        teacher_of(tmp_path / "a", settings, stop_after=2)
    assert [origin and origin.threads for origin in origins_of_checkpoints()] == [torch.get_num_threads()] * 2
    newest = next(experts_root().glob("*/0000.epochs.safetensors"))
    sound = newest.read_bytes()
    newest.write_bytes(sound[:-1])
    assert newest_checkpoint(newest) == newest.with_name("0000.epochs-before.safetensors"), "a damaged one is of none"
    newest.write_bytes(sound)
    monkeypatch.setattr(teacher, "origin_here", lambda *_, **__: elsewhere)
    with pytest.raises(Stopped):
        teacher_of(tmp_path / "b", settings, stop_after=1)
    # Nor does the first machine take it for its own when it goes on again.
    monkeypatch.setattr(teacher, "origin_here", here)
    _, told = teacher_of(tmp_path / "c", settings)
    assert any("network under way from the cache" in event.message for event in told if isinstance(event, Warned))
    (kept,) = experts_root().glob("*/0000.safetensors")
    assert origin_of(kept) is None


@pytest.mark.parametrize("kind", ["balanced_softmax", "glmc"])
def test_a_teacher_that_diverges_ends_the_run_and_is_not_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "cache"))
    message = r"teacher, network 1, epoch \d: a training loss is not finite\nhint: lower teacher.learning_rate"
    with pytest.raises(RunFailed, match=message):
        teacher_of(tmp_path / "a", with_teacher(kind, learning_rate=1e30))
    assert not list(experts_root().glob("*/*.safetensors"))


def test_a_cached_teacher_is_found_by_settings_alone_and_costs_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path))
    settings = with_teacher()
    assert cached_experts(settings, "cpu") == (0, 0, 0)
    teacher_of(tmp_path / "a", settings)
    assert cached_experts(settings, "cpu") == cached_experts(with_teacher(label_adjustment="adsa"), "cpu") == (0, 0, 2)
    assert cached_experts(with_teacher(networks=3), "cpu") == (0, 0, 2)
    assert teachers_trained_alike(with_teacher("glmc", cutmix=1.0)) == teachers_trained_alike(with_teacher("glmc"))
    assert cached_experts(with_teacher(cutmix=1.0), "cpu") == (0, 0, 0)
    assert cached_experts(with_teacher(epochs=4), "cpu") == cached_experts(with_teacher("glmc"), "cpu") == (0, 0, 0)
    assert cached_experts(settings.model_copy(update={"seed": 1}), "cpu") == (0, 0, 0)
    seconds = [
        estimate(of, cpu(2), cached=cached_experts(of, "cpu")).stage_seconds["teacher"]
        for of in (settings, with_teacher(networks=3), with_teacher(networks=3, epochs=6))
    ]
    assert 0 < seconds[0] < seconds[1] < seconds[2]


def test_the_classifier_experts_are_a_teacher_without_training(tmp_path: Path) -> None:
    settings = with_teacher("classifier_experts")
    events: list[Event] = []
    context, data = tiny_context(tmp_path, settings, events), tiny_data(settings)
    network, theta = fresh_network(settings, data, "convnet")
    teacher = train_teacher(context, data, network, [expert(70.0)], [theta])
    assert teacher.weights == [theta] and float(teacher.per_class[0][3]) == 70.0
    started, ready, done = events
    assert isinstance(started, StageStarted) and isinstance(ready, TeacherReady) and isinstance(done, StageDone)
    assert (ready.kind, ready.networks) == ("classifier_experts", 1)


def test_a_teacher_beside_a_method_changes_nothing_of_its_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[list[Trajectory]] = []
    sets, experts = [], {"width": 4, "depth": 2, "num_experts": 2, "epochs": 4}
    matching = {"iterations": 1, "syn_steps": 2, "syn_steps_cls": 2, "max_start_epoch": 1}
    for name, labels in (("alone", ["stored"]), ("beside", ["stored", "online"])):
        blocks = {"evaluate": {"labels": labels, "repeats": 1, "epochs": 1}, "online": {"epochs": 1}}
        settings = tiny_settings("datm", experts=experts, matching=matching, compile="never", **blocks)
        context = tiny_context(tmp_path / name, settings)
        monkeypatch.setattr(pipeline, "warn_of_weak_experts", lambda experts, *_: judged.append(experts))
        pipeline.run(context)
        assert settings.trains_classifier_experts == context.folder.teacher.exists() == (name == "beside")
        sets.append(load_set(context.folder, 0, context.device))
    alone, beside = sets
    assert torch.equal(alone.images, beside.images) and torch.equal(alone.label_logits, beside.label_logits)
    # It matches representation experts, so these are what it is warned of.
    assert [[len(one.last) for one in own] for own in judged] == [[judged[0][0].last.numel()] * 2] * 2


@pytest.mark.parametrize("labelled_by", ["teacher", "experts"])
def test_adsa_adjusts_the_teacher_and_the_labels_that_are_its_own(tmp_path: Path, labelled_by: str) -> None:
    settings = with_teacher(label_adjustment="adsa").model_copy(
        update={"initialize": tiny_settings(initialize={"labels": labelled_by}).initialize}
    )
    events: list[Event] = []
    context, data = tiny_context(tmp_path, settings, events), tiny_data(settings)
    network, theta = fresh_network(settings, data, "convnet")
    teacher = Teacher(network, [theta], [expert(50.0).per_class])
    start = tiny_set(data)
    start = start._replace(label_logits=teacher.logits(start.images))
    labelled, adjusted = adjust_labels(context, data, teacher, start)
    (told,) = events
    assert isinstance(told, LabelsAdjusted) and told.spread <= told.spread_before and told.tau != 0
    shares = torch.tensor(data.class_counts) / sum(data.class_counts)
    torch.testing.assert_close(adjusted.logits(start.images), start.label_logits - told.tau * shares.log())
    wanted = adjusted.logits(start.images) if labelled_by == "teacher" else start.label_logits
    torch.testing.assert_close(labelled.label_logits, wanted)
    figures = teacher_figures(settings, data, adjusted)
    assert figures is not None and figures.mean_logits is not None
    assert (figures.tau, figures.mean_logits.accuracy_mean) == (told.tau, told.accuracy)
    plain = tiny_context(tmp_path, with_teacher())
    assert adjust_labels(plain, data, teacher, start) == (start, teacher)


@pytest.mark.parametrize("augmentation", [(), ("color", "rotate")])
def test_tau_is_found_on_views_that_the_teacher_does_not_know_by_heart(
    tmp_path: Path, augmentation: tuple[str, ...]
) -> None:
    settings = with_teacher(label_adjustment="adsa")
    dataset = settings.dataset.model_copy(update={"augmentation": augmentation})
    settings = settings.model_copy(update={"dataset": dataset})
    data = tiny_data(settings)
    network, theta = fresh_network(settings, data, "convnet")
    teacher, start = Teacher(network, [theta], []), tiny_set(data)
    of_images = search_tau(teacher.logits(start.images), torch.arange(10).repeat_interleave(2), data.class_counts)
    found = [adjust_labels(tiny_context(tmp_path, settings), data, teacher, start)[1].tau for _ in range(2)]
    assert found[0] == found[1], "the same views in every worker"
    assert (found[0] == of_images) == (not augmentation)


@pytest.mark.parametrize(
    ("method", "kind", "expected"),
    [
        ("random", "balanced_softmax", ["teacher"]),
        ("random", "classifier_experts", ["experts", "classifier_experts", "teacher"]),
        ("datm", "glmc", ["experts", "teacher", "distill"]),
        ("datm", "classifier_experts", ["experts", "classifier_experts", "teacher", "distill"]),
    ],
)
def test_a_run_names_the_stages_that_it_has(method: str, kind: str, expected: list[str]) -> None:
    stages = stages_of(with_teacher(kind, method))
    assert [stage for stage in stages if stage in ("experts", "classifier_experts", "teacher", "distill")] == expected
    assert "teacher" not in stages_of(tiny_settings(method))
