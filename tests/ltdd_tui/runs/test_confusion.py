"""The confusion matrix: read strictly, head to tail, as figures or as shades, for ten classes and for a hundred."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from textual.color import Color

from ltdd_tui.runs.confusion import Confusion, read_confusion
from ltdd_tui.screens.run.confusion import Shades, matrix_lines

SHADES = Shades(Color(0, 0, 0), Color(0, 0, 255), Color(255, 0, 0))
NAMES = ("truck", "cat", "dog")
COUNTS = ((5, 4, 1), (0, 200, 0), (0, 25, 75))
MATRIX = Confusion(NAMES, COUNTS)


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    path = written(tmp_path / "confusion.json", {"class_names": NAMES, "final": COUNTS, "more": 1})
    assert read_confusion(path) == MATRIX
    assert read_confusion(tmp_path / "none.json") is None


@pytest.mark.parametrize(
    "content",
    [
        {"class_names": NAMES, "final": COUNTS[:2]},
        {"class_names": NAMES, "final": [[1, 2], [3, 4], [5, 6]]},
        {"class_names": NAMES, "final": [[1, 2, -3], *COUNTS[1:]]},
        {"class_names": NAMES, "final": [["1", 2, 3], *COUNTS[1:]]},
        {"class_names": [], "final": []},
        {"final": COUNTS},
        [],
        None,
    ],
)
def test_a_file_that_makes_no_sense_is_none(tmp_path: Path, content: Any) -> None:
    assert read_confusion(written(tmp_path / "confusion.json", content)) is None


def test_rows_and_columns_are_ordered_together_and_the_worst_errors_are_named() -> None:
    ordered = MATRIX.ordered([1, 2, 0])
    assert ordered == Confusion(("cat", "dog", "truck"), ((200, 0, 0), (25, 75, 0), (4, 1, 5)))
    assert MATRIX.percents()[0] == [50.0, 40.0, 10.0] and Confusion(("a",), ((0,),)).percents() == [[0.0]]
    assert MATRIX.most_confused(2) == [("truck", "cat", 40.0), ("dog", "cat", 25.0)]


def test_figures_stand_in_their_cells_where_they_fit() -> None:
    lines = matrix_lines(MATRIX, SHADES, 40)
    texts = [lines[place].plain.split() for place in range(len(lines))]
    assert texts[:4] == [["truc", "cat", "dog"], ["truck", "50", "40", "10"], ["cat", "100"], ["dog", "25", "75"]]
    told = " ".join(" ".join(lines[place].plain.split()) for place in range(5, len(lines)))
    assert told == "most: truck taken for cat (40 %), dog taken for cat (25 %), truck taken for dog (10 %)"
    right, wrong = ({str(span.style) for span in lines[row].spans} for row in (2, 3))
    # Half the share is more than half the color; what is right is blue, what is wrong is red.
    assert SHADES.of(100.0, True) == "#0000BF" and f"on {SHADES.of(100.0, True)}" in right
    assert f"on {SHADES.of(25.0, False)}" in wrong


@pytest.mark.parametrize("width", [24, 60, 116, 196])
@pytest.mark.parametrize("count", [1, 10, 100, 200])
def test_any_number_of_classes_fits_any_width(count: int, width: int) -> None:
    counts = tuple(tuple(50 if true == other else 1 for other in range(count)) for true in range(count))
    lines = matrix_lines(Confusion(tuple(f"class {place}" for place in range(count)), counts), SHADES, width)
    drawn = [lines[place] for place in range(len(lines))]
    assert all(line.cell_length <= width for line in drawn)
    if count == 100 and width > 110:
        assert sum("▀" in line.plain for line in drawn) == 50 and drawn[1].plain.count("▀") == 100


def test_neighbors_are_added_up_where_there_are_too_many() -> None:
    pooled = Confusion(tuple("abcd"), tuple((1, 2, 3, 4) for _ in range(4))).pooled(2)
    assert pooled == Confusion(("a", "c"), ((6, 14), (6, 14)))
