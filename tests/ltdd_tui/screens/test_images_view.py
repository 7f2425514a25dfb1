"""What the images panel selects by its keys, and what stands beside the images: names and soft labels."""

from __future__ import annotations

from typing import Any

import pytest

from engine.run.events import Preview
from ltdd_tui.screens.run.images.labels import label_lines, label_words, name_lines
from ltdd_tui.screens.run.images.renderer import ImageSelection, lay_out_tiles, valid_previews
from ltdd_tui.screens.run.images.terminal_graphics import CellArea
from ltdd_tui.widgets.bars import bar
from ltdd_tui.widgets.lines import MUTED, STRONG, group_style

PREVIEW = Preview(10, "p", "l", 3, 4, 8)


def test_classes_and_images_go_around() -> None:
    selection = ImageSelection()
    assert selection.moved(-1, -1, PREVIEW) == ImageSelection(row=2, image=3)
    assert selection.moved(3, 4, PREVIEW) == selection
    assert ImageSelection(row=99, image=99).within(PREVIEW) == ImageSelection(row=2, image=3)
    assert selection.next_mode().next_mode().next_mode() == selection


def test_the_newest_is_followed_until_an_older_one_is_asked_for() -> None:
    saved = [10, 20, 30]
    selection = ImageSelection()
    assert selection.at(saved) == 30 and selection.at([*saved, 40]) == 40
    older = selection.stepped(-1, saved)
    assert older.at(saved) == 20 and older.at([*saved, 40]) == 20
    assert older.stepped(-9, saved).at(saved) == 10
    assert older.stepped(1, saved).at([*saved, 40]) == 40
    # A resume may have taken the one that was looked at away.
    assert older.at([5, 15]) == 15 and older.at([25]) == 25
    assert selection.at([]) is None and selection.stepped(-1, []) == selection


@pytest.mark.parametrize(
    "changes",
    [{"rows": 0}, {"rows": "3"}, {"columns": None}, {"image_size": -8}, {"path": None}, {"labels": 7}],
)
def test_previews_that_make_no_sense_are_left_out(changes: dict[str, Any]) -> None:
    odd = Preview(**(vars(PREVIEW) | changes))
    assert valid_previews({10: PREVIEW, 20: odd}) == [10]


def test_previews_are_sorted_and_odd_iterations_left_out() -> None:
    previews: dict[Any, Preview] = {30: PREVIEW, "x": PREVIEW, 10: PREVIEW, None: PREVIEW}
    assert valid_previews(previews) == [10, 30]


NAMES = ["cat", "dog", "[eel]", "a class with a long name"]


def test_bars_show_the_likeliest_classes_and_what_is_left() -> None:
    label = [0.0, 0.7, 0.1, 0.2]
    lines = label_lines(label, NAMES, ["many", "medium", "few", "few"], 1, 30, 8)
    texts = [line.plain for line in lines]
    assert [text.split()[0] for text in texts] == ["dog", "a", "[eel]", "1"]
    assert [text.split()[-1] for text in texts] == ["70%", "20%", "10%", "0%"]
    assert all(len(text) == 30 for text in texts)
    bar_styles = [next(style for begin, _, style in line.spans if begin == 12) for line in lines]
    assert bar_styles == [*(group_style(group) for group in ("medium", "few", "few")), MUTED]
    assert texts[0].count("█") > 3 * texts[1].count("█") > 0
    name_styles = [next((style for begin, _, style in line.spans if begin == 0), "") for line in lines]
    assert name_styles == [STRONG, "", "", MUTED]


@pytest.mark.parametrize("width", [9, 12, 28, 50])
@pytest.mark.parametrize("lines", [1, 2, 5, 40, 100])
def test_bars_fit_where_they_must_and_leave_nothing_out(width: int, lines: int) -> None:
    found = label_lines([1 / 100] * 100, [f"class {place}" for place in range(100)], (), 0, width, lines)
    assert len(found) == lines
    assert {len(line) for line in found} == {width}
    assert sum(int(line.plain[-5:].strip(" %")) for line in found) == 100


def test_bars_are_true_to_an_eighth_of_a_cell() -> None:
    assert bar(1.0, 1.0, 4) == "████" and bar(0.0, 1.0, 4) == "" and bar(0.5, 1.0, 4) == "██"
    assert bar(1 / 32, 1.0, 4) == "▏" and bar(1e-9, 1.0, 4) == "▏" and bar(9.0, 1.0, 4) == "████"


def test_a_label_in_words_is_never_too_long() -> None:
    for width in range(1, 60):
        line = label_words("dog, image 3", [0.0, 0.7, 0.1, 0.2], NAMES, width)
        assert line.cell_length <= width
    text = label_words("dog, image 3", [0.0, 0.7, 0.1, 0.2], NAMES, 80).plain
    assert text == "dog, image 3  dog 70%  a class with a long name 20%  [eel] 10%"


def test_names_stand_beside_the_middle_of_their_images() -> None:
    found = lay_out_tiles(ImageSelection("all", row=1), 3, 4, 8, CellArea(60, 30))
    lines = name_lines(found, 0, ["cat", "dog", "[eel]"], 8)
    named = {line.plain.strip(): at for at, line in enumerate(lines) if line}
    pitch = found.tiles.pitch_down
    assert len(lines) == 3 * pitch
    assert named == {name: place * pitch + (pitch - 1) // 2 for place, name in enumerate(["cat", "dog", "[eel]"])}
