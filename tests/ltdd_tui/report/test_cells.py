"""What a report concludes from several seeds, or from one, is what statistics has for it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from ltdd_tui.report.accuracy import paper_table
from ltdd_tui.report.cells import Bound, ReportCell, Spread, column_of, lead, report_cells
from ltdd_tui.report.report import asked_for, read_subject
from ltdd_tui.runs.comparison import ComparedRun
from tests.ltdd_tui.recorded import CLASSIFIER, RANDOM
from tests.ltdd_tui.report.sweep_on_disk import MEAN


@pytest.fixture(scope="module")
def runs(sweep_folder: Path) -> Sequence[ComparedRun]:
    return read_subject(asked_for(["mini"], sweep_folder.parent)).runs


@pytest.fixture(scope="module")
def cells(runs: Sequence[ComparedRun]) -> dict[str, ReportCell]:
    return {cell.name: cell for cell in report_cells(runs)}


def test_a_cell_is_the_seeds_of_one_setting_and_names_tell_what_differs(cells: dict[str, ReportCell]) -> None:
    assert {name: len(cell.finished) for name, cell in cells.items()} == {
        "ltdd, IF 50": 3,
        "datm, IF 50": 2,
        "ltdd, IF 100": 3,
        "datm, IF 100": 2,
    }


def test_mean_and_deviation_are_over_the_means_of_seeds(cells: dict[str, ReportCell]) -> None:
    final = cells["ltdd, IF 50"].final
    assert final is not None
    assert (final.mean, final.std, final.counted) == (pytest.approx(MEAN + 2), pytest.approx(1.0), "3 seeds")
    half = stats.t.interval(0.95, 2, loc=final.mean, scale=1 / math.sqrt(3))[1] - final.mean
    assert final.half_width == pytest.approx(half)


def test_a_single_seed_has_only_its_networks(runs: Sequence[ComparedRun]) -> None:
    (cell,) = report_cells(runs[:1])
    assert cell.final is not None and cell.lead is not None
    assert (cell.final.counted, cell.lead.of) == ("3 networks", "networks")


@pytest.mark.parametrize(
    ("ours", "others"),
    [([60.0, 61.0, 64.0], [50.0, 58.0, 59.0]), ([40.0, 40.5], [41.0, 44.0, 43.0, 39.0]), ([1.0, 2.0], [3.0, 4.0])],
)
def test_a_lead_is_that_of_welchs_test(ours: list[float], others: list[float]) -> None:
    spreads = [Spread(statistics.fmean(own), statistics.stdev(own), len(own)) for own in (ours, others)]
    expected = stats.ttest_ind(ours, others, equal_var=False)
    interval = expected.confidence_interval(0.95)
    own = lead(*spreads)
    assert (own.p, own.low, own.high) == pytest.approx((expected.pvalue, interval.low, interval.high))
    assert own.is_clear == (expected.pvalue < 0.05)


@pytest.mark.parametrize("std", [None, 0.0])
def test_a_lead_without_a_spread_has_no_interval(std: float | None) -> None:
    own = lead(Spread(60.0, std, 1 if std is None else 3), Spread(50.0, std, 1 if std is None else 3))
    assert (own.difference, own.p, own.low, own.is_clear) == (10.0, None, None, None)


def test_the_lead_is_over_the_random_images_of_the_same_seeds(cells: dict[str, ReportCell]) -> None:
    own = cells["datm, IF 100"].lead
    assert own is not None
    assert own.difference == pytest.approx(MEAN - 25 + 0.5 - statistics.fmean(RANDOM))
    assert (own.n, own.of) == (2, "seeds")


def test_the_bound_is_of_the_same_images_whatever_method_has_trained_it(cells: dict[str, ReportCell]) -> None:
    bound = cells["ltdd, IF 50"].bound
    assert bound is not None and bound.label == "classifier experts"
    assert bound.mean == pytest.approx(statistics.fmean(CLASSIFIER), abs=1)
    assert cells["datm, IF 50"].bound == bound


@pytest.mark.parametrize(
    ("std", "bound", "lossless"),
    [
        (0.5, MEAN + 1, True),
        (0.5, MEAN + 2, False),
        (0.5, MEAN - 20, True),
        # Half of the interval is 4.97 points: a bound within it says little.
        (2.0, MEAN + 2, None),
        (2.0, MEAN - 2, None),
        (2.0, MEAN - 6, True),
        (2.0, MEAN + 6, False),
        (None, MEAN, None),
    ],
)
def test_lossless_is_a_bound_within_a_narrow_interval_or_below(
    cells: dict[str, ReportCell], std: float | None, bound: float, lossless: bool | None
) -> None:
    own = cells["ltdd, IF 100"]
    cell = ReportCell(own.name, own.labels, own.runs, Bound("bound plain", bound, ()))
    cell.__dict__["final"] = Spread(MEAN, std, 3)
    assert cell.is_lossless is lossless
    assert cell.bound_share == pytest.approx(100 * MEAN / bound)


@pytest.mark.parametrize(
    ("other", "shared"),
    [
        ({"path": "/photos"}, False),
        ({"resolution": 32}, False),
        ({"subset_seed": 7}, False),
        ({"augmentation": ("crop",)}, True),
        ({"test_fold": 1}, True),
    ],
)
def test_other_images_have_a_bound_and_a_column_of_their_own(
    runs: Sequence[ComparedRun], other: dict[str, Any], shared: bool
) -> None:
    """Of ltdd on some images and datm, whose experts are no bound, on others."""

    def placed(run: ComparedRun, method: str, **data: Any) -> ComparedRun:
        settings = run.view.settings
        assert settings is not None
        dataset = settings.dataset.model_copy(update={"name": "folder", "test_folds": 2, **data})
        settings = settings.model_copy(update={"dataset": dataset, "method": method})
        rows = run.rows if method == "ltdd" else {"final": run.rows["final"]}
        return replace(run, view=replace(run.view, settings=settings), rows=rows)

    own = [placed(runs[0], "ltdd"), placed(runs[0], "datm", **other)]
    second, first = sorted(report_cells(own), key=lambda cell: cell.settings.method)
    assert (first.bound is not None, second.bound == first.bound) == (True, shared)
    assert (column_of(first) == column_of(second)) == shared
    table = paper_table([first, second])
    assert (table is None) == shared
    if table:
        key, value = next(iter(other.items()))
        assert any(f"{key} {value}" in title for title in table.titles) and len(set(table.titles)) == 3
