"""Experts of a replay buffer give the same matching gradient as the same weights in our own cache."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.__main__ import main
from engine.importing.imported_sets import imported_sources
from engine.importing.replay_buffers import import_experts
from engine.nets.functional import FlatNetwork
from engine.run.errors import InputError
from engine.run.events import ExpertDone, Warned
from engine.run.expert_cache import ABOUT, CachedExperts, cached_experts, experts_root, imported_faults, trained_alike
from engine.run.folder import read_json
from engine.run.validation import check_runnable
from engine.stages.distill import student_matcher
from engine.stages.experts import train_classifier_experts, train_experts
from engine.training.accuracy import per_class_accuracy
from engine.training.from_scratch import fresh_network
from engine.trajectories import Trajectory
from tests.engine.tiny_run import CPU, tiny_context, tiny_data, tiny_set, tiny_settings

EXPERTS = {"width": 4, "depth": 2, "num_experts": 2, "epochs": 2}
FEW_STEPS = {"iterations": 3, "max_start_epoch": 1, "syn_steps": 2, "syn_steps_cls": 2}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "cache"))


def as_buffer(network: FlatNetwork, trajectory: Trajectory) -> list[list[Tensor]]:
    """An expert as MTT's buffer.py appends it: tensors of all parameters, at the start and after each epoch."""
    snapshots = [trajectory.at(epoch) for epoch in range(trajectory.last_epoch_kept + 1)]
    return [[tensor.clone() for tensor in network.unflatten(theta).values()] for theta in snapshots]


def buffer(folder: Path, change: int | None = None, epochs: int = 2) -> Path:
    """replay_buffer_0.pt with one expert, and replay_buffer_1.pt with another one, of random weights."""
    settings = tiny_settings()
    network, _ = fresh_network(settings, tiny_data(settings), "convnet")
    draws = torch.Generator().manual_seed(0)
    for number in range(2):
        weights = torch.randn(epochs + 2, network.num_parameters, generator=draws)
        expert = as_buffer(network, Trajectory(weights, torch.empty(0), torch.empty(0)))
        if change is not None:
            expert[1][change] = expert[1][change][:2]
        torch.save([expert], folder / f"replay_buffer_{number}.pt")
    return folder


def test_the_matching_gradient_is_that_of_the_same_weights_in_our_cache(tmp_path: Path) -> None:
    context = tiny_context(tmp_path / "own", tiny_settings(compile="never", matching=FEW_STEPS))
    data = tiny_data(context.settings)
    network, _ = fresh_network(context.settings, data, "convnet")
    own = train_experts(context, data, network)
    torch.save([as_buffer(network, expert) for expert in own], tmp_path / "replay_buffer_0.pt")
    key = import_experts(tmp_path, context.settings, CPU, lambda event: None)
    settings = tiny_settings(experts=EXPERTS | {"imported": key}, compile="never", matching=FEW_STEPS)
    taken = tiny_context(tmp_path / "taken", settings, events := [])
    imported = train_experts(taken, data, network)
    assert any("trained elsewhere" in event.message for event in events if isinstance(event, Warned))
    assert imported_sources(taken.folder, settings)["experts"]["source"] == str(tmp_path)
    assert all(torch.equal(one.at(1), two.at(1)) for one, two in zip(own, imported, strict=True))
    gradients = []
    for run, experts in ((context, own), (taken, imported)):
        # Phase cls as well: both follow the classifier experts that were trained from our own.
        classifiers = train_classifier_experts(context, data, network, own)
        matcher = student_matcher(run, data, network, experts, classifiers, tiny_set(data))
        gradients.append(matcher.gradient(tiny_set(data), 0, torch.Generator().manual_seed(0)).gradient)
    for one, two in zip(*gradients, strict=True):
        assert one.abs().sum() > 0 and torch.equal(one, two)


def test_imported_experts_are_tested_and_get_classifiers_by_the_images_of_the_run(tmp_path: Path) -> None:
    key = import_experts(buffer(tmp_path), tiny_settings(), CPU, lambda event: None)
    classifiers = []
    for whitening in ("corrected", "none"):
        settings = tiny_settings("ltdd", whitening, experts=EXPERTS | {"imported": key}, compile="never")
        context, data = tiny_context(tmp_path / whitening, settings, events := []), tiny_data(settings)
        network, _ = fresh_network(settings, data, "convnet")
        experts = train_experts(context, data, network)
        accuracies = [
            per_class_accuracy(network, expert.last, data.test_images, data.test_labels).tolist() for expert in experts
        ]
        assert [expert.per_class.tolist() for expert in experts] == accuracies
        assert [event.per_class for event in events if isinstance(event, ExpertDone)] == accuracies
        assert cached_experts(settings, "cpu") == CachedExperts(representation=2, classifier=0)
        classifiers.append(train_classifier_experts(context, data, network, experts)[0].last)
        assert cached_experts(settings, "cpu") == CachedExperts(representation=2, classifier=2)
    assert not torch.equal(*classifiers)


