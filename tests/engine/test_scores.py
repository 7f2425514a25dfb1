"""What LRS and ARS are made from: which networks on which images, with step sizes that no test image has chosen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine import scores as scoring
from engine.context import Context
from engine.data.dataset import LongTailedData
from engine.pipeline import score
from engine.run.errors import InputError
from engine.run.events import Evaluated, Event, RunFinished, StageStarted
from engine.run.folder import read_json, write_json
from engine.run.scores import PARTS, STEP_SIZES
from engine.run.settings import RunSettings
from engine.stages.evaluate import EvaluationTarget, evaluate
from tests.engine.tiny_run import figures, finish_run, tiny_context, tiny_data, tiny_settings

SHORT = {"hard": {"epochs": 2}, "bounds": {"epochs": 1}}


class Stop(Exception):
    """A stop request."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[EvaluationTarget, LongTailedData, RunSettings]]:
    """What is evaluated, where every evaluation is 50 % but that of step size 0.05 on held-out images."""
    seen: list[tuple[EvaluationTarget, LongTailedData, RunSettings]] = []

    def recorded(
        context: Context, data: LongTailedData, target: EvaluationTarget, arch: str, repeats: int, _: object
    ) -> Evaluated:
        seen.append((target, data, context.settings))
        best = "held-out" in target.key and target.training_set(0).learning_rate == 0.05
        return figures("x", None, mean=51.0 if best else 50.0)

    def bounds(context: Context, data: LongTailedData, key: str) -> list[Evaluated]:
        own, mean = context.settings.bounds, 90.0 if key == "bound" else 80.0
        assert own.losses == ("plain",) and len(data.train_images) == 371 and not context.settings.teacher.cutmix
        return [replace(figures("bound:plain", None, mean=mean), repeats=own.networks, accuracy_std=float(own.epochs))]

    monkeypatch.setattr(scoring, "evaluate", recorded)
    monkeypatch.setattr(scoring, "evaluate_bounds", bounds)
    return seen


def test_step_sizes_are_chosen_on_train_images_that_random_images_leave_out(
    tmp_path: Path, asked: list[tuple[EvaluationTarget, LongTailedData, RunSettings]]
) -> None:
    settings = tiny_settings(**SHORT)
    finish_run(tmp_path, settings)
    score(tiny_context(tmp_path, settings), 2)
    whole = tiny_data(settings)
    searches = [one for one in asked if "held-out" in one[0].key]
    assert len(searches) == 4 * len(STEP_SIZES) and len(asked) == len(searches) + len(PARTS) - 1
    train = {image.numpy().tobytes() for image in whole.train_images}
    for target, data, _ in searches:
        held_out = {image.numpy().tobytes() for image in data.test_images}
        assert held_out <= train
        assert data.test_counts == [27, 17, 11, 7, 5, 3, 2, 1, 1, 1], "a fifth of each class, and one of the smallest"
        if target.key.startswith("random"):
            shown = {image.numpy().tobytes() for image in target.training_set(0).images}
            assert not shown & held_out and shown <= train
    for target, data, _ in asked:
        if "held-out" not in target.key:
            assert torch.equal(data.test_images, whole.test_images)
    found = json.loads((tmp_path / "result" / "scores.json").read_text())
    rates = {name: (part["learning_rate"], part["searched"]) for name, part in found["parts"].items()}
    assert found["held_out"] == 75
    assert rates == {
        "full_hard": (0.05, False),
        "set_hard": (0.05, True),
        "random_hard": (0.05, True),
        "set": (pytest.approx(0.03), False),
        "random": (0.05, True),
        "set_plain": (pytest.approx(0.03), False),
        "random_plain": (0.05, True),
    }


def test_each_part_is_trained_on_its_images_by_its_labels_and_augmentation(
    tmp_path: Path, asked: list[tuple[EvaluationTarget, LongTailedData, RunSettings]]
) -> None:
    settings = tiny_settings(**SHORT)
    finish_run(tmp_path, settings)
    score(tiny_context(tmp_path, settings), 2)
    names = [name for name in PARTS if name != "full_hard"]
    tested = {name: one for name, one in zip(names, (o for o in asked if "held-out" not in o[0].key), strict=True)}
    assert {name: target.regime for name, (target, *_) in tested.items()} == {
        name: "hard" if name.endswith("hard") else "stored" for name in names
    }
    assert {len(target.training_set(0).images) for target, *_ in tested.values()} == {20}
    for name, (target, _, own) in tested.items():
        assert (own.dataset.augmentation == ()) == name.endswith("plain")
        soft = bool((target.training_set(0).targets.amax(dim=1) < 0.99).any())
        assert soft == (name in ("set", "set_plain"))
    # What the run has trained itself is read back from its own files, all else has files of its own.
    keys = [target.key for target, *_ in tested.values()]
    assert len(set(zip(keys, (target.regime for target, *_ in tested.values()), strict=True))) == len(names)
    assert tested["set"][0].key == "set" and tested["random"][0].key == "random-rate-0.05"


