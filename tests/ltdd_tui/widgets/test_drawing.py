"""Lines of text: exactly as wide as asked for, honest about what is cut, and harmless to the terminal."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from textual.content import Content

from engine.run import events as e
from ltdd_tui.formatting import clean
from ltdd_tui.runs.console import as_shown
from ltdd_tui.runs.figures import ClassAccuracies, ClassAccuracy
from ltdd_tui.runs.stages import Stages
from ltdd_tui.runs.state import LogEntry, RunState
from ltdd_tui.screens.run.accuracy import BarColumns, axis_line, class_bar, class_line, class_lines, foot_lines
from ltdd_tui.screens.run.header import stage_line
from ltdd_tui.screens.run.log import log_lines
from ltdd_tui.screens.run.timeline import iteration_at, scrub_line
from ltdd_tui.widgets.bars import cells, resampled, silhouette
from ltdd_tui.widgets.lines import MUTED, STRONG, WARNING, fit, spread, wrapped


@pytest.mark.parametrize("word", ["airplane", "日本語の飛行機", "a" * 50, "", "e\u0301galite\u0301"])
@pytest.mark.parametrize("width", [1, 2, 5, 20])
def test_fit_takes_exactly_its_cells(word: str, width: int) -> None:
    for right in (False, True):
        assert cell_len(fit(word, width, right)) == width


def test_what_is_cut_ends_in_a_mark() -> None:
    assert fit("airplane", 5) == "airp…"
    line = Content.assemble("many ", ("55.4", STRONG))
    assert spread(line, Content("end"), 20).plain == "many 55.4        end"
    cut = spread(line, Content("a long end of a line"), 20)
    assert cut.cell_length == 20 and cut.plain == "many 55.4 a long en…"


@pytest.mark.parametrize("width", [3, 7, 12, 40])
def test_wrapped_text_loses_no_word_and_never_overflows(width: int) -> None:
    words = "error: distill, iteration 128: a_very_long_word_that_no_line_can_hold 日本語の飛行機 end"
    lines = wrapped(words, width)
    assert all(line.cell_length <= width for line in lines)
    assert "".join(line.plain for line in lines).replace(" ", "") == words.replace(" ", "")


def test_text_of_a_run_cannot_steer_the_terminal() -> None:
    assert clean("a\x1b[2Jb\rc\x07\u202e\td\u200d") == r"a\x1b[2Jb\rc\x07\u202e d"
    printed = as_shown("\x1b[31mred\x1b[0m\n 10%\r 90%\r100%\r\n\x1b]0;title\x07last")
    assert printed == ["red", "100%", "last"]


def standing(**figures: float | None) -> ClassAccuracy:
    return ClassAccuracy("truck", 50, "few", **figures)


def test_a_bar_is_as_long_as_its_value_and_marks_lie_where_their_values_are() -> None:
    drawn = class_bar(standing(value=50.0, random=10.0, start=30.0, bound=90.0), 20, 100.0).plain
    assert len(drawn) == 20
    assert (drawn.index("r"), drawn.index("i"), drawn.index("│")) == (2, 6, 18)
    assert drawn[7:10] == "━━━" and "━" not in drawn[10:]
    half = class_bar(standing(value=52.5), 20, 100.0).plain
    assert half[:11] == "━" * 10 + "╸"


@pytest.mark.parametrize("value", [None, 0.0, 100.0, 250.0])
def test_a_bar_never_leaves_its_cells(value: float | None) -> None:
    for width in (0, 1, 8, 60):
        assert len(class_bar(standing(value=value, random=value, bound=value), width, 100.0).plain) == width


@pytest.mark.parametrize("width", [18, 24, 30, 46, 67, 200])
def test_lines_of_classes_are_of_one_width_and_the_scale_lies_below_the_bars(width: int) -> None:
    found = ClassAccuracies(tuple(standing(value=70.0, change=0.4, bound=85.0) for _ in range(3)))
    columns = BarColumns(found, width)
    lines = [class_line(one, columns) for one in found.classes]
    assert {line.cell_length for line in lines} == {width}
    if columns.bar >= 12:
        scale = axis_line(columns).plain
        assert scale.rstrip().endswith("90%") and len(scale) <= columns.before_bar + columns.bar


@pytest.mark.parametrize("width", [24, 30, 46, 67, 200])
def test_few_test_images_and_the_interval_stand_beside_an_accuracy(width: int) -> None:
    sure = standing(value=70.0, change=0.4, tests=12)
    unsure = standing(value=100.0, change=0.4, tests=1, interval=[20.65, 100.0])
    columns = BarColumns(ClassAccuracies((sure, unsure)), width)
    lines = [class_line(one, columns) for one in (sure, unsure)]
    assert {line.cell_length for line in lines} == {width}
    assert f"{sure.count}/12" in lines[0].plain and f"{unsure.count}/1 " in lines[1].plain
    assert ("100.0  20-100" in lines[1].plain) == (width >= 46), "a change goes first, then the interval"


def test_one_number_of_test_images_is_told_once_below_the_classes() -> None:
    found = ClassAccuracies(tuple(standing(value=70.0, tests=1000) for _ in range(3)))
    (foot,) = foot_lines(found, 67)
    assert foot.plain.endswith("1,000 test images a class") and foot.cell_length == 67
    assert "1,000" not in foot_lines(found, 40)[0].plain, "the groups go first"
    assert "1000" not in class_line(found.classes[0], BarColumns(found, 67)).plain


def test_a_thousand_classes_are_made_only_where_they_are_looked_at() -> None:
    found = ClassAccuracies(tuple(ClassAccuracy(f"class {n}", 1000 - n, "many", value=n / 10) for n in range(1000)))
    lines = class_lines(found, 60, 20)
    assert len(lines) == 1000
    assert lines[999].plain.startswith("class 999")


@pytest.mark.parametrize(
    ("height", "lines", "scaled"), [(20, 20, True), (19, 11, True), (11, 11, True), (10, 10, False)]
)
def test_classes_spread_where_there_is_room_and_the_scale_goes_first(height: int, lines: int, scaled: bool) -> None:
    found = ClassAccuracies(tuple(standing(value=70.0, bound=85.0) for _ in range(10)))
    drawn = class_lines(found, 67, height)
    assert len(drawn) == lines
    assert ("90%" in drawn[-1].plain) == scaled


def test_columns_keep_unknown_values_apart_from_small_ones() -> None:
    assert cells([1.0, None, 0.0, 0.5], 1.0, 2) == ["█   ", "█·▁█"]
    assert resampled([1.0, 3.0, None, None], 2) == [2.0, None]


def test_a_silhouette_falls_from_head_to_tail() -> None:
    lines = silhouette(list(range(100, 0, -1)), 20, 3)
    assert [len(line) for line in lines] == [20] * 3
    heights = [sum(" ▁▂▃▄▅▆▇█".index(line[column]) for line in lines) for column in range(20)]
    assert heights == sorted(heights, reverse=True) and heights[0] > 20 and heights[-1] >= 1
    # Fewer classes than columns: each is a plateau.
    assert silhouette([2, 1], 6, 1) == ["███▄▄▄"]
    assert silhouette([], 6, 1) == []
    assert silhouette([8, 1, 0], 3, 1) == ["█▁ "], "an empty class is not seen"


def test_the_log_counts_what_is_said_again_and_again_and_keeps_the_last() -> None:
    said = [LogEntry(0.0, f"entry {n}") for n in range(1000)] + [LogEntry(None, "warning: torn\nhint: look")] * 30
    lines = log_lines(said, 60)
    assert lines[0].plain == "630 earlier entries are in events.jsonl"
    assert "warning: torn" in lines[-2].plain and lines[-2].spans[-1].style == WARNING
    assert "hint: look (×30)" in lines[-1].plain and lines[-1].spans[-1].style == MUTED


@pytest.mark.parametrize("width", [20, 40, 78, 118, 198])
def test_the_stages_fit_and_the_present_one_is_never_left_out(width: int) -> None:
    stages = Stages()
    stages.plan(["data", "experts", "classifier_experts", "initialize", "baselines", "distill", "evaluate"])
    stages.begin(e.StageStarted("data", 1, "set"), 0.0, done=0)
    stages.end(e.StageDone("data", 3.0))
    stages.begin(e.StageStarted("experts", 100, "experts"), 3.0, done=0)
    stages.named("experts").whole_units = 25.0
    stages.named("experts").progress(9.0)
    line = stage_line(RunState(status="running", stages=stages), 10.0, width)
    assert line.cell_length <= width
    assert "EXPERTS" in line.plain or width < 40


def test_the_slider_gives_back_the_iteration_that_it_shows() -> None:
    for width in (30, 78, 198):
        for at in (0, 2_500, 5_000, 9_900):
            line = scrub_line(at, 10_000, [0, 5_000, 10_000], width, False, "live").plain
            assert len(line) == width
            found = iteration_at(line.index("●"), 10_000, width)
            assert abs((10_000 if found is None else found) - at) <= 10_000 / (width - 27)
        assert iteration_at(width, 10_000, width) is None
