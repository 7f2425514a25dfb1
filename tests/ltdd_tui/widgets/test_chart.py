"""A chart is as large as it was asked to be, and shows where values are, and where none are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest

from ltdd_tui.widgets.axis import Window
from ltdd_tui.widgets.chart import Chart, ChartView, Level, Line, draw, line, whole

NAN, INF = float("nan"), float("inf")
BLUE, RED = "#0000ff", "#ff0000"


def curve(values: Sequence[float], name: str = "rep", color: str = BLUE) -> Line:
    return line(name, np.arange(1.0, len(values) + 1), np.array(values, dtype=float), color)


def texts(chart: Chart) -> list[str]:
    return [row.plain for row in chart.rows]


def drawn(chart: Chart, color: str) -> set[tuple[int, int]]:
    """Row and column, within the axes, of every cell of that color."""
    return {
        (row, column - chart.left)
        for row, content in enumerate(chart.rows)
        for begin, end, style in content.spans
        if style == color and content.plain[begin] != "━"
        for column in range(begin, end)
    }


VALUES = {
    "empty": [],
    "one point": [0.5],
    "constant": [0.5] * 9,
    "constant zero": [0.0] * 9,
    "nothing but gaps": [NAN, INF, NAN],
    "gaps between": [1.0, NAN, 0.5, INF, 0.2, -INF, 0.1],
    "not positive": [-1.0, 0.0, -3.0],
    "crossing zero": [-1.0, 1.0, -1.0],
    "huge and tiny": [1e-320, 1e-99, 1e99, 1e308],
}


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_any_values_in_any_size_give_rows_of_that_size(values: list[float]) -> None:
    lines = [curve(values), curve([value * 2 for value in values], "cls", RED)]
    levels = [Level("random", 0.3, RED), Level("nothing", -1.0, RED), Level("unknown", NAN, RED)]
    for log, width, height in itertools.product((False, True), (1, 7, 16, 60), (1, 2, 3, 5, 6, 18)):
        view = ChartView(whole(lines) or Window(0, 1), log, cursor=2.0)
        chart = draw(lines, levels, view, width, height)
        assert len(chart.rows) == height
        legend = chart.rows[:-height] or chart.rows[: max(height // 4, 1)]
        assert all(row.cell_length <= width for row in legend)
        assert all(row.cell_length == width for row in chart.rows[len(legend) :])


def test_a_falling_curve_falls() -> None:
    lines = [curve([2.0**-at for at in range(40)])]
    for log in (False, True):
        cells = drawn(draw(lines, [], ChartView(Window(1, 40), log), 50, 16), BLUE)
        highest = [min(row for row, column in cells if column == at) for at in range(max(c for _, c in cells) + 1)]
        assert highest == sorted(highest) and highest[0] <= 2 < 12 <= highest[-1]


def test_what_is_exponential_is_a_straight_line_on_a_logarithmic_axis() -> None:
    cells = drawn(draw([curve([2.0**-at for at in range(40)])], [], ChartView(Window(1, 40), True), 50, 16), BLUE)
    across = max(column for _, column in cells)
    rows = [np.mean([row for row, column in cells if column == at]) for at in range(across + 1)]
    straight = np.linspace(rows[0], rows[-1], across + 1)
    assert np.abs(np.array(rows) - straight).max() <= 1


def test_marks_are_where_their_values_are() -> None:
    lines = [curve([1.0, 0.5, 0.2, 0.1]), curve([0.5, 0.5, 0.5, 0.5], "half", RED)]
    chart = draw(lines, [], ChartView(Window(1, 4), True), 60, 18)
    labels = {text.split()[0]: row for row, text in enumerate(texts(chart)) if text[:1] in "01"}
    assert {"1.0", "0.5", "0.2", "0.1"} <= labels.keys()
    assert {row for row, _ in drawn(chart, RED)} == {labels["0.5"]}


def test_an_axis_too_low_for_any_mark_has_none() -> None:
    chart = draw([curve([0.57, 0.37, 0.32, 0.22, 0.19])], [], ChartView(Window(1, 5), True), 46, 6)
    assert all(row.cell_length == 46 for row in chart.rows[1:]) and drawn(chart, BLUE)


def test_a_gap_is_seen_as_a_gap() -> None:
    values = [0.5] * 100
    values[40:60] = [NAN] * 20
    chart = draw([curve(values)], [], ChartView(Window(1, 100)), 56, 10)
    columns = {column for _, column in drawn(chart, BLUE)}
    # The last value before it is at iteration 40, the first one after it at 61.
    edges = [(x - 1) / 99 * chart.across for x in (40, 61)]
    missing = {column for column in range(chart.across) if column not in columns}
    assert missing == set(range(int(edges[0]) + 1, int(edges[1])))


def test_lines_that_colors_alone_would_tell_apart_have_letters() -> None:
    lines = [curve([0.9] * 50), curve([0.3] * 50, "cls", RED)]
    chart = draw(lines, [Level("bound", 0.6, BLUE)], ChartView(Window(1, 50)), 60, 14)
    assert "━r━ rep   ━c━ cls   ╍b╍ bound" in texts(chart)[0]
    lettered = {letter: {row for row, text in enumerate(texts(chart)[1:-1]) if letter in text} for letter in "rcb"}
    assert sorted(lettered.values(), key=min) == [lettered["r"], lettered["b"], lettered["c"]]
    assert all(len(rows) == 1 for rows in lettered.values())
    alone = texts(draw(lines[:1], [], ChartView(Window(1, 50)), 60, 14))
    assert "━━ rep" in alone[0] and not any("r" in text for text in alone[1:])


def test_levels_are_dashed_and_named_with_their_values() -> None:
    chart = draw([curve([40, 50, 60])], [Level("bound", 62.04, RED)], ChartView(Window(1, 3)), 60, 14)
    assert "bound 62.0" in texts(chart)[0]
    columns = sorted(column for row, column in drawn(chart, RED) if row > 0)
    assert 20 < len(columns) < 40


def test_the_cursor_reads_off_the_nearest_point() -> None:
    lines = [curve([0.9, 0.8, 0.7]), curve([0.4, NAN, 0.2], "cls", RED)]
    text = texts(draw(lines, [], ChartView(Window(1, 3), cursor=2.2), 60, 14))[0]
    assert "at 2" in text and "rep 0.800" in text and "cls -" in text


def test_a_legend_that_does_not_fit_says_how_many_are_missing() -> None:
    lines = [curve([1, 2], f"a-run-with-a-long-name-{place}", BLUE) for place in range(6)]
    chart = draw(lines, [], ChartView(Window(1, 2)), 40, 9)
    assert [text for text in texts(chart) if "run-with" in text][-1].endswith("+4")


def test_names_with_wide_or_odd_signs_do_not_break_the_rows() -> None:
    lines = [curve([1, 2], "猫の画像データ" * 4, BLUE), curve([1, 2], "tab\tbell\x07", RED)]
    chart = draw(lines, [], ChartView(Window(1, 2)), 40, 14)
    assert all(row.cell_length <= 40 for row in chart.rows)
    assert not any("\x07" in text or "\t" in text for text in texts(chart))


def test_the_whole_axis_holds_all_curves() -> None:
    early, late = curve([1, 2, 3]), line("late", np.array([50.0, 90.0]), np.array([1.0, 1.0]), RED)
    assert whole([early, late]) == Window(1, 90)
    assert whole([curve([NAN])]) is None and whole([]) is None
    one = whole([curve([5.0])])
    assert one is not None and one.width == 1


def test_iterations_are_marked_in_few_letters() -> None:
    foot = texts(draw([curve(range(10_000))], [], ChartView(Window(1, 10_000)), 70, 14))[-1]
    assert foot.split() == ["0", "2k", "4k", "6k", "8k", "10k"]
    assert math.isclose(foot.index("4k") / len(foot), 0.45, abs_tol=0.06)
