"""The list of runs: its order, and which columns fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ltdd_tui.runs.index import Overview, RunEntry
from ltdd_tui.screens.runs.table import Order, count_states, fit_columns, in_order


def listed(name: str, state: str = "done", changed: float = 0.0, accuracy: float | None = None, **more) -> RunEntry:
    run = Overview(name, state, None, "cifar10", 100.0, 10, "ltdd", accuracy, 0.3, changed, f"/runs/{name}")
    return RunEntry(replace(run, **more), created=changed)


def names(order: Order, *entries: RunEntry) -> list[str]:
    return [one.run.name for one in in_order(entries, order)]


def test_those_at_work_come_first_and_keep_their_places_while_all_of_them_write() -> None:
    old, new = listed("old", "running", 10.0), listed("new", "running", 20.0)
    done = listed("done", changed=30.0)
    assert names(Order(), done, old, new) == ["new", "old", "done"]
    busy = replace(old, run=replace(old.run, changed=1e9))
    assert names(Order(), done, busy, new) == ["new", "old", "done"]


def test_what_has_nothing_to_sort_by_stands_last_either_way() -> None:
    entries = [listed("none"), listed("low", accuracy=40.0), listed("high", accuracy=60.0)]
    assert names(Order("accuracy"), *entries) == ["high", "low", "none"]
    assert names(Order("accuracy", reversed=True), *entries) == ["low", "high", "none"]


def test_natural_tails_sort_with_factors() -> None:
    entries = [listed("natural", imbalance_factor="natural"), listed("ten", imbalance_factor=10.0), listed("hundred")]
    assert names(Order("if"), *entries) == ["ten", "hundred", "natural"]


def test_asking_once_more_turns_the_order_round() -> None:
    once = Order().asked("name")
    assert (once.descending, once.asked("name").descending, once.asked("accuracy").descending) == (False, True, True)


@pytest.mark.parametrize("width", [3, 12, 20, 40, 60, 77, 120, 197])
def test_columns_fit_whatever_the_width_and_state_and_name_stay(width: int) -> None:
    entries = [listed("cifar10-lt-if100-ipc10-long-name", "running", progress=0.64), listed("b", accuracy=52.9)]
    columns = fit_columns(entries, Order(), 0.0, width, gap=1)
    assert [column.key for column, _ in columns][:2] == ["state", "name"]
    if width >= 40:
        assert sum(cells for _, cells in columns) + len(columns) - 1 <= width
    if width >= 77:
        assert {"method", "accuracy", "changed"} <= {column.key for column, _ in columns}


def test_a_wide_list_shortens_no_name() -> None:
    entries = [listed("x" * 60)]
    assert dict((column.key, cells) for column, cells in fit_columns(entries, Order(), 0.0, 197, gap=2))["name"] == 60


def test_what_a_person_should_know_is_counted() -> None:
    entries = [listed("a", "running"), listed("b", "failed"), listed("c", "failed"), listed("d")]
    assert count_states(entries, marked=2) == "4 runs, 1 running, 2 failed, 2 marked"
    assert count_states([listed("a")]) == "1 run" and count_states([]) == "0 runs"
