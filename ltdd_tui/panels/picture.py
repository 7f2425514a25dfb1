"""A frame for one picture, drawn with whatever the terminal can show."""

from __future__ import annotations

from collections.abc import Sequence

from rich.control import Control
from rich.segment import ControlType, Segment
from rich.style import Style
from textual.containers import Container
from textual.filter import ANSIToTruecolor, LineFilter
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from ltdd_tui.exhibit import Drawn
from ltdd_tui.pictures import Renderer


class PictureFrame(Container):
    """Shows one picture at a time, and lets it go when it is cleared."""

    DEFAULT_CSS = """
    PictureFrame { width: auto; height: auto; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._renderer: Renderer = "off"
        self._widget: Widget | None = None

    def put(self, renderer: Renderer, picture: Drawn, across: int, down: int) -> None:
        """Shows a picture that takes `across` x `down` cells."""
        if self._widget is None or renderer != self._renderer:
            self.clear()
            self._renderer, self._widget = renderer, _widget(renderer)
            self.mount(self._widget)
        self._widget.styles.width, self._widget.styles.height = across, down
        self._widget.image = picture  # type: ignore[attr-defined]

    def clear(self) -> None:
        """Shows nothing; the terminal and this process let the picture go."""
        if self._widget is not None:
            self._widget.image = None  # type: ignore[attr-defined]
            self._widget.remove()
            self._widget = None


class HalfcellPicture(Widget):
    """Lines that were made elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[Strip] = []

    @property
    def image(self) -> list[Strip] | None:
        """The lines, None for nothing; named as in the widgets of the library."""
        return self._lines or None

    @image.setter
    def image(self, lines: list[Strip] | None) -> None:
        self._lines = lines or []
        # Almost every cell has colors of its own, and the library keeps the codes of the last 16,384: 15 MB of pictures
        # that are gone. Styles in use have theirs with them.
        Strip.render_ansi.cache_clear()
        self.refresh()

    def get_line_filters(self) -> Sequence[LineFilter]:
        """All but the slowest: the one that looks for colors of the terminal's palette, of which a picture has none."""
        return [found for found in super().get_line_filters() if not isinstance(found, ANSIToTruecolor)]

    def render_line(self, y: int) -> Strip:
        """One of the lines."""
        return self._lines[y] if y < len(self._lines) else Strip.blank(self.size.width, self.rich_style)


class SixelPicture(Widget):
    """A control sequence that was made elsewhere, sent when all of its place is in sight."""

    def __init__(self) -> None:
        super().__init__()
        self._sixels = ""

    @property
    def image(self) -> str | None:
        """The control sequence, None for nothing; named as in the widgets of the library."""
        return self._sixels or None

    @image.setter
    def image(self, sequence: str | None) -> None:
        self._sixels = sequence or ""
        self.refresh()

    def render_lines(self, crop: Region) -> list[Strip]:
        """In each line the cursor goes over the picture's cells, which text would cover; the last one sends it."""
        # Below a dialog cells take other colors, which a picture cannot; and where it has no place yet, it has to wait.
        if not self._sixels or not self._has_its_place(crop) or not self.screen.is_active:
            return [Strip.blank(crop.width, self.rich_style)] * crop.height
        place = self.screen.find_widget(self).visible_region
        ways = [_control(Control.move_to(place.right, y).segment.text) for y in range(place.y, place.bottom)]
        picture = [_control(Control.move_to(place.x, place.y).segment.text), _control(self._sixels)]
        return [*(Strip([way], crop.width) for way in ways[:-1]), Strip([*picture, ways[-1]], crop.width)]

    def _has_its_place(self, crop: Region) -> bool:
        wanted = [side.cells if side else None for side in (self.styles.width, self.styles.height)]
        return [*self.size] == wanted and crop.size == self.size


def _control(sequence: str) -> Segment:
    """As a control it takes no cell, and nobody looks for colors in it."""
    return Segment(sequence, Style.null(), ((ControlType.CURSOR_FORWARD, 0),))


def _widget(renderer: Renderer) -> Widget:
    match renderer:
        case "kitty":
            # Imported before the app took over the screen, or this renderer would not have been chosen.
            from textual_image.widget import TGPImage

            return TGPImage()
        case "sixel":
            return SixelPicture()
        case _:
            return HalfcellPicture()
