"""Label regimes, and the confusion matrix of the final set: they agree with what is told, and survive interruptions."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.context import Context
from engine.pipeline import evaluate_again, run
from engine.run import folder
from engine.run.errors import InputError, Stopped
from engine.run.events import Evaluated, Event, Warned
from engine.stages import evaluate as stage
from engine.stages.evaluate import (
    evaluate,
    evaluation_key,
    random_target,
    read_networks,
    summed_confusion,
    synthetic_target,
)
from engine.teachers import Teacher
from engine.training.accuracy import ClassFigures, class_figures
from engine.training.from_scratch import fresh_network, train_from_scratch
from tests.engine.tiny_run import tiny_context, tiny_data, tiny_set, tiny_settings


def evaluated(context: Context, key: str) -> tuple[Evaluated, list[list[int]] | None]:
    data = tiny_data(context.settings)
    target = synthetic_target(context, data, "final", key, 3, tiny_set(data))
    return evaluate(context, data, target, "convnet", 2), summed_confusion(context, data, target, "convnet", 2)


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
        older = [{"per_class": one["per_class"], "norms": one["norms"]} for one in folder.read_json(file)]
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


@pytest.mark.parametrize(("rate", "told"), [(1e30, ["evaluate.learning_rate"]), (0.01, [])])
def test_networks_whose_training_diverges_are_told_also_where_they_are_read_back(
    tmp_path: Path, rate: float, told: list[str]
) -> None:
    events: list[Event] = []
    more = {"repeats": 2, "epochs": 2, "learning_rate": rate}
    context = tiny_context(tmp_path, tiny_settings(compile="never", evaluate=more), events)
    for _ in range(2):
        evaluated(context, "set")
        (event,) = (event for event in events if isinstance(event, Evaluated))
        assert event.diverged == 2 * len(told)
        warned = [event for event in events if isinstance(event, Warned)]
        events.clear()
        assert [warning.hint.split()[-1] for warning in warned] == told
        assert all("final, stored labels, convnet: the training of 2 of 2" in warning.message for warning in warned)


# ---- Label regimes ----

REGIMES = ("online", "stored", "hard")
SHORT = {"hard": {"epochs": 2}, "online": {"epochs": 2, "batch_size": 7}}


def tiny_teacher(context: Context) -> Teacher:
    network, theta = fresh_network(context.settings, tiny_data(context.settings), "convnet", "teacher")
    return Teacher(network, [theta], [torch.full((10,), 50.0, dtype=torch.float64)])


def test_a_set_is_labelled_by_place_in_the_hard_regime_whatever_its_soft_labels_say(tmp_path: Path) -> None:
    context = tiny_context(tmp_path, tiny_settings(hard={"learning_rate": 0.2}))
    data = tiny_data(context.settings)
    elsewhere = tiny_set(data)._replace(label_logits=torch.eye(10).roll(1, dims=1).repeat_interleave(2, 0))
    for regime, rate in (("hard", 0.2), ("online", 1e-3)):
        shown = synthetic_target(
            context, data, "final", "set", 3, elsewhere, regime, tiny_teacher(context)
        ).training_set(0)
        assert shown.targets.argmax(1).tolist() == [c for c in range(10) for _ in range(2)]
        assert shown.targets.sum().item() == 20 and shown.learning_rate == rate
    stored = synthetic_target(context, data, "final", "set", 3, elsewhere).training_set(0)
    assert stored.targets.argmax(1).tolist() == [(c + 1) % 10 for c in range(10) for _ in range(2)]


def test_random_images_are_the_same_in_each_regime_and_get_a_teachers_labels_where_the_start_has_them(
    tmp_path: Path,
) -> None:
    for labels in ("experts", "teacher"):
        context = tiny_context(tmp_path, tiny_settings(initialize={"labels": labels}))
        data, teacher = tiny_data(context.settings), tiny_teacher(context)
        sets = {regime: random_target(context, data, regime, teacher).training_set(1) for regime in REGIMES}
        for regime, shown in sets.items():
            assert torch.equal(shown.images, sets["stored"].images)
            hard = torch.eye(10).repeat_interleave(2, 0)
            soft = regime == "stored" and labels == "teacher"
            assert random_target(context, data, regime, teacher).teacher_labels == soft
            assert torch.equal(shown.targets, teacher.logits(shown.images).softmax(1) if soft else hard)


def test_networks_of_a_regime_have_files_of_their_own_and_stored_ones_the_names_of_older_runs(tmp_path: Path) -> None:
    context = tiny_context(tmp_path, tiny_settings(compile="never", **SHORT))
    data, teacher, events = tiny_data(context.settings), tiny_teacher(context), []
    for regime in REGIMES:
        target = synthetic_target(context, data, "final", "set", 3, tiny_set(data), regime, teacher)
        events.append(evaluate(context, data, target, "convnet", 1))
    assert [event.labels for event in events] == list(REGIMES)
    assert len({tuple(event.classifier_norms) for event in events}) == 3
    names = sorted(file.name for file in context.folder.evaluations.iterdir())
    assert names == [f"set-000003{regime}-convnet-0.json" for regime in ("", "-hard", "-online")]


def test_online_labels_need_a_teacher(tmp_path: Path) -> None:
    context = tiny_context(tmp_path, tiny_settings(compile="never", **SHORT))
    data = tiny_data(context.settings)
    with pytest.raises(AssertionError, match="teacher"):
        evaluate(
            context, data, synthetic_target(context, data, "final", "set", 3, tiny_set(data), "online"), "convnet", 1
        )


def regime_run(root: Path, labels: tuple[str, ...], stop_after: int | None = None) -> Context:
    """A run of random images, told to stop after so many networks of all evaluations."""
    settings = tiny_settings("random", compile="never", **SHORT)
    recipe = settings.evaluate.model_copy(update={"labels": labels, "arch": ("convnet",)})
    context, done = tiny_context(root, settings.model_copy(update={"evaluate": recipe})), []

    def check_stop() -> None:
        if stop_after is not None and any(context.folder.evaluations.glob("*")):
            done.append(1)
            if len(done) >= stop_after:
                raise Stopped("stopped on request")

    context = replace(context, check_stop=check_stop)
    run(context)
    return context


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """A finished run in all regimes, online first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LTDD_CACHE", str(tmp_path_factory.mktemp("cache")))
        return regime_run(tmp_path_factory.mktemp("runs") / "whole", REGIMES)


