"""How pictures get onto a terminal: by its own graphics (kitty, sixel), as half-cells, or not at all."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal, get_args

from PIL import Image
from rich.color import Color
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.strip import Strip

from ltdd_tui.preferences import ImageMode

# ------------------------------------------------------------------------------------------------------------------
# How images are laid out in cells of a terminal: as large as they can be, whole pixels where they are enlarged
# ------------------------------------------------------------------------------------------------------------------

WHOLE_PART = 0.9


@dataclass(frozen=True)
class CellArea:
    """Where pictures go: cells across and down, and pixels of a cell (1 x 2 where a cell shows two halves)."""

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

    @property
    def cells(self) -> tuple[int, int]:
        """Cells across and down that they take."""
        return self.across * self.pitch_across, self.down * self.pitch_down

    def at(self, x: int, y: int) -> tuple[int, int] | None:
        """The row and column of the image that covers a cell, or None beside them all."""
        column, row = x // self.pitch_across, y // self.pitch_down
        if 0 <= column < self.across and 0 <= row < self.down:
            return self.first_row + row, self.first_column + column
        return None


def grid(rows: int, columns: int, row: int, column: int, image_size: int, area: CellArea) -> Tiles:
    """A grid around one place: all of it if its images are then large enough, else as much as there is room for."""
    gap = 2 * area.ring
    free = min(area.across // columns * area.cell_width, area.down // rows * area.cell_height) - gap
    tiles = _of_side(side_in(max(free, _smallest(area)), image_size), area)
    across, down = min(columns, tiles.across), min(rows, tiles.down)
    first_row = min(max(row - down // 2, 0), rows - down)
    first_column = min(max(column - across // 2, 0), columns - across)
    return replace(tiles, across=across, down=down, first_row=first_row, first_column=first_column)


def flow(count: int, image_size: int, area: CellArea) -> int:
    """In how many columns `count` images are largest, with the fewest rows of those; or as many as fit into a row."""
    grids = {columns: grid(-(-count // columns), columns, 0, 0, image_size, area) for columns in range(count, 0, -1)}
    fitting = [columns for columns, tiles in grids.items() if tiles.across == columns and columns * tiles.down >= count]
    if fitting:
        return max(fitting, key=lambda columns: grids[columns].side)
    return min(count, _of_side(side_in(_smallest(area), image_size), area).across)


def band_tiles(rows: int, columns: int, image_size: int, area: CellArea) -> Iterator[Tiles]:
    """The grids worth a look for `rows` classes of `columns` images: each is as large as so many of them can be.

    None where even one of the smallest images has no room.
    """
    across = (area.across // count * area.cell_width for count in range(1, min(columns, area.across) + 1))
    down = (area.down // count * area.cell_height for count in range(1, min(rows, area.down) + 1))
    # By the height alone: a narrow band makes no smaller image worth a look.
    smallest = _smallest(replace(area, across=area.down * area.cell_height))
    rooms = {max(room - 2 * area.ring, smallest) for room in (*across, *down)}
    for side in sorted({side_in(room, image_size) for room in rooms}):
        tiles = _of_side(side, area)
        if tiles.pitch_across <= area.across and tiles.pitch_down <= area.down:
            yield replace(tiles, across=min(columns, tiles.across), down=min(rows, tiles.down))


def side_in(room: int, image_size: int) -> int:
    """The side of an image in a square of `room` pixels: a whole multiple, a whole part, or else all of the room."""
    if room >= image_size:
        return room // image_size * image_size
    part = image_size // -(-image_size // room)
    return part if image_size % part == 0 and part >= WHOLE_PART * room else room


def _of_side(side: int, area: CellArea) -> Tiles:
    """As many images of that side as there is room for, at least one."""
    box = side + 2 * area.ring
    pitch_across, pitch_down = -(-box // area.cell_width), -(-box // area.cell_height)
    return Tiles(side, pitch_across, pitch_down, max(1, area.across // pitch_across), max(1, area.down // pitch_down))


def _smallest(area: CellArea) -> int:
    """The smallest side that says something, or what there is room for."""
    free = min(area.across * area.cell_width, area.down * area.cell_height) - 2 * area.ring
    return max(1, min(max(8, area.cell_height * 2), free))


# ------------------------------------------------------------------------------------------------------------------
# Which renderer a terminal can have
# ------------------------------------------------------------------------------------------------------------------

Renderer = Literal["kitty", "sixel", "halfcell", "off"]

BETWEEN = ("TMUX", "STY", "SSH_CONNECTION", "SSH_TTY")
_LIBRARY = "textual_image.widget"


def renderer_of(mode: ImageMode, app: App[object]) -> Renderer:
    """The renderer for a preference: half-cells where nothing else can be shown, as in a browser or a test."""
    if mode == "off":
        return "off"
    if app.is_web or app.is_headless or _LIBRARY not in sys.modules:
        # The library asks the terminal as it is imported, which is too late once the screen is taken over.
        return "halfcell"
    return _detected() if mode == "auto" else mode


def next_mode(mode: ImageMode) -> ImageMode:
    """The preference after this one, and around."""
    modes: tuple[ImageMode, ...] = get_args(ImageMode)
    return modes[(modes.index(mode) + 1) % len(modes)]


def area_of(renderer: Renderer, across: int, down: int) -> CellArea:
    """Cells to draw on, with the pixels that the renderer has in each."""
    if renderer not in ("kitty", "sixel"):
        return CellArea(across, down)
    # Private in the library, but pictures must have the size that it scales them to.
    try:
        from textual_image._terminal import get_cell_size
    except ImportError:
        return CellArea(across, down, 10, 20)
    size = get_cell_size()
    return CellArea(across, down, size.width, size.height)


def _detected() -> Renderer:
    """What the terminal answered, unless something lies between.

    Through tmux and screen the answer cannot be trusted, and over ssh pictures of pixels would hold up the keys.
    """
    from textual_image import renderable

    if any(map(os.environ.get, BETWEEN)):
        return "halfcell"
    renderers: dict[type, Renderer] = {renderable.TGPImage: "kitty", renderable.SixelImage: "sixel"}
    return renderers.get(renderable.Image, "halfcell")


# ------------------------------------------------------------------------------------------------------------------
# Encoders: a picture as text of half-cells, or as Sixel graphics
# ------------------------------------------------------------------------------------------------------------------

UPPER_HALF = "▀"


def half_cells(picture: Image.Image) -> list[Strip]:
    """The lines of an RGB picture of even height: each cell shows two pixels, one above the other."""
    width, height = picture.size
    pixels = picture.tobytes()
    rows = [pixels[at : at + 3 * width] for at in range(0, 3 * width * height, 3 * width)]
    strips = []
    for upper, lower in zip(rows[::2], rows[1::2], strict=True):
        pairs = [(upper[at : at + 3], lower[at : at + 3]) for at in range(0, len(upper), 3)]
        runs = [_run(above, below, len(list(run))) for (above, below), run in groupby(pairs)]
        strips.append(Strip(runs, len(pairs)))
    return strips


def _run(above: bytes, below: bytes, cells: int) -> Segment:
    # The styles are not cached, as almost every cell has one of its own.
    if above == below:
        return Segment(" " * cells, Style(bgcolor=Color.from_rgb(*above)))
    return Segment(UPPER_HALF * cells, Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))


SIXELS_BEGIN = "\x1bP"
COLOR_DEFINED = re.compile(r"(#\d+);2;\d+;\d+;\d+")


def sixels(picture: Image.Image) -> str:
    """The control sequence that draws a picture whose sides are whole cells, at the cursor; slow, so for a thread."""
    # Asks the terminal when it is first imported, which the app did before it took over the screen.
    from textual_image.renderable import SixelImage

    console = Console(file=io.StringIO())
    parts = SixelImage(picture).__rich_console__(console, console.options)
    drawn = next(part.text for part in parts if isinstance(part, Segment) and part.text.startswith(SIXELS_BEGIN))
    # The library takes a color for chosen by defining it, xterm 379 does not: the first lines would have other colors.
    return COLOR_DEFINED.sub(r"\g<0>\1", drawn)
