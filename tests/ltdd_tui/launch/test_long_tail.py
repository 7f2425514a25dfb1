"""The long tail that is shown is the one that is trained on, and its bars are as long as they should be."""

from __future__ import annotations

import pytest

from engine.run.image_folder import Survey
from engine.run.settings import RunSettings
from ltdd_tui.launch.plan import LongTail, long_tail, shortage_note, size_summary
from ltdd_tui.widgets.bars import bar


def settings(ipc: int = 10, **dataset: object) -> RunSettings:
    return RunSettings.model_validate({"dataset": dataset, "ipc": ipc})


def test_the_published_tail_of_cifar10() -> None:
    tail = long_tail(settings(name="cifar10", imbalance_factor=100), None)
    assert tail is not None
    assert tail.counts == (5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50)
    assert tail.names[0] == "airplane" and tail.names[-1] == "truck"
    assert size_summary(tail) == ("12,406 images → 100 synthetic", "1/124 of the images (0.81 %)")


@pytest.mark.parametrize(("order", "head"), [("label", "1"), ("count", "1")])
def test_the_head_is_the_largest_class_under_its_own_name(order: str, head: str) -> None:
    tail = long_tail(settings(name="svhn", class_order=order), None)
    assert tail is not None and tail.names[0] == head and tail.counts[0] == 13861
    assert list(tail.counts) == sorted(tail.counts, reverse=True)
    cut = long_tail(settings(name="svhn", class_order="count", imbalance_factor=10), None)
    assert cut is not None and cut.names[:3] == ("1", "2", "3")


def test_what_only_files_tell_is_not_made_up() -> None:
    assert long_tail(settings(name="folder"), None) is None
    assert long_tail(settings(name="imagenet-lt"), None) is None


@pytest.mark.parametrize("order", ["label", "text"])
def test_only_the_order_by_count_moves_names(order: str) -> None:
    dataset = settings(name="folder", imbalance_factor=4, class_order=order)
    tail = long_tail(dataset, Survey(("a", "b", "c"), (3, 40, 40), (), (2, 4, 4)))
    # The factor thins by the order of the classes: the first has no more to give than it has.
    assert tail == LongTail(("b", "c", "a"), (20, 10, 3), 10)


def test_classes_that_are_too_small_are_counted() -> None:
    tail = LongTail(("a", "b", "c"), (20, 10, 9), 10)
    assert tail.short == 1
    assert shortage_note(tail).warns and "1 class has fewer images than IPC 10" in shortage_note(tail).text
    assert not shortage_note(LongTail(("a", "b"), (20, 10), 10)).warns
    of_four = LongTail(("a", "b"), (40, 10), 10, partition=2)
    assert of_four.short == 1 and "fewer images than 40 mini-images a class" in shortage_note(of_four).text


@pytest.mark.parametrize(("value", "drawn"), [(8, "████"), (4, "██"), (3, "█▌"), (0.01, "▏"), (0, ""), (16, "████")])
def test_bars_are_an_eighth_of_a_cell_fine(value: float, drawn: str) -> None:
    assert bar(value, 8, 4) == drawn