def test_every_regime_that_is_asked_for_has_its_figures_beside_the_teacher_and_the_bytes(whole: Context) -> None:
    metrics = json.loads(whole.folder.metrics.read_text())
    assert metrics["labels"] == "online" and list(metrics["regimes"]) == list(REGIMES)
    for name in ("random", "initialization", "final"):
        assert all(regime[name]["repeats"] == 2 for regime in metrics["regimes"].values())
        assert metrics[name] == metrics["regimes"]["online"][name]
    assert metrics["teacher"]["kind"] == "classifier_experts" and metrics["teacher"]["repeats"] == 2
    weights = fresh_network(whole.settings, tiny_data(whole.settings), "convnet")[0].num_parameters
    images = {"images_float32": 4 * 20 * 64, "images_uint8": 20 * 64}
    kept = images | {"labels_float32": 0, "teacher_float32": 2 * 4 * weights}
    assert metrics["stored_bytes"].pop("whitening_float32") > 4 * 64 * 32, "a basis of 64 pixels in many directions"
    assert metrics["stored_bytes"] == kept | {
        "set_file": whole.folder.distilled.stat().st_size,
        "all_images": sum(metrics["class_counts"]) * 64,
    }


def test_an_interrupted_evaluation_in_a_regime_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Context
) -> None:
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "cache"))
    with pytest.raises(Stopped):
        regime_run(tmp_path / "run", REGIMES, stop_after=3)
    again = regime_run(tmp_path / "run", REGIMES)
    files = {file.name: file.read_bytes() for file in whole.folder.evaluations.iterdir()}
    assert {file.name: file.read_bytes() for file in again.folder.evaluations.iterdir()} == files
    assert len(files) == 2 * 2 * 3


