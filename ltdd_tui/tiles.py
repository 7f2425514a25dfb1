"""How images are laid out in cells of a terminal: as large as they can be, whole pixels where they are enlarged."""

from __future__ import annotations

from dataclasses import dataclass, replace

WHOLE_PART = 0.9


@dataclass(frozen=True)
class Room:
    """Where pictures go: cells across and down, and the pixels of a cell (1 x 2 where a cell shows two halves)."""

    across: int
    down: int
    cell_width: int = 1
    cell_height: int = 2

    @property
    def ring(self) -> int:
        """The width in pixels of the frame around the selected image; half the gap between two."""
        return max(1, self.cell_height // 8)


@dataclass(frozen=True)
class Tiles:
    """Images of `side` pixels, one every `pitch` cells: `down` x `across` of them, from a row and a column on."""

    side: int
    pitch_across: int
    pitch_down: int
    across: int
    down: int
    first_row: int = 0
    first_column: int = 0

    def at(self, x: int, y: int) -> tuple[int, int] | None:
        """The row and column of the image that covers a cell, or None beside them all."""
        column, row = x // self.pitch_across, y // self.pitch_down
        if 0 <= column < self.across and 0 <= row < self.down:
            return self.first_row + row, self.first_column + column
        return None


def grid(rows: int, columns: int, row: int, column: int, image_size: int, room: Room) -> Tiles:
    """A grid around one place: all of it if its images are then large enough, else as much as there is room for."""
    gap = 2 * room.ring
    free = min(room.across // columns * room.cell_width, room.down // rows * room.cell_height) - gap
    tiles = _of_side(side_in(max(free, _smallest(room)), image_size), room)
    across, down = min(columns, tiles.across), min(rows, tiles.down)
    first_row = min(max(row - down // 2, 0), rows - down)
    first_column = min(max(column - across // 2, 0), columns - across)
    return replace(tiles, across=across, down=down, first_row=first_row, first_column=first_column)


def single(image_size: int, room: Room) -> Tiles:
    """One image as large as it can be."""
    side = min(room.across * room.cell_width, room.down * room.cell_height) - 2 * room.ring
    return replace(_of_side(side_in(max(side, 1), image_size), room), across=1, down=1)


def flow(count: int, image_size: int, room: Room) -> int:
    """In how many columns `count` images are largest, with the fewest rows of those; or as many as fit into a row."""
    fitting = [columns for columns in range(count, 0, -1) if _fit(count, columns, image_size, room)]
    if fitting:
        return max(fitting, key=lambda columns: grid(-(-count // columns), columns, 0, 0, image_size, room).side)
    return min(count, _of_side(side_in(_smallest(room), image_size), room).across)


def side_in(room: int, image_size: int) -> int:
    """The side of an image in a square of `room` pixels: a whole multiple, a whole part, or else all of the room."""
    if room >= image_size:
        return room // image_size * image_size
    part = image_size // -(-image_size // room)
    return part if image_size % part == 0 and part >= WHOLE_PART * room else room


def _fit(count: int, columns: int, image_size: int, room: Room) -> bool:
    """Whether all images are in sight in so many columns."""
    tiles = grid(-(-count // columns), columns, 0, 0, image_size, room)
    return tiles.across == columns and tiles.across * tiles.down >= count


def _of_side(side: int, room: Room) -> Tiles:
    """As many images of that side as there is room for, at least one."""
    box = side + 2 * room.ring
    pitch_across, pitch_down = -(-box // room.cell_width), -(-box // room.cell_height)
    return Tiles(side, pitch_across, pitch_down, max(1, room.across // pitch_across), max(1, room.down // pitch_down))


def _smallest(room: Room) -> int:
    """The smallest side that says something, or what there is room for."""
    free = min(room.across * room.cell_width, room.down * room.cell_height) - 2 * room.ring
    return max(1, min(max(8, room.cell_height * 2), free))
