"""Matching starts from labels that the settings name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.nets.functional import FlatNetwork
from engine.run.events import Event, Initialized
from engine.stages.initialize import initialize
from engine.teachers import Teacher
from engine.training.from_scratch import fresh_network
from tests.engine.tiny_run import tiny_context, tiny_data, tiny_settings


def untrained(count: int) -> tuple[FlatNetwork, list[torch.Tensor]]:
    """A network of the tiny run, and the weights of `count` experts, which are wrong about most images."""
    settings = tiny_settings()
    network, _ = fresh_network(settings, tiny_data(settings), "convnet")
    return network, [fresh_network(settings, tiny_data(settings), "convnet", "expert", i)[1] for i in range(count)]


def test_one_expert_labels_every_image_by_its_own_logits_right_or_wrong(tmp_path: Path) -> None:
    settings, events = tiny_settings(initialize={"images": "real", "labels": "one_expert"}), list[Event]()
    network, experts = untrained(3)
    start = initialize(tiny_context(tmp_path, settings, events), tiny_data(settings), network, experts)
    logits = network(experts[0], start.images)
    torch.testing.assert_close(start.label_logits, logits)
    classes = torch.arange(10).repeat_interleave(2)
    assert (logits.argmax(dim=1) != classes).any(), "an expert that is always right would prove nothing"
    assert [event for event in events if isinstance(event, Initialized)] == [Initialized(0)]


@pytest.mark.parametrize("labels", ["experts", "class"])
def test_the_other_labels_always_name_the_images_class(tmp_path: Path, labels: str) -> None:
    settings = tiny_settings(initialize={"images": "real", "labels": labels})
    network, experts = untrained(3)
    start = initialize(tiny_context(tmp_path, settings), tiny_data(settings), network, experts)
    assert start.label_logits.argmax(dim=1).tolist() == [c for c in range(10) for _ in range(2)]


def test_recovery_starts_from_crops_that_its_teacher_is_sure_of_and_labels(tmp_path: Path) -> None:
    settings, noise = (
        tiny_settings("rldd", recovery={"crops": crops}, initialize={"images": "noise"}) for crops in (3, 0)
    )
    network, weights = untrained(2)
    data, teacher, classes = tiny_data(settings), Teacher(network, weights, []), torch.arange(10).repeat_interleave(2)
    start, again, from_noise = (
        initialize(tiny_context(tmp_path, of), data, network, weights, teacher) for of in (settings, settings, noise)
    )
    assert torch.equal(start.images, again.images)
    torch.testing.assert_close(start.label_logits, teacher.logits(start.images))
    of_own_class = teacher.logits(data.train_images).softmax(dim=1)[range(len(data.train_labels)), data.train_labels]
    sure = start.label_logits.softmax(dim=1)[range(20), classes]
    assert sure.mean() > of_own_class.mean()
    torch.testing.assert_close(from_noise.label_logits, teacher.logits(from_noise.images))
    assert not torch.equal(from_noise.images, start.images)
