"""Everything that is slow about showing synthetic images, from an order to what is put on the screen; for a thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from PIL import Image, ImageDraw
from textual.strip import Strip

from engine.run.events import Preview
from ltdd_tui.screens.run.images.previews import Sheet, Unreadable, read_label, read_sheet
from ltdd_tui.screens.run.images.terminal_graphics import Renderer, Room, Tiles, flow, grid, half_cells, single, sixels

# Which synthetic images are looked at: pure, so that keys only ask for the next place.


Shows = Literal["class", "all", "one"]


@dataclass(frozen=True)
class Place:
    """One image of one class at one iteration, alone, among its class or among all; no iteration: the newest."""

    shows: Shows = "class"
    row: int = 0
    image: int = 0
    iteration: int | None = None

    def next_mode(self) -> Place:
        """One class, all classes, one image, and around."""
        modes = get_args(Shows)
        return replace(self, shows=modes[(modes.index(self.shows) + 1) % len(modes)])

    def moved(self, rows: int, images: int, within: Preview) -> Place:
        """`rows` classes and `images` images on; it goes around at the ends."""
        return replace(self, row=(self.row + rows) % within.rows, image=(self.image + images) % within.columns)

    def within(self, preview: Preview) -> Place:
        """The nearest place that there is."""
        return replace(self, row=min(self.row, preview.rows - 1), image=min(self.image, preview.columns - 1))

    def at(self, saved: Sequence[int]) -> int | None:
        """The saved iteration that is shown: the newest, or the last one not after the wanted."""
        if self.iteration is None:
            return saved[-1] if saved else None
        return next((at for at in reversed(saved) if at <= self.iteration), saved[0] if saved else None)

    def stepped(self, steps: int, saved: Sequence[int]) -> Place:
        """As many saved iterations later; at the newest it follows the run again."""
        at = self.at(saved)
        if at is None:
            return self
        wanted = max(saved.index(at) + steps, 0)
        return replace(self, iteration=saved[wanted] if wanted < len(saved) - 1 else None)


def usable(previews: Mapping[int, Preview]) -> list[int]:
    """The iterations whose previews can be looked at; a foreign file may say anything."""
    return sorted(at for at, preview in previews.items() if isinstance(at, int) and _is_sound(preview))


def _is_sound(preview: Preview) -> bool:
    sizes = (preview.rows, preview.columns, preview.image_size)
    return all(isinstance(size, int) and size > 0 for size in sizes) and all(
        isinstance(path, str) for path in (preview.path, preview.labels)
    )


# Puts the images that are in sight onto one picture, with gaps and a frame around the selected one.


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


Drawn = list[Strip] | str | Image.Image
"""A picture made ready for its renderer: lines of half-cells, a control sequence, or as it is."""


@dataclass(frozen=True)
class RenderRequest:
    """What is to be shown of the run at `root`; `names` and `groups` (many, medium, few) of the classes if known."""

    root: Path
    preview: Preview
    place: Place
    names: tuple[str, ...]
    groups: tuple[str, ...]
    renderer: Renderer

    def names_of(self, count: int) -> list[str]:
        """What the first classes are called."""
        return [*self.names[:count], *(f"class {row + 1}" for row in range(len(self.names), count))]

    @property
    def title(self) -> str:
        """The framed image in words."""
        return f"{self.names_of(self.preview.rows)[self.place.row]}, image {self.place.image + 1}"


@dataclass(frozen=True)
class Order:
    """A wish, and on what it is drawn."""

    request: RenderRequest
    room: Room
    ground: Rgb
    accent: Rgb


@dataclass(frozen=True)
class RenderedImages:
    """What an order became; no picture where images are off, and none and a fault where they cannot be read."""

    order: Order
    plan: Plan
    picture: Drawn | None
    across: int
    down: int
    label: list[float]
    pixels_fault: str
    label_fault: str


class ImageRenderer:
    """Carries out one order after another, and keeps the pixels of the last preview for the next."""

    def __init__(self) -> None:
        self._sheet: Sheet | None = None

    def forget(self) -> None:
        """Lets the pixels go."""
        self._sheet = None

    def build(self, order: Order) -> RenderedImages:
        """Reads what is missing and draws; what is damaged becomes a fault."""
        request, room = order.request, order.room
        preview = request.preview
        planned = plan(request.place, preview.rows, preview.columns, preview.image_size, room)
        picture, pixels_fault = self._picture(order, planned)
        label, label_fault = _label(request)
        across, down = (picture.width // room.cell_width, picture.height // room.cell_height) if picture else (0, 0)
        ready = _ready(picture, request.renderer) if picture else None
        return RenderedImages(order, planned, ready, across, down, label, pixels_fault, label_fault)

    def _picture(self, order: Order, planned: Plan) -> tuple[Image.Image | None, str]:
        if order.request.renderer == "off":
            return None, ""
        try:
            sheet = self._sheet_of(order.request, planned)
            return compose(planned, sheet, order.room, order.ground, order.accent), ""
        except Unreadable as fault:
            return None, str(fault)

    def _sheet_of(self, request: RenderRequest, planned: Plan) -> Sheet:
        wanted = (request.root / request.preview.path, request.preview, planned.rows.start, planned.rows.stop)
        if self._sheet is None or not self._sheet.holds(*wanted):
            # First let go: two large ones need not be in memory at once.
            self._sheet = None
            self._sheet = read_sheet(*wanted)
        return self._sheet


def _ready(picture: Image.Image, renderer: Renderer) -> Drawn:
    match renderer:
        case "halfcell":
            return half_cells(picture)
        case "sixel":
            return sixels(picture)
        case _:
            return picture


def _label(request: RenderRequest) -> tuple[list[float], str]:
    place, classes = request.place, len(request.names) or None
    try:
        return read_label(request.root / request.preview.labels, request.preview, place.row, place.image, classes), ""
    except Unreadable as fault:
        return [], str(fault)