def test_a_finished_run_is_evaluated_in_further_regimes_to_the_figures_that_it_would_have_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Context
) -> None:
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "cache"))
    context = regime_run(tmp_path / "run", ("stored",))
    before = folder.read_json(context.folder.metrics)
    assert before["teacher"] is None and list(before["regimes"]) == ["stored"]
    older = {key: value for key, value in before.items() if key not in ("labels", "regimes", "stored_bytes")}
    context.folder.metrics.write_text(json.dumps(older))
    evaluate_again(context, None, None, ["hard", "online"])
    metrics, expected = (json.loads(one.folder.metrics.read_text()) for one in (context, whole))
    assert metrics["regimes"] == expected["regimes"]
    assert (metrics["labels"], metrics["final"]) == ("stored", before["final"])
    assert (metrics["teacher"], metrics["stored_bytes"]) == (expected["teacher"], expected["stored_bytes"])
    evaluate_again(context, ["alexnet"], 1, ["online"])
    metrics = json.loads(context.folder.metrics.read_text())
    assert metrics["regimes"]["online"]["architectures"]["alexnet"]["repeats"] == 1
    assert metrics["regimes"]["online"]["final"] == expected["final"] and metrics["architectures"] == {}
    with pytest.raises(InputError, match=r"(?s)no label regime 'soft'.*hard, stored, online"):
        evaluate_again(context, None, None, ["soft"])


def trained_in(root: Path, patch: pytest.MonkeyPatch, target_key: str = "set", **more: Any) -> tuple[int, Evaluated]:
    """How many networks a run in its own folder trains for an evaluation of two, and its figures."""
    trained = list[int]()

    def counted(*arguments: Any, **named: Any) -> Any:
        trained.append(len(arguments[2]))
        return train_from_scratch(*arguments, **named)

    patch.setattr(stage, "train_from_scratch", counted)
    event, _ = evaluated(tiny_context(root, tiny_settings(compile="never", **more)), target_key)
    return sum(trained), event


def test_what_an_earlier_run_trained_alike_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = trained_in(tmp_path / "a", monkeypatch)
    again = trained_in(tmp_path / "b", monkeypatch)
    assert (first[0], again[0]) == (2, 0)
    assert again[1] == first[1]
    files = [sorted((tmp_path / run / "checkpoint" / "evaluations").iterdir()) for run in "ab"]
    assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"experts": {"width": 5, "depth": 2}},
        {"evaluate": {"repeats": 2, "epochs": 3}},
        {"evaluate": {"repeats": 2, "epochs": 2, "learning_rate": 0.02}},
        {"dataset": {"name": "digits", "imbalance_factor": 10.0}},
        {"dataset": {"name": "digits", "imbalance_factor": 50.0, "augmentation": ["crop"]}},
    ],
)
def test_other_settings_train_other_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: dict[str, Any]
) -> None:
    assert [trained_in(tmp_path / "a", monkeypatch)[0], trained_in(tmp_path / "b", monkeypatch, **other)[0]] == [2, 2]


