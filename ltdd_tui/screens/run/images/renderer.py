"""Renders synthetic images off the UI thread: reads the preview, lays out the grid, encodes it for the terminal."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from PIL import Image, ImageDraw
from textual.strip import Strip

from engine.run.events import Preview
from ltdd_tui.screens.run.images.previews import Sheet, Unreadable, read_label, read_sheet
from ltdd_tui.screens.run.images.terminal_graphics import CellArea, Renderer, Tiles, flow, grid, half_cells, sixels

Shows = Literal["class", "all", "one"]


@dataclass(frozen=True)
class ImageSelection:
    """One image of one class at one iteration, alone, among its class or among all; no iteration: the newest."""

    shows: Shows = "class"
    row: int = 0
    image: int = 0
    iteration: int | None = None

    def next_mode(self) -> ImageSelection:
        """One class, all classes, one image, and around."""
        modes = get_args(Shows)
        return replace(self, shows=modes[(modes.index(self.shows) + 1) % len(modes)])

    def moved(self, rows: int, images: int, within: Preview) -> ImageSelection:
        """`rows` classes and `images` images on; it goes around at the ends."""
        return replace(self, row=(self.row + rows) % within.rows, image=(self.image + images) % within.columns)

    def within(self, preview: Preview) -> ImageSelection:
        """The nearest selection that the preview holds."""
        return replace(self, row=min(self.row, preview.rows - 1), image=min(self.image, preview.columns - 1))

    def at(self, saved: Sequence[int]) -> int | None:
        """The saved iteration that is shown: the newest, or the last one not after the wanted."""
        if self.iteration is None:
            return saved[-1] if saved else None
        return next((at for at in reversed(saved) if at <= self.iteration), saved[0] if saved else None)

    def stepped(self, steps: int, saved: Sequence[int]) -> ImageSelection:
        """As many saved iterations later; at the newest it follows the run again."""
        at = self.at(saved)
        if at is None:
            return self
        wanted = max(saved.index(at) + steps, 0)
        return replace(self, iteration=saved[wanted] if wanted < len(saved) - 1 else None)


def valid_previews(previews: Mapping[int, Preview]) -> list[int]:
    """The iterations whose previews can be shown; in a foreign file the fields may hold values of any kind."""
    return sorted(
        iteration
        for iteration, preview in previews.items()
        if isinstance(iteration, int)
        and all(isinstance(size, int) and size > 0 for size in (preview.rows, preview.columns, preview.image_size))
        and all(isinstance(path, str) for path in (preview.path, preview.labels))
    )


# ------------------------------------------------------------------------------------------------------------------
# Layout: the images that are in sight on one picture, with gaps, and a frame around the selected one
# ------------------------------------------------------------------------------------------------------------------

Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class TileLayout:
    """Which images lie where: those of one class in lines of `columns`, or those of all classes, a line each."""

    tiles: Tiles
    columns: int
    selection: ImageSelection
    count: int

    def image_at(self, x: int, y: int) -> tuple[int, int] | None:
        """The class and the image that cover a cell."""
        tile = self.tiles.at(x, y)
        return self._image(*tile) if tile else None

    def images(self) -> list[tuple[int, int, int, int]]:
        """Class, image, and the line and column of its tile in sight."""
        tiles = self.tiles
        return [
            (*image, down, across)
            for down, across in itertools.product(range(tiles.down), range(tiles.across))
            if (image := self._image(tiles.first_row + down, tiles.first_column + across))
        ]

    @property
    def rows(self) -> range:
        """The classes in sight."""
        if self.selection.shows == "all":
            return range(self.tiles.first_row, self.tiles.first_row + self.tiles.down)
        return range(self.selection.row, self.selection.row + 1)

    def _image(self, row: int, column: int) -> tuple[int, int] | None:
        if self.selection.shows == "all":
            return row, column
        image = self.selection.image if self.selection.shows == "one" else row * self.columns + column
        return (self.selection.row, image) if image < self.count else None


def lay_out_tiles(selection: ImageSelection, rows: int, columns: int, image_size: int, area: CellArea) -> TileLayout:
    """What is in sight of `rows` classes with `columns` images each."""
    if selection.shows == "one":
        return TileLayout(grid(1, 1, 0, 0, image_size, area), 1, selection, columns)
    if selection.shows == "all":
        return TileLayout(
            grid(rows, columns, selection.row, selection.image, image_size, area), columns, selection, columns
        )
    # A single class is shown in lines of as many images as make them largest.
    line = flow(columns, image_size, area)
    tiles = grid(-(-columns // line), line, *divmod(selection.image, line), image_size, area)
    return TileLayout(tiles, line, selection, columns)


def compose(layout: TileLayout, sheet: Sheet, area: CellArea, ground: Rgb, accent: Rgb) -> Image.Image:
    """The picture, on as many whole cells as it needs."""
    tiles, ring = layout.tiles, area.ring
    picture = Image.new("RGB", (tiles.cells[0] * area.cell_width, tiles.cells[1] * area.cell_height), ground)
    pitch = tiles.pitch_across * area.cell_width, tiles.pitch_down * area.cell_height
    for row, column, down, across in layout.images():
        image = sheet.image(row, column)
        # Enlarged, every pixel stays a sharp square; made smaller, none is left out.
        how = Image.Resampling.NEAREST if tiles.side >= image.width else Image.Resampling.BOX
        left, top = across * pitch[0] + ring, down * pitch[1] + ring
        picture.paste(image.resize((tiles.side, tiles.side), how), (left, top))
        if layout.selection.shows != "one" and (row, column) == (layout.selection.row, layout.selection.image):
            box = (left - ring, top - ring, left + tiles.side + ring - 1, top + tiles.side + ring - 1)
            ImageDraw.Draw(picture).rectangle(box, outline=accent, width=ring)
    return picture


# ------------------------------------------------------------------------------------------------------------------
# From a request to what is put on the screen
# ------------------------------------------------------------------------------------------------------------------

Drawn = list[Strip] | str | Image.Image
"""A picture in the form its renderer takes: lines of half-cells, a control sequence, or the picture itself."""


@dataclass(frozen=True)
class RenderRequest:
    """What is to be shown of the run at `root`; `names` and `groups` (many, medium, few) of the classes if known."""

    root: Path
    preview: Preview
    selection: ImageSelection
    names: tuple[str, ...]
    groups: tuple[str, ...]
    renderer: Renderer

    def names_of(self, count: int) -> list[str]:
        """What the first classes are called."""
        return [*self.names[:count], *(f"class {row + 1}" for row in range(len(self.names), count))]

    @property
    def title(self) -> str:
        """The framed image in words."""
        return f"{self.names_of(self.preview.rows)[self.selection.row]}, image {self.selection.image + 1}"


@dataclass(frozen=True)
class RenderJob:
    """A request, and the cells and colors that it is drawn with."""

    request: RenderRequest
    area: CellArea
    ground: Rgb
    accent: Rgb


@dataclass(frozen=True)
class RenderedImages:
    """The result of a job; no picture where images are off, and none and a fault where they cannot be read."""

    job: RenderJob
    layout: TileLayout
    picture: Drawn | None
    label: list[float]
    pixels_fault: str
    label_fault: str


class ImageRenderer:
    """Does one job after another, and keeps the pixels of the last preview for the next."""

    def __init__(self) -> None:
        self._sheet: Sheet | None = None

    def forget(self) -> None:
        """Lets the pixels go."""
        self._sheet = None

    def build(self, job: RenderJob) -> RenderedImages:
        """Reads what is missing and draws; what is damaged becomes a fault."""
        request, area = job.request, job.area
        preview, selection = request.preview, request.selection
        layout = lay_out_tiles(selection, preview.rows, preview.columns, preview.image_size, area)
        drawn: Drawn | None = None
        label, pixels_fault, label_fault = [], "", ""
        try:
            if request.renderer != "off":
                picture = compose(layout, self._sheet_of(request, layout), area, job.ground, job.accent)
                drawn = picture
                if request.renderer != "kitty":
                    drawn = half_cells(picture) if request.renderer == "halfcell" else sixels(picture)
        except Unreadable as fault:
            pixels_fault = str(fault)
        try:
            path, classes = request.root / preview.labels, len(request.names) or None
            label = read_label(path, preview, selection.row, selection.image, classes)
        except Unreadable as fault:
            label_fault = str(fault)
        return RenderedImages(job, layout, drawn, label, pixels_fault, label_fault)

    def _sheet_of(self, request: RenderRequest, layout: TileLayout) -> Sheet:
        wanted = (request.root / request.preview.path, request.preview, layout.rows.start, layout.rows.stop)
        if self._sheet is None or not self._sheet.holds(*wanted):
            # The one before is let go first: two large ones need not be in memory at once.
            self._sheet = None
            self._sheet = read_sheet(*wanted)
        return self._sheet
