"""Matching starts from labels that the settings name."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch

from engine.context import generator
from engine.data.selection import pick_real_images, select_real_images
from engine.nets.functional import FlatNetwork
from engine.run.events import Event, Initialized
from engine.run.methods import SelectionRule
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


@pytest.mark.parametrize("rule", get_args(SelectionRule))
@pytest.mark.parametrize("labels", ["experts", "teacher"])
def test_a_selection_is_a_method_and_a_start_for_matching(tmp_path: Path, rule: SelectionRule, labels: str) -> None:
    chosen_by, starts_with = tiny_settings(rule), tiny_settings(initialize={"images": rule, "labels": labels})
    data, (network, experts) = tiny_data(chosen_by), untrained(2)
    teacher = Teacher(network, experts, [])
    assert chosen_by.needs_teacher and starts_with.needs_teacher
    expected = select_real_images(data, 2, rule, teacher.features, teacher.logits)
    own, start = (
        initialize(tiny_context(tmp_path, settings), data, network, experts, teacher)
        for settings in (chosen_by, starts_with)
    )
    assert torch.equal(own.images, data.train_images[expected]) and torch.equal(start.images, own.images)
    classes = [c for c in range(10) for _ in range(2)]
    assert own.label_logits.argmax(dim=1).tolist() == classes, "a selection's labels are classes"
    if labels == "teacher":
        assert torch.equal(start.label_logits, teacher.logits(start.images))


def test_random_images_are_random_also_where_a_teacher_labels_them(tmp_path: Path) -> None:
    settings = tiny_settings("random", initialize={"labels": "teacher"})
    data, (network, experts) = tiny_data(settings), untrained(1)
    teacher = Teacher(network, experts, [])
    start = initialize(tiny_context(tmp_path, settings), data, network, experts, teacher)
    drawn = pick_real_images(data, 2, generator(settings.seed, "initialize"))
    assert torch.equal(start.images, data.train_images[drawn])
    assert torch.equal(start.label_logits, teacher.logits(start.images))


def test_crops_that_the_teacher_is_sure_of_are_a_start_and_recovery_labels_its_own(tmp_path: Path) -> None:
    crops, real = (tiny_settings("rldd", initialize={"images": images, "crops": 3}) for images in ("crops", "real"))
    data, (network, weights) = tiny_data(crops), untrained(2)
    teacher = Teacher(network, weights, [])
    start, again, from_real = (
        initialize(tiny_context(tmp_path, of), data, network, weights, teacher) for of in (crops, crops, real)
    )
    assert torch.equal(start.images, again.images)
    for own in (start, from_real):
        torch.testing.assert_close(own.label_logits, teacher.logits(own.images))

    def sureness(logits: torch.Tensor, classes: torch.Tensor) -> float:
        return float(logits.softmax(dim=1)[range(len(classes)), classes].mean())

    classes = torch.arange(10).repeat_interleave(2)
    assert sureness(start.label_logits, classes) > sureness(teacher.logits(data.train_images), data.train_labels)
    matching = tiny_settings(initialize={"images": "crops", "crops": 3})
    assert matching.needs_teacher
    own = initialize(tiny_context(tmp_path, matching), data, network, weights, teacher)
    assert torch.equal(own.images, start.images), "any method may start from crops"
    assert own.label_logits.argmax(dim=1).tolist() == classes.tolist()