@pytest.mark.parametrize(
    "what", ["same", "teacher", "recipe", "precision", "confusion", "device", "threads", "version", "form"]
)
def test_each_thing_that_decides_what_a_network_becomes_is_in_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """In the online regime, in which a teacher labels the images and is run in a form of its own."""

    def key(weights: float, **more: Any) -> str:
        context = tiny_context(tmp_path, tiny_settings(compile="never", **more))
        data, teacher = tiny_data(context.settings), tiny_teacher(context)
        teacher = replace(teacher, weights=[torch.full_like(own, weights) for own in teacher.weights])
        target = synthetic_target(context, data, "final", "set", 3, tiny_set(data), "online", teacher)
        return evaluation_key(context, data, target, "alexnet", [target.training_set(0)], [("name",)])

    before = key(1.0)
    match what:
        case "device":
            monkeypatch.setattr(stage, "device_name", lambda device: "another GPU")
        case "version":
            monkeypatch.setattr(stage, "versions", lambda: {"torch": "1.0"})
        case "threads":
            monkeypatch.setattr(stage.torch, "get_num_threads", lambda: 99)
        case "form":  # of the teacher alone
            monkeypatch.setattr(stage, "evaluation_is_compiled", lambda context, arch, *others: arch == "convnet")
        case "confusion":
            monkeypatch.setattr(stage, "MOST_IN_CONFUSION", 9)
    further = {"precision": {"evaluate": {"precision": "bf16"}}, "recipe": {"online": {"epochs": 3}}}.get(what, {})
    assert (key(2.0 if what == "teacher" else 1.0, **further) == before) == (what == "same")


def test_networks_are_tested_in_float32_whatever_they_are_trained_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU PyTorch's convolutions use TF32 unless they are told not to."""
    entered = list[str]()

    @contextlib.contextmanager
    def recorded(precision: str, device: torch.device) -> Iterator[None]:
        entered.append(precision)
        yield
        entered.pop()

    def tested(*arguments: Any) -> ClassFigures:
        assert entered == ["float32"]
        return class_figures(*arguments)

    monkeypatch.setattr(stage, "matmul_precision", recorded)
    monkeypatch.setattr(stage, "class_figures", tested)
    more = {"repeats": 2, "epochs": 2, "precision": "tf32"}
    evaluated(tiny_context(tmp_path, tiny_settings(compile="never", evaluate=more)), "check")


def damaged(**changes: Any) -> list[dict[str, Any]]:
    whole = {"per_class": [50.0, 60.0], "norms": [1.0, 2.0], "confidence": [40.0, 30.0], "confusion": [[3, 1], [0, 4]]}
    return [{name: value for name, value in (whole | changes).items() if value != "left out"}]


@pytest.mark.parametrize(
    ("found", "whole"),
    [
        (damaged(), True),
        (damaged(confidence="left out", confusion="left out"), True),
        (damaged(per_class=[50, math.nan]), True),
        (damaged(norms="left out"), False),
        (damaged(per_class="left out"), False),
        (damaged(per_class=[]), False),
        (damaged(per_class=7), False),
        (damaged(norms=[1.0]), False),
        (damaged(norms=["1.0", "2.0"]), False),
        (damaged(confidence=None), False),
        (damaged(confusion=[[3, 1]]), False),
        (damaged(confusion=[3, 1]), False),
        (damaged(confusion=4), False),
        ([7], False),
        ({"per_class": [50.0]}, False),
        (None, False),
    ],
)
def test_a_file_of_networks_is_taken_only_where_all_that_is_used_has_its_form(found: Any, whole: bool) -> None:
    folder.write_json(folder.evaluations_root() / "key.json", found)
    told = list[Event]()
    # As texts: one holds NaN, which is not equal to itself.
    assert str(read_networks("key", 1, 2, told.append)) == str(found if whole else None)
    assert bool(told) != whole, "a damaged file is told"
    assert read_networks("key", 2, 2, told.append) is None and read_networks("key", 1, 3, told.append) is None


def test_checks_other_threads_and_damaged_files_are_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [trained_in(tmp_path / run, monkeypatch, "check")[0] for run in "ab"] == [2, 2]
    trained_in(tmp_path / "c", monkeypatch)
    kept = list(folder.evaluations_root().iterdir())
    assert len(kept) == 2
    kept[0].write_text("[{}]")
    assert trained_in(tmp_path / "d", monkeypatch)[0] == 1
    monkeypatch.setattr(stage.torch, "get_num_threads", lambda: 3)
    assert trained_in(tmp_path / "e", monkeypatch)[0] == 2
