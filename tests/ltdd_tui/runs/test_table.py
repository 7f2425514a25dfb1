"""A table is a dict that can be looked at as it was before."""

from __future__ import annotations

import random

import pytest

from ltdd_tui.runs.loss_history import Table


def test_every_view_stays_the_dict_that_it_was() -> None:
    draw, views = random.Random(0), [(Table[int, int](), dict[int, int]())]
    for _ in range(600):
        # Mostly on from the last one, now and then from an older one.
        table, mirror = views[-1] if draw.random() < 0.9 else draw.choice(views)
        key, value = draw.randrange(60), draw.random()
        views.append((table.with_item(key, value), mirror | {key: value}))
    for table, mirror in views:
        assert list(table.items()) == list(mirror.items()) and len(table) == len(mirror)
        assert table == mirror and all((key in table) == (key in mirror) for key in range(60))


def test_a_key_that_is_not_there_yet_is_a_key_error() -> None:
    before = Table({"a": 1})
    after = before.with_item("b", 2)
    assert after["b"] == 2 and before.get("b") is None
    with pytest.raises(KeyError):
        before["b"]


def test_values_that_nobody_can_see_any_more_are_let_go() -> None:
    table: Table[str, int] = Table()
    for value in range(10_000):
        table = table.with_item("only", value)
    assert table["only"] == 9999 and len(table._values) < 100
