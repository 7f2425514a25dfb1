"""Renders synthetic images off the UI thread: reads the preview, lays out the grid, encodes it for the terminal."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, get_args

from PIL import Image, ImageDraw
from textual.strip import Strip

from engine.run.events import Preview
from ltdd_tui.screens.run.images.previews import Change, Sheet, Unreadable, read_label, read_sheet
from ltdd_tui.screens.run.images.terminal_graphics import (
    CellArea,
    Renderer,
    Tiles,
    band_tiles,
    flow,
    grid,
    half_cells,
    sixels,
)

Shows = Literal["all", "class", "one"]


@dataclass(frozen=True)
class ImageSelection:
    """One image of one class at one iteration, alone, among its class or among all; no iteration: the newest."""

    shows: Shows = "all"
    row: int = 0
    image: int = 0
    iteration: int | None = None

    def next_mode(self) -> ImageSelection:
        """All classes, one class, one image, and around."""
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
# Layout: the images that are in sight on one picture a band, with gaps, and a frame around the selected one
# ------------------------------------------------------------------------------------------------------------------

Rgb = tuple[int, int, int]
MOST_BANDS, FEWEST_IMAGES = 8, 2


@dataclass(frozen=True)
class TileLayout:
    """Which images lie where: those of one class in lines of `columns`, or those of all classes, a line each.

    Of all classes there are `bands` side by side, each with the tiles `tiles`; `count` images a class, `classes` in
    all.
    """

    tiles: Tiles
    columns: int
    selection: ImageSelection
    count: int
    classes: int
    bands: int = 1

    def image_at(self, x: int, y: int, band: int = 0) -> tuple[int, int] | None:
        """The class and the image that cover a cell of a band."""
        tile = self.tiles.at(x, y)
        return self._image(band, *tile) if tile else None

    def images(self, band: int = 0) -> list[tuple[int, int, int, int]]:
        """Class, image, and the line and column of its tile in sight."""
        tiles = self.tiles
        return [
            (*image, down, across)
            for down, across in itertools.product(range(tiles.down), range(tiles.across))
            if (image := self._image(band, tiles.first_row + down, tiles.first_column + across))
        ]

    @property
    def rows(self) -> range:
        """The classes in sight."""
        if self.selection.shows == "all":
            first = self.tiles.first_row
            return range(first, min(first + self.bands * self.tiles.down, self.classes))
        return range(self.selection.row, self.selection.row + 1)

    def rows_of(self, band: int) -> range:
        """The classes in sight in one band of all classes."""
        return self.rows[band * self.tiles.down : (band + 1) * self.tiles.down]

    def _image(self, band: int, row: int, column: int) -> tuple[int, int] | None:
        if self.selection.shows == "all":
            row += band * self.tiles.down
            return (row, column) if row < self.classes else None
        image = self.selection.image if self.selection.shows == "one" else row * self.columns + column
        return (self.selection.row, image) if image < self.count else None


def lay_out_tiles(
    selection: ImageSelection, rows: int, columns: int, image_size: int, area: CellArea, name_cells: int = 0
) -> TileLayout:
    """What is in sight of `rows` classes with `columns` images each; `name_cells` go to the names of each band."""
    if selection.shows == "one":
        return TileLayout(grid(1, 1, 0, 0, image_size, area), 1, selection, columns, rows)
    if selection.shows == "all":
        return _lay_out_classes(selection, rows, columns, image_size, area, name_cells)
    # A single class is shown in lines of as many images as make them largest.
    line = flow(columns, image_size, area)
    tiles = grid(-(-columns // line), line, *divmod(selection.image, line), image_size, area)
    return TileLayout(tiles, line, selection, columns, rows)


def _lay_out_classes(
    selection: ImageSelection, rows: int, columns: int, image_size: int, area: CellArea, name_cells: int
) -> TileLayout:
    """All classes if there is room, else a page of as many as can be, and of those as many and as large images.

    There is a third band, and more, only where each class has all of its images in sight.
    """
    found = []
    for bands in range(1, min(MOST_BANDS, rows) + 1):
        room = replace(area, across=max(1, area.across // bands - name_cells))
        for tiles in band_tiles(-(-rows // bands), columns, image_size, room):
            if bands <= 2 or tiles.across == columns:
                classes = min(bands * tiles.down, rows)
                has_several = tiles.across >= min(FEWEST_IMAGES, columns)
                worth = has_several, classes, classes * tiles.across * tiles.side, -bands
                found.append((worth, bands, tiles))
    room = replace(area, across=max(1, area.across - name_cells))
    least = (), 1, grid(rows, columns, selection.row, selection.image, image_size, room)
    _, bands, tiles = max(found, key=lambda one: one[0], default=least)
    # Page by page: within a page the selection moves, and the images stay where they are.
    first_row = min(selection.row // (bands * tiles.down) * bands * tiles.down, max(rows - bands * tiles.down, 0))
    first_column = min(selection.image // tiles.across * tiles.across, columns - tiles.across)
    tiles = replace(tiles, first_row=first_row, first_column=first_column)
    return TileLayout(tiles, columns, selection, columns, rows, bands)


class ImageSource(Protocol):
    """Where the pixels of one image come from: a sheet, or the difference of two."""

    def image(self, row: int, column: int) -> Image.Image:
        """One image."""


def compose(
    layout: TileLayout, source: ImageSource, area: CellArea, ground: Rgb, accent: Rgb, band: int = 0
) -> Image.Image:
    """The picture of one band, on as many whole cells as it needs."""
    tiles, ring = layout.tiles, area.ring
    picture = Image.new("RGB", (tiles.cells[0] * area.cell_width, tiles.cells[1] * area.cell_height), ground)
    pitch = tiles.pitch_across * area.cell_width, tiles.pitch_down * area.cell_height
    for row, column, down, across in layout.images(band):
        image = source.image(row, column)
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
    """What is to be shown of the run at `root`; `names` and `groups` (many, medium, few) of the classes if known.

    `since` is the preview that the images are compared with, where their change is to be shown.
    """

    root: Path
    preview: Preview
    selection: ImageSelection
    names: tuple[str, ...]
    groups: tuple[str, ...]
    renderer: Renderer
    since: Preview | None = None

    def names_of(self, count: int) -> list[str]:
        """What the first classes are called."""
        return [*self.names[:count], *(f"class {row + 1}" for row in range(len(self.names), count))]

    @property
    def title(self) -> str:
        """The framed image in words."""
        return f"{self.names_of(self.preview.rows)[self.selection.row]}, image {self.selection.image + 1}"

    def lay_out(self, area: CellArea, name_cells: int) -> TileLayout:
        """What of it is in sight."""
        preview = self.preview
        return lay_out_tiles(self.selection, preview.rows, preview.columns, preview.image_size, area, name_cells)


@dataclass(frozen=True)
class RenderJob:
    """A request, and the cells and colors that it is drawn with; `name_cells` are left free beside each band.

    `large` is where the selected image is drawn once more, alone.
    """

    request: RenderRequest
    area: CellArea
    name_cells: int
    ground: Rgb
    accent: Rgb
    large: CellArea | None = None


@dataclass(frozen=True)
class RenderedImages:
    """The result of a job: a picture a band, none where images are off, and none and a fault where they are damaged.

    `large` is the selected image with the cells across and down that it takes. `factor` is by how much differences are
    amplified, None where the images themselves are shown.
    """

    job: RenderJob
    layout: TileLayout
    pictures: tuple[Drawn, ...]
    label: list[float]
    pixels_fault: str
    label_fault: str
    large: tuple[Drawn, int, int] | None = None
    factor: int | None = None


class ImageRenderer:
    """Does one job after another, and keeps the pixels of the last previews for the next."""

    def __init__(self) -> None:
        self._sheets: dict[Path, Sheet] = {}

    def forget(self) -> None:
        """Lets the pixels go."""
        self._sheets = {}

    def build(self, job: RenderJob) -> RenderedImages:
        """Reads what is missing and draws; what is damaged becomes a fault."""
        request, preview, selection = job.request, job.request.preview, job.request.selection
        layout = request.lay_out(job.area, job.name_cells)
        pictures: tuple[Drawn, ...] = ()
        large: tuple[Drawn, int, int] | None = None
        label, pixels_fault, label_fault, factor = [], "", "", None
        try:
            if request.renderer != "off":
                source = self._source_of(request, layout)
                factor = source.factor if isinstance(source, Change) else None
                pictures = tuple(_draw(job, layout, source, job.area, band) for band in range(layout.bands))
                if job.large:
                    alone = replace(request, selection=replace(selection, shows="one")).lay_out(job.large, 0)
                    large = (_draw(job, alone, source, job.large), *alone.tiles.cells)
        except Unreadable as fault:
            pixels_fault = str(fault)
        try:
            path, classes = request.root / preview.labels, len(request.names) or None
            label = read_label(path, preview, selection.row, selection.image, classes)
        except Unreadable as fault:
            label_fault = str(fault)
        return RenderedImages(job, layout, pictures, label, pixels_fault, label_fault, large, factor)

    def _source_of(self, request: RenderRequest, layout: TileLayout) -> ImageSource:
        previews = [request.preview, *([request.since] if request.since else [])]
        wanted = {request.root / preview.path: preview for preview in previews}
        # What is not needed is let go first: two large ones need not be in memory at once.
        self._sheets = {
            path: sheet
            for path, sheet in self._sheets.items()
            if path in wanted and sheet.holds(path, wanted[path], layout.rows.start, layout.rows.stop)
        }
        for path, preview in wanted.items():
            if path not in self._sheets:
                self._sheets[path] = read_sheet(path, preview, layout.rows.start, layout.rows.stop)
        sheet, *start = [self._sheets[request.root / preview.path] for preview in previews]
        return Change(sheet, start[0]) if start else sheet


def _draw(job: RenderJob, layout: TileLayout, source: ImageSource, area: CellArea, band: int = 0) -> Drawn:
    """The picture of one band in the form that its renderer takes."""
    picture = compose(layout, source, area, job.ground, job.accent, band)
    if job.request.renderer == "kitty":
        return picture
    return half_cells(picture) if job.request.renderer == "halfcell" else sixels(picture)