def test_imported_experts_say_where_they_are_from_and_what_fits_them(tmp_path: Path) -> None:
    key = import_experts(buffer(tmp_path), tiny_settings(), CPU, lambda event: None)
    about = read_json(experts_root() / key / ABOUT)
    assert (about["kind"], about["source"], about["experts"], about["epochs"]) == (
        "imported experts",
        str(tmp_path),
        2,
        2,
    )
    assert set(about["sha256"]) == {"replay_buffer_0.pt", "replay_buffer_1.pt"}

    def faults(**more: object) -> str:
        matching = {"iterations": 3, "max_start_epoch": more.pop("max_start_epoch", 1)}
        settings = tiny_settings(experts=EXPERTS | {"imported": key} | more, matching=matching)
        assert check_runnable(settings) == imported_faults(settings)
        return " ".join(str(fault) for fault in imported_faults(settings))

    assert faults() == ""
    assert "their network is network convnet width 4 depth 2, the run's network convnet width 8" in faults(width=8)
    assert "there are 2, experts.num_experts is 3" in faults(num_experts=3)
    assert "they have 2 epochs, matching reads 3" in faults(epochs=9, max_start_epoch=2)
    assert "there are no such experts" in faults(imported="0123456789abcdef")
    settings = tiny_settings(experts=EXPERTS | {"imported": key})
    assert cached_experts(settings, "cpu") == CachedExperts(representation=2, classifier=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (0, r"replay_buffer_0.pt, expert 0, epoch 1: blocks.0.conv.weight has the shape \(2, 1, 3, 3\)"),
        (9, r"classifier.bias has the shape \(2,\), the run's network \(10,\)"),
    ],
)
def test_a_layer_of_another_shape_is_named(tmp_path: Path, change: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        import_experts(buffer(tmp_path, change), tiny_settings(), CPU, lambda event: None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([[[torch.zeros(1)]]], "an epoch at least"),
        ([[[1], [2]]], "no list of tensors"),
        ({"a": torch.zeros(1)}, "this is no replay buffer"),
        ([], "this is no replay buffer"),
        (b"cat\nsome text", "is no file of torch.save"),
        (b"", "is no file of torch.save"),
    ],
)
def test_what_is_no_replay_buffer_is_refused(tmp_path: Path, content: object, message: str) -> None:
    if isinstance(content, bytes):
        (tmp_path / "replay_buffer_0.pt").write_bytes(content)
    else:
        torch.save(content, tmp_path / "replay_buffer_0.pt")
    with pytest.raises(InputError, match=message):
        import_experts(tmp_path, tiny_settings(), CPU, lambda event: None)


def test_experts_imported_once_are_refused_for_another_network(tmp_path: Path) -> None:
    key = import_experts(buffer(tmp_path), tiny_settings(), CPU, lambda event: None)
    with pytest.raises(InputError, match=r"experts\.width"):
        import_experts(tmp_path, tiny_settings(experts=EXPERTS | {"width": 8}), CPU, lambda event: None)
    assert not imported_faults(tiny_settings(experts=EXPERTS | {"imported": key})), "they are still what they were"


def test_the_worker_prints_the_name_of_imported_experts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = ["--set", "experts.width=4", "--set", "dataset.whitening=corrected"]
    assert main(["import-experts", str(buffer(tmp_path)), "--preset", "quickstart", *network, "--device", "cpu"]) == 0
    printed = capsys.readouterr()
    assert (experts_root() / json.loads(printed.out)["imported"] / ABOUT).is_file()
    assert "expert 1: 2 epochs" in printed.err
    assert main(["import-experts", str(tmp_path), "--preset", "quickstart", "--device", "cpu"]) == 2
    assert "blocks.0.conv.weight has the shape" in json.loads(capsys.readouterr().out)["faults"][0]["what"]


def test_experts_of_our_own_keep_the_name_that_they_had_before_there_was_the_setting() -> None:
    assert "imported" not in trained_alike(tiny_settings())
