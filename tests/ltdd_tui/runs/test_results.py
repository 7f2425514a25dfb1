"""metrics.json may come from anywhere: what of it is sound is shown, what is not is named, and nothing ever raises."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.run.metrics import readable_metrics
from ltdd_tui.runs.results import measured
from tests.ltdd_tui.recorded import record

ODD: tuple[Any, ...] = ("x", [], {}, ["x"], {"x": "y"}, -1, 10**400, float("inf"), float("nan"), True, 1e9)


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = record(tmp_path_factory.mktemp("measured") / "done", "done", 3)
    content: dict[str, Any] = json.loads(folder.metrics.read_text())
    return content


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything within."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


def with_odd(metrics: dict[str, Any], path: tuple[Any, ...], odd: Any) -> dict[str, Any]:
    changed = copy.deepcopy(metrics)
    holder: Any = changed
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = odd
    return changed


def test_all_of_a_sound_file_is_taken(metrics: dict[str, Any]) -> None:
    results = measured(metrics)
    assert results.faults == ()
    assert [row.label for row in results.rows] == [
        *("random", "initialization", "representation experts", "classifier experts", "final", "best")
    ]
    assert results.final == metrics["final"]["accuracy_mean"]
    assert list(results.class_counts) == metrics["class_counts"] and list(results.class_names) == metrics["class_names"]
    assert results.stage_seconds == metrics["stage_seconds"] and results.expected is not None


def test_whatever_stands_deep_inside_nothing_raises_and_all_the_rest_is_taken(metrics: dict[str, Any]) -> None:
    rows = len(measured(metrics).rows)
    for path in places(metrics):
        for odd in ODD:
            results = measured(with_odd(metrics, path, odd))
            lost = 2 if path == ("experts",) else 1
            assert len(results.rows) >= rows - lost, (path, odd)
            assert all(0 <= value <= 100 for row in results.rows for value in row.per_class), (path, odd)


@pytest.mark.parametrize(
    ("path", "odd", "where"),
    [
        (("final", "per_class", 3), "x", "metrics.json: final.per_class.3"),
        (("final", "accuracy_mean"), 10**400, "metrics.json: final.accuracy_mean"),
        (("random", "groups", "few"), [], "metrics.json: random.groups.few"),
        (("experts",), 3, "metrics.json: experts"),
        (("experts", "classifier", "repeats"), "4", "metrics.json: experts.classifier.repeats"),
        (("stage_seconds", "distill"), None, "metrics.json: stage_seconds.distill"),
        (("class_counts", 0), 2.5, "metrics.json: class_counts.0"),
        (("expected", "accuracy"), "53.4", "metrics.json: expected.accuracy"),
    ],
)
def test_what_is_left_out_is_named(metrics: dict[str, Any], path: tuple[Any, ...], odd: Any, where: str) -> None:
    (fault,) = measured(with_odd(metrics, path, odd)).faults
    assert fault.where == where and fault.what


def test_an_accuracy_that_was_not_finite_gives_no_row(metrics: dict[str, Any]) -> None:
    results = measured(with_odd(metrics, ("best", "per_class", 0), None))
    assert results.faults == () and "best" not in [row.label for row in results.rows]


def test_a_final_figure_that_no_list_could_show_counts_as_none(metrics: dict[str, Any], tmp_path: Path) -> None:
    folder = record(tmp_path / "run", "done", 3)
    folder.metrics.write_text(json.dumps(with_odd(metrics, ("final", "accuracy_std"), 10**400)))
    assert readable_metrics(folder) == {}