@pytest.mark.parametrize(
    ("asked_for", "hard_epochs", "epochs"), [((), 2, 3), ((), 100, 34), (("plain",), 100, 3)], ids=str
)
def test_all_images_get_no_fewer_steps_than_a_small_set_unless_the_run_has_that_bound(
    tmp_path: Path,
    asked: list[tuple[EvaluationTarget, LongTailedData, RunSettings]],
    asked_for: tuple[str, ...],
    hard_epochs: int,
    epochs: int,
) -> None:
    # 371 images are three batches of 128, the set is one.
    settings = tiny_settings(hard={"epochs": hard_epochs}, bounds={"epochs": 3, "losses": asked_for})
    folder = finish_run(tmp_path, settings).folder
    score(tiny_context(tmp_path, settings), 4)
    full = json.loads(folder.scores.read_text())["parts"]["full_hard"]
    assert (full["accuracy_mean"], full["repeats"], full["accuracy_std"]) == (90.0, 4, epochs)


@pytest.mark.usefixtures("asked")
def test_a_bound_whose_labels_were_mixed_is_not_taken_for_all_images(tmp_path: Path) -> None:
    settings = tiny_settings(**SHORT | {"bounds": {"epochs": 1, "losses": ["plain"]}}, teacher={"cutmix": 1.0})
    folder = finish_run(tmp_path, settings).folder
    score(tiny_context(tmp_path, settings), 1)
    assert json.loads(folder.scores.read_text())["parts"]["full_hard"]["accuracy_mean"] == 80.0, "files of its own"


def test_with_hard_labels_as_its_own_recipe_the_sets_step_size_is_searched_too(
    tmp_path: Path, asked: list[tuple[EvaluationTarget, LongTailedData, RunSettings]]
) -> None:
    settings = tiny_settings(**SHORT)
    folder = finish_run(tmp_path, settings).folder
    write_json(folder.metrics, read_json(folder.metrics) | {"labels": "hard"})
    score(tiny_context(tmp_path, settings), 2)
    assert len(asked) == 6 + 6 * len(STEP_SIZES)
    found = json.loads(folder.scores.read_text())["parts"]
    assert found["set"] == found["set_hard"] and found["random"] == found["random_hard"]


def test_a_scoring_that_is_stopped_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tiny_settings(**SHORT)
    outcomes, events = [], list[Event]()
    for name in ("whole", "stopped"):
        finish_run(tmp_path / name, settings)
        context = tiny_context(tmp_path / name, settings, events)
        if name == "stopped":
            trained = 0

            def interrupted(*arguments: object, **more: object) -> Evaluated:
                nonlocal trained
                trained += 1
                if trained == 9:
                    raise Stop
                return evaluate(*arguments, **more)  # type: ignore[arg-type]

            with monkeypatch.context() as patch:
                patch.setattr(scoring, "evaluate", interrupted)
                with pytest.raises(Stop):
                    score(context, 1)
            assert not context.folder.scores.exists()
        score(context, 1)
        outcomes.append(context.folder.scores.read_bytes())
    assert outcomes[0] == outcomes[1]
    assert not [event for event in events if isinstance(event, Evaluated)], "they are no evaluations of the run"
    assert isinstance(events[-1], RunFinished)
    (stage, *_) = [event for event in events if isinstance(event, StageStarted) and event.stage == "scores"]
    assert stage.total == 6 + 4 * len(STEP_SIZES)


def test_an_unfinished_run_and_no_networks_are_refused(tmp_path: Path) -> None:
    context = tiny_context(tmp_path, tiny_settings())
    with pytest.raises(InputError, match="0 networks"):
        score(context, 0)
    with pytest.raises(InputError, match="no result yet"):
        score(context, 1)
