"""Sampling and the batches of several networks, against their definitions."""

from __future__ import annotations

import itertools

import pytest
import torch

from engine.data.augment import apply, draw
from engine.training import batches as prepared
from engine.training.batches import TrainingStream, augmented_batches, class_aware_batches, shuffled_batches

KINDS = ("color", "crop", "cutout", "flip", "scale", "rotate")


def test_class_aware_batches_show_every_class_equally():
    labels = torch.tensor([0] * 37 + [1] * 9 + [2] * 2)
    drawn = torch.cat(list(class_aware_batches(labels, 3, 4, 16, torch.Generator().manual_seed(0))))
    assert torch.bincount(labels[drawn]).tolist() == [37, 37, 37]  # max n_c draws a class
    assert len(torch.unique(drawn)) == len(labels)  # and every image is seen


def test_class_aware_turns_stay_balanced_within_one_turn_of_every_class():
    labels = torch.tensor([0] * 40 + [1] * 8)
    drawn = labels[torch.cat(list(class_aware_batches(labels, 2, 4, 16, torch.Generator().manual_seed(0))))]
    for start in range(0, len(drawn), 8):
        assert torch.bincount(drawn[start : start + 8]).tolist() == [4, 4]


def test_shuffled_batches_show_every_image_once():
    batches = list(shuffled_batches(10, 4, torch.Generator().manual_seed(0)))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert sorted(torch.cat(batches).tolist()) == list(range(10))


@pytest.mark.parametrize("ahead", [1, 3000, 2**22])
def test_batches_prepared_ahead_are_those_of_each_network_alone_step_by_step(monkeypatch, ahead):
    monkeypatch.setitem(prepared._AHEAD_BYTES, "cpu", ahead)
    images = [torch.rand(7, 1, 8, 8, generator=torch.Generator().manual_seed(n)) for n in range(3)]
    targets = torch.arange(7)
    sources = [
        TrainingStream.shuffled(own, targets, 4, 5, torch.Generator().manual_seed(n)) for n, own in enumerate(images)
    ]
    shown = list(augmented_batches(sources, KINDS))
    assert [batch.shape for batch, _ in shown] == [(3, 4, 1, 8, 8), (3, 3, 1, 8, 8)] * 5
    for network, own in enumerate(images):
        alone = torch.Generator().manual_seed(network)
        epochs = itertools.chain.from_iterable(shuffled_batches(7, 4, alone) for _ in range(5))
        for (batch, wanted), indices in zip(shown, epochs, strict=True):
            assert torch.equal(wanted[network], targets[indices])
            expected = apply(draw(KINDS, len(indices), 8, alone), own[indices])
            assert torch.allclose(batch[network], expected, atol=1e-6)
