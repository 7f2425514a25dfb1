"""Expert trajectories on disk: only what is read again, mapped rather than read, in half the room where asked for."""

from __future__ import annotations

import mmap
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from engine.run.errors import RunFailed
from engine.run.expert_cache import classifier_epochs, representation_epochs
from engine.run.folder import write_atomically
from engine.run.network_cost import network_cost
from engine.run.presets import load_preset
from engine.training.accuracy import ClassFigures
from engine.trajectories import ExpertStore, Recorder, Trajectory

GIGABYTE = 10**9
CIFAR = {"channels": 3, "classes": 10, "image_size": 32, "width": 128, "depth": 3}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path))
    return tmp_path


def trajectory(rows: int, parameters: int) -> Trajectory:
    weights = torch.randn(rows, parameters, generator=torch.Generator().manual_seed(0))
    return Trajectory(weights, torch.full((10,), 50.0, dtype=torch.float64), torch.ones(10))


def test_a_hundred_experts_of_cifar10_take_three_gigabytes_and_half_of_that_in_float16():
    settings = load_preset("cifar10-lt-if100-ipc10", ["matching.max_start_epoch=20"])
    assert settings.experts.num_experts == 100
    backbone, classifier = network_cost("convnet", **CIFAR).parameters
    for storage, most in (("float32", 3.0), ("float16", 1.5)):
        stored = 0
        for kind, epochs, parameters in (
            ("rep", representation_epochs(settings), backbone + classifier),
            ("cls", classifier_epochs(settings), classifier),
        ):
            store = ExpertStore(kind + storage, storage)
            store.save(0, trajectory(epochs + 2, parameters))
            stored += store.path(0).stat().st_size
        assert most - 0.05 < 100 * stored / GIGABYTE <= most


def test_a_recorder_keeps_copies_of_the_epochs_that_are_read_again_and_of_the_last():
    theta = torch.zeros(2, 3)
    recorder = Recorder(theta, last_epoch=2)
    for _ in range(5):
        theta += 1
        recorder.record(theta)
    right = torch.ones(4, dtype=torch.bool)
    results = [ClassFigures(torch.tensor([[4]]), torch.tensor([of]), right) for of in (60.0, 70.0)]
    first, second = recorder.finish(theta, results, [[1.0], [2.0]])
    theta.zero_()
    for trajectory in (first, second):
        assert trajectory.weights[:, 0].tolist() == [0, 1, 2, 5]
        assert trajectory.last_epoch_kept == 2
    assert (first.norms.item(), second.norms.item()) == (1.0, 2.0)
    assert (first.per_class.item(), second.confidence.item()) == (100.0, 70.0)


def test_experts_of_an_older_version_are_read_without_their_confidence():
    store = ExpertStore("key", "float32")
    old = trajectory(3, 5)
    for written in (old, replace(old, confidence=torch.tensor([62.5]))):
        store.save(0, written)
        read = store.load(0, 1)
        assert read is not None
        assert (read.confidence is None) == (written.confidence is None)
        assert read.weights.equal(written.weights)
    assert read.confidence.tolist() == [62.5]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="asks Linux what is mapped")
def test_loaded_weights_are_mapped_from_their_file_and_survive_its_replacement():
    store, own = ExpertStore("mapped", "float32"), trajectory(40, 200_000)
    store.save(0, own)
    before = _resident()
    loaded = store.load(0, 38)
    assert loaded is not None
    assert _resident() - before < own.weights.nbytes / 2, "loading reads nothing"
    assert str(store.path(0)) in Path("/proc/self/maps").read_text()
    store.save(0, trajectory(3, 7))
    assert torch.equal(loaded.weights, own.weights)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * mmap.PAGESIZE


def test_float16_rounds_and_gives_float32_back():
    store, own = ExpertStore("half", "float16"), trajectory(4, 100)
    store.save(0, own)
    loaded = store.load(0, 2)
    assert loaded is not None and loaded.weights.dtype == torch.float16
    for row in (loaded.at(1), loaded.last):
        assert row.dtype == torch.float32
    assert torch.allclose(loaded.at(1), own.at(1), rtol=2**-11, atol=1e-7)


@pytest.mark.parametrize("storage", ["float32", "float16"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-100],
        lambda raw: b"",
        lambda raw: b"\xff" * 200,
        lambda raw: raw[:-300] + bytes([raw[-300] ^ 1]) + raw[-299:],
    ],
    ids=["cut", "empty", "noise", "flipped"],
)
def test_a_damaged_file_is_told_and_not_loaded_nor_one_with_too_few_epochs(damage, storage):
    told = []
    store = ExpertStore(f"damaged-{storage}", storage, told.append)
    store.save(0, trajectory(4, 100))
    assert store.load(0, 2) is not None and store.load(0, 3) is None and store.load(1, 0) is None and told == []
    store.path(0).write_bytes(damage(store.path(0).read_bytes()))
    assert store.load(0, 0) is None
    assert len(told) == 1 and str(store.path(0)) in told[0].message and "made again" in told[0].message


def test_a_file_of_an_older_version_has_no_checksum_and_is_loaded():
    store, own = ExpertStore("older", "float32"), trajectory(3, 5)
    write_atomically(store.path(0), save({"weights": own.weights, "per_class": own.per_class, "norms": own.norms}))
    loaded = store.load(0, 1)
    assert loaded is not None and torch.equal(loaded.weights, own.weights)


def test_experts_that_are_not_finite_are_neither_kept_nor_taken_from_the_cache():
    store, good = ExpertStore("key", "float16"), trajectory(3, 5)
    with pytest.raises(RunFailed, match=r"weights of expert 0 are not finite as torch\.float16"):
        store.save(0, replace(good, weights=good.weights * 1e6))
    assert not store.path(0).exists()
    # As an older version has kept them.
    bad = {"weights": torch.full((3, 5), torch.nan), "per_class": good.per_class, "norms": good.norms}
    write_atomically(store.path(0), save(bad))
    assert store.load(0, 1) is None
