"""Everything that is slow about showing synthetic images, from an order to what is put on the screen; for a thread."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from textual.strip import Strip

from engine.run.events import Preview
from ltdd_tui.drawing.halfcells import half_cells
from ltdd_tui.drawing.mosaic import Plan, Rgb, compose, plan
from ltdd_tui.drawing.sixels import sixels
from ltdd_tui.gallery import Place
from ltdd_tui.pictures import Renderer
from ltdd_tui.previews import Sheet, Unreadable, read_label, read_sheet
from ltdd_tui.tiles import Room

Drawn = list[Strip] | str | Image.Image
"""A picture made ready for its renderer: lines of half-cells, a control sequence, or as it is."""


@dataclass(frozen=True)
class Wish:
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

    wish: Wish
    room: Room
    ground: Rgb
    accent: Rgb


@dataclass(frozen=True)
class Exhibit:
    """What an order became; no picture where images are off, and none and a fault where they cannot be read."""

    order: Order
    plan: Plan
    picture: Drawn | None
    across: int
    down: int
    label: list[float]
    pixels_fault: str
    label_fault: str


class Studio:
    """Carries out one order after another, and keeps the pixels of the last preview for the next."""

    def __init__(self) -> None:
        self._sheet: Sheet | None = None

    def forget(self) -> None:
        """Lets the pixels go."""
        self._sheet = None

    def build(self, order: Order) -> Exhibit:
        """Reads what is missing and draws; what is damaged becomes a fault."""
        wish, room = order.wish, order.room
        preview = wish.preview
        planned = plan(wish.place, preview.rows, preview.columns, preview.image_size, room)
        picture, pixels_fault = self._picture(order, planned)
        label, label_fault = _label(wish)
        across, down = (picture.width // room.cell_width, picture.height // room.cell_height) if picture else (0, 0)
        ready = _ready(picture, wish.renderer) if picture else None
        return Exhibit(order, planned, ready, across, down, label, pixels_fault, label_fault)

    def _picture(self, order: Order, planned: Plan) -> tuple[Image.Image | None, str]:
        if order.wish.renderer == "off":
            return None, ""
        try:
            sheet = self._sheet_of(order.wish, planned)
            return compose(planned, sheet, order.room, order.ground, order.accent), ""
        except Unreadable as fault:
            return None, str(fault)

    def _sheet_of(self, wish: Wish, planned: Plan) -> Sheet:
        wanted = (wish.root / wish.preview.path, wish.preview, planned.rows.start, planned.rows.stop)
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


def _label(wish: Wish) -> tuple[list[float], str]:
    place, classes = wish.place, len(wish.names) or None
    try:
        return read_label(wish.root / wish.preview.labels, wish.preview, place.row, place.image, classes), ""
    except Unreadable as fault:
        return [], str(fault)
