"""Images are laid out as large as they can be, the selected one in sight, and drawn in whole pixels when enlarged."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.run.events import Preview
from ltdd_tui.screens.run.images.previews import Change, Sheet
from ltdd_tui.screens.run.images.renderer import ImageSelection, compose, lay_out_tiles
from ltdd_tui.screens.run.images.terminal_graphics import CellArea, half_cells, side_in

GROUND, ACCENT = (1, 2, 3), (250, 160, 10)


def sheet_of(rows: int, columns: int, side: int) -> Sheet:
    pixels = np.random.default_rng(0).integers(20, 240, (rows * side, columns * side, 3), dtype=np.uint8)
    return Sheet(Path("p"), Preview(1, "p", "l", rows, columns, side), Image.fromarray(pixels), 0, rows)


def test_any_layout_fits_and_shows_the_selected_image_once() -> None:
    draw = random.Random(0)
    for _ in range(500):
        rows, columns, side = draw.randint(1, 1000), draw.choice([1, 2, 10, 20, 50]), draw.choice([8, 28, 32, 64])
        cell = draw.choice([(1, 2), (8, 17), (10, 20)])
        area = CellArea(draw.randint(24, 200), draw.randint(6, 60), *cell)
        selection = ImageSelection(draw.choice(["class", "all", "one"]), draw.randrange(rows), draw.randrange(columns))
        names = draw.choice([2, 12]) if selection.shows == "all" else 0
        found = lay_out_tiles(selection, rows, columns, side, area, names)
        assert found.bands * (names + found.tiles.across * found.tiles.pitch_across) <= area.across
        assert found.tiles.down * found.tiles.pitch_down <= area.down
        placed = [(band, *image) for band in range(found.bands) for image in found.images(band)]
        images = [(row, image) for _, row, image, _, _ in placed]
        assert images.count((selection.row, selection.image)) == 1 and len(set(images)) == len(images)
        assert all(0 <= row < rows and 0 <= image < columns for row, image in images)
        assert all(row in found.rows for row, _ in images)
        assert found.tiles.side < side or found.tiles.side % side == 0
        for band, row, image, down, across in placed:
            cell_of = across * found.tiles.pitch_across, down * found.tiles.pitch_down
            assert found.image_at(*cell_of, band) == (row, image)


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


@pytest.mark.parametrize(
    ("area", "classes", "images", "bands", "in_sight"),
    [
        # The panel at 200x60 and at 120x40 with the label below, and maximized with the label beside.
        (CellArea(82, 28), 10, 10, 2, (10, 3)),
        (CellArea(66, 16), 10, 10, 2, (6, 2)),
        (CellArea(172, 52), 10, 10, 1, (10, 10)),
        (CellArea(92, 33), 10, 10, 2, (10, 3)),
        # Of many classes a page; more than two columns of classes only where each has all its images.
        (CellArea(172, 52), 100, 10, 2, (20, 7)),
        (CellArea(172, 52), 100, 1, 8, (80, 1)),
        # In pixels of the terminal all images of ten classes have room.
        (CellArea(58, 25, 10, 20), 10, 10, 1, (10, 10)),
    ],
)
def test_all_classes_are_in_sight_where_there_is_room(
    area: CellArea, classes: int, images: int, bands: int, in_sight: tuple[int, int]
) -> None:
    found = lay_out_tiles(ImageSelection(), classes, images, 32, area, name_cells=11)
    assert (found.bands, (len(found.rows), found.tiles.across)) == (bands, in_sight)
    # At least half of the room is used, down as well as across.
    assert 2 * found.tiles.cells[1] > area.down and 2 * found.bands * (11 + found.tiles.cells[0]) > area.across


def test_many_classes_are_leafed_through_page_by_page() -> None:
    area, seen = CellArea(172, 52), []
    for row in range(100):
        found = lay_out_tiles(ImageSelection(row=row), 100, 10, 32, area, name_cells=12)
        assert row in found.rows
        seen.append(found.rows)
    assert len(dict.fromkeys(seen)) == 5 and [page[0] for page in dict.fromkeys(seen)] == [0, 20, 40, 60, 80]
    last = lay_out_tiles(ImageSelection(row=109, image=9), 110, 10, 32, area, name_cells=12)
    assert last.rows == range(90, 110) and last.tiles.first_column == 3


def test_changes_are_amplified_around_gray_by_a_factor_that_fits() -> None:
    start = sheet_of(2, 2, 8)
    pixels = np.asarray(start.pixels).astype(int)
    pixels[:8] += 3
    pixels[8:, :8] -= 5
    now = replace(start, pixels=Image.fromarray(pixels.clip(0, 255).astype(np.uint8)))
    change = Change(now, start)
    # 16 times 5 is below 127, 32 times is not.
    assert change.factor == 16
    assert {tuple(color) for color in np.asarray(change.image(0, 1)).reshape(-1, 3)} == {(128 + 48,) * 3}
    assert {tuple(color) for color in np.asarray(change.image(1, 0)).reshape(-1, 3)} == {(128 - 80,) * 3}
    assert {tuple(color) for color in np.asarray(change.image(1, 1)).reshape(-1, 3)} == {(128,) * 3}
    assert Change(replace(start, pixels=Image.new("RGB", start.pixels.size)), start).factor == 1


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
