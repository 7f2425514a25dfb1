"""Puts the images that are in sight onto one picture, with gaps and a frame around the selected one."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageDraw

from ltdd_tui.gallery import Place
from ltdd_tui.previews import Sheet
from ltdd_tui.tiles import Room, Tiles, flow, grid, single

Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class Plan:
    """Which images lie where: those of one class in lines of `columns`, or those of all classes, a line each."""

    tiles: Tiles
    columns: int
    place: Place
    count: int

    def image_at(self, x: int, y: int) -> tuple[int, int] | None:
        """The class and the image that cover a cell."""
        found = self.tiles.at(x, y)
        return self._image(*found) if found else None

    def images(self) -> list[tuple[int, int, int, int]]:
        """Class, image, and the line and column of its tile in sight."""
        tiles = self.tiles
        places = [(down, across) for down in range(tiles.down) for across in range(tiles.across)]
        found = [
            (self._image(tiles.first_row + down, tiles.first_column + across), down, across) for down, across in places
        ]
        return [(*image, down, across) for image, down, across in found if image]

    @property
    def rows(self) -> range:
        """The classes in sight."""
        if self.place.shows == "all":
            return range(self.tiles.first_row, self.tiles.first_row + self.tiles.down)
        return range(self.place.row, self.place.row + 1)

    def _image(self, row: int, column: int) -> tuple[int, int] | None:
        if self.place.shows == "all":
            return row, column
        image = self.place.image if self.place.shows == "one" else row * self.columns + column
        return (self.place.row, image) if image < self.count else None


def plan(place: Place, rows: int, columns: int, image_size: int, room: Room) -> Plan:
    """What is in sight of `rows` classes with `columns` images each."""
    if place.shows == "one":
        return Plan(single(image_size, room), 1, place, columns)
    if place.shows == "all":
        return Plan(grid(rows, columns, place.row, place.image, image_size, room), columns, place, columns)
    line = flow(columns, image_size, room)
    return Plan(grid(-(-columns // line), line, *divmod(place.image, line), image_size, room), line, place, columns)


def compose(plan: Plan, sheet: Sheet, room: Room, ground: Rgb, accent: Rgb) -> Image.Image:
    """The picture, on as many whole cells as it needs."""
    tiles, ring = plan.tiles, room.ring
    pitch = tiles.pitch_across * room.cell_width, tiles.pitch_down * room.cell_height
    picture = Image.new("RGB", (tiles.across * pitch[0], tiles.down * pitch[1]), ground)
    for row, column, down, across in plan.images():
        image = sheet.image(row, column)
        how = Image.Resampling.NEAREST if tiles.side >= image.width else Image.Resampling.BOX
        left, top = across * pitch[0] + ring, down * pitch[1] + ring
        picture.paste(image.resize((tiles.side, tiles.side), how), (left, top))
        if plan.place.shows != "one" and (row, column) == (plan.place.row, plan.place.image):
            box = (left - ring, top - ring, left + tiles.side + ring - 1, top + tiles.side + ring - 1)
            ImageDraw.Draw(picture).rectangle(box, outline=accent, width=ring)
    return picture
