"""Images are laid out as large as they can be, the selected one in sight, and drawn in whole pixels when enlarged."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.run.events import Preview
from ltdd_tui.screens.run.images.previews import Sheet
from ltdd_tui.screens.run.images.renderer import ImageSelection, compose, lay_out_tiles
from ltdd_tui.screens.run.images.terminal_graphics import CellArea, half_cells, side_in

GROUND, ACCENT = (1, 2, 3), (250, 160, 10)


def sheet_of(rows: int, columns: int, side: int) -> Sheet:
    pixels = np.random.default_rng(0).integers(20, 240, (rows * side, columns * side, 3), dtype=np.uint8)
    return Sheet(Path("p"), Preview(1, "p", "l", rows, columns, side), Image.fromarray(pixels), 0, rows)


def test_any_layout_fits_and_shows_the_selected_image_once() -> None:
    draw = random.Random(0)
    for _ in range(1000):
        rows, columns, side = draw.randint(1, 1000), draw.choice([1, 2, 10, 20, 50]), draw.choice([8, 28, 32, 64])
        cell = draw.choice([(1, 2), (8, 17), (10, 20)])
        area = CellArea(draw.randint(12, 200), draw.randint(6, 60), *cell)
        selection = ImageSelection(draw.choice(["class", "all", "one"]), draw.randrange(rows), draw.randrange(columns))
        found = lay_out_tiles(selection, rows, columns, side, area)
        assert found.tiles.across * found.tiles.pitch_across <= area.across
        assert found.tiles.down * found.tiles.pitch_down <= area.down
        images = [(row, image) for row, image, _, _ in found.images()]
        assert images.count((selection.row, selection.image)) == 1 and len(set(images)) == len(images)
        assert all(0 <= row < rows and 0 <= image < columns for row, image in images)
        assert all(row in found.rows for row, _ in images)
        assert found.tiles.side < side or found.tiles.side % side == 0
        for row, image, down, across in images and found.images():
            cell_of = across * found.tiles.pitch_across, down * found.tiles.pitch_down
            assert found.image_at(*cell_of) == (row, image)


@pytest.mark.parametrize(
    ("area", "count", "side", "in_sight"),
    [
        # A maximized panel shows all ten at the images' own size, a small one as many as can still be told apart.
        (CellArea(175, 40), 10, 32, 10),
        (CellArea(88, 36), 10, 20, 10),
        (CellArea(38, 10), 10, 8, 6),
        # In pixels of the terminal they are enlarged by whole factors.
        (CellArea(88, 34, 10, 20), 10, 192, 10),
    ],
)
def test_one_class_is_as_large_as_it_can_be(area: CellArea, count: int, side: int, in_sight: int) -> None:
    found = lay_out_tiles(ImageSelection("class"), 10, count, 32, area)
    assert (found.tiles.side, len(found.images())) == (side, in_sight)


def test_a_thousand_classes_show_those_around_the_selected_one() -> None:
    found = lay_out_tiles(ImageSelection("all", row=500, image=25), 1000, 50, 32, CellArea(90, 36))
    assert len(found.images()) < 100
    assert 500 in found.rows and len(found.rows) == found.tiles.down


@pytest.mark.parametrize(
    ("room", "side"), [(100, 96), (64, 64), (63, 32), (32, 32), (31, 31), (17, 16), (16, 16), (14, 14), (1, 1)]
)
def test_sides_are_whole_multiples_or_nearly_all_of_the_room(room: int, side: int) -> None:
    assert side_in(room, 32) == side


def test_enlarged_images_keep_every_pixel_square_and_exact() -> None:
    sheet, area = sheet_of(3, 2, 8), CellArea(60, 20, 10, 20)
    found = lay_out_tiles(ImageSelection("one", row=1, image=1), 3, 2, 8, area)
    factor = found.tiles.side // 8
    assert factor > 10
    picture = np.asarray(compose(found, sheet, area, GROUND, ACCENT))
    inside = picture[area.ring : area.ring + found.tiles.side, area.ring : area.ring + found.tiles.side]
    wanted = np.asarray(sheet.image(1, 1)).repeat(factor, axis=0).repeat(factor, axis=1)
    np.testing.assert_array_equal(inside, wanted)


def test_the_selected_image_alone_has_a_frame_and_gaps_are_ground() -> None:
    sheet, area = sheet_of(2, 3, 8), CellArea(40, 12)
    found = lay_out_tiles(ImageSelection("all", row=0, image=1), 2, 3, 8, area)
    picture = np.asarray(compose(found, sheet, area, GROUND, ACCENT))
    framed = (picture == ACCENT).all(axis=2)
    assert framed[0, 10:20].all() and framed[:10, 10].all() and framed.sum() == 4 * 9
    left = picture[1:9, 1:9]
    np.testing.assert_array_equal(left, np.asarray(sheet.image(0, 0)))
    assert (picture[0, :10] == GROUND).all() and (picture[10, 20:] == GROUND).all()


def test_half_cells_show_two_pixels_each_in_their_colors() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    pixels[2:4] = 77
    strips = half_cells(Image.fromarray(pixels))
    assert [strip.cell_length for strip in strips] == [5, 5, 5]
    for row, strip in enumerate(strips):
        column = 0
        for segment in strip:
            assert segment.style is not None and segment.style.bgcolor is not None
            for sign in segment.text:
                upper = segment.style.color if sign == "▀" else segment.style.bgcolor
                assert upper is not None and upper.triplet == tuple(pixels[2 * row, column])
                assert segment.style.bgcolor.triplet == tuple(pixels[2 * row + 1, column])
                column += 1
    assert len(list(strips[1])) == 1
