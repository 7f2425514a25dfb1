"""Shows synthetic images beside their soft label: files are read and pictures rendered in a thread, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from rich.cells import cell_len
from rich.control import Control
from rich.segment import ControlType, Segment
from rich.style import Style
from textual import events, work
from textual.app import ComposeResult
from textual.color import Color
from textual.containers import Container, Horizontal, Vertical
from textual.content import Content
from textual.filter import ANSIToTruecolor, LineFilter
from textual.geometry import Region
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static

from ltdd_tui.formatting import clean
from ltdd_tui.screens.run.images.labels import label_lines, label_words, name_lines
from ltdd_tui.screens.run.images.renderer import (
    MOST_BANDS,
    Drawn,
    ImageRenderer,
    RenderedImages,
    RenderJob,
    RenderRequest,
)
from ltdd_tui.screens.run.images.terminal_graphics import CellArea, Renderer, area_of
from ltdd_tui.widgets.lines import MUTED, WARNING, LinesView, wrapped

LABEL_CELLS, NAME_CELLS = 24, 12
SMALLEST_WIDE, SMALLEST_HIGH, SMALLEST_BARS = 56, 9, 3
LABEL_ROWS, LABEL_GAP, MUCH_LARGER = 12, 2, 2
OFF = "images are off (i shows them)"


# ------------------------------------------------------------------------------------------------------------------
# A frame for one picture, drawn with whatever the terminal can show
# ------------------------------------------------------------------------------------------------------------------


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
            if renderer == "kitty":
                # Imported before the app took over the screen, or this renderer would not have been chosen.
                from textual_image.widget import TGPImage

                self._widget = TGPImage()
            else:
                self._widget = SixelPicture() if renderer == "sixel" else HalfcellPicture()
            self._renderer = renderer
            self.mount(self._widget)
        self._widget.styles.width, self._widget.styles.height = across, down
        self._widget.image = picture  # type: ignore[attr-defined]

    def clear(self) -> None:
        """Shows nothing; the terminal and this process let the picture go."""
        if self._widget is not None:
            self._widget.image = None  # type: ignore[attr-defined]
            self._widget.remove()
            self._widget = None


class UncachedStrip(Strip):
    """A strip that `divide` does not store in its own cache where it is left whole.

    Textual 8 does, and only a full garbage collection frees such a circle: for pictures, 70 ms every few changes.
    """

    def divide(self, cuts: Iterable[int]) -> Sequence[Strip]:
        cuts = [*cuts]
        return [self] if cuts == [self.cell_length] else super().divide(cuts)


class HalfcellPicture(Widget):
    """Lines that were made elsewhere; `image` is named as in the widgets of the library."""

    image: reactive[list[Strip] | None] = reactive(None, always_update=True)

    def watch_image(self) -> None:
        # Almost every cell has colors of its own, and the library keeps the codes of the last 16,384: 15 MB of pictures
        # that are gone. Styles in use have theirs with them.
        Strip.render_ansi.cache_clear()

    def get_line_filters(self) -> Sequence[LineFilter]:
        # The slowest one looks for colors of the terminal's palette, of which a picture has none.
        return [each for each in super().get_line_filters() if not isinstance(each, ANSIToTruecolor)]

    def render_lines(self, crop: Region) -> list[Strip]:
        return [UncachedStrip(strip, strip.cell_length) for strip in super().render_lines(crop)]

    def render_line(self, y: int) -> Strip:
        return self.image[y] if self.image and y < len(self.image) else Strip.blank(self.size.width, self.rich_style)


class SixelPicture(Widget):
    """A control sequence that was made elsewhere, sent when all of its place is in sight."""

    image: reactive[str | None] = reactive(None, always_update=True)

    def render_lines(self, crop: Region) -> list[Strip]:
        sides = [side.cells if side else None for side in (self.styles.width, self.styles.height)]
        has_its_place = [*self.size] == sides and crop.size == self.size
        # Below a dialog cells take other colors, which a picture cannot; and where it has no place yet, it has to wait.
        if not self.image or not has_its_place or not self.screen.is_active:
            return [Strip.blank(crop.width, self.rich_style)] * crop.height
        # In each line the cursor moves over the picture's cells, which text would cover; the last line sends it.
        place = self.screen.find_widget(self).visible_region
        moves = [_control(Control.move_to(place.right, y).segment.text) for y in range(place.y, place.bottom)]
        picture = [_control(Control.move_to(place.x, place.y).segment.text), _control(self.image)]
        return [*(Strip([move], crop.width) for move in moves[:-1]), Strip([*picture, moves[-1]], crop.width)]


def _control(sequence: str) -> Segment:
    """As a control it takes no cell, and nobody looks for colors in it."""
    return Segment(sequence, Style.null(), ((ControlType.CURSOR_FORWARD, 0),))


class Band(Horizontal):
    """One picture, with the names of its classes before it where there are several."""

    DEFAULT_CSS = """
    Band {
        width: auto; height: 1fr;
        & > .names { height: 1fr; padding-right: 1; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self.names, self.frame = LinesView(classes="names -fixed"), PictureFrame()

    def compose(self) -> ComposeResult:
        yield self.names
        yield self.frame

    def put(self, rendered: RenderedImages, place: int) -> None:
        """Shows the picture at that place."""
        job, layout = rendered.job, rendered.layout
        self.frame.put(job.request.renderer, rendered.pictures[place], *layout.tiles.cells)
        self.names.display = job.name_cells > 0
        self.names.styles.width = job.name_cells
        names = job.request.names_of(job.request.preview.rows)
        self.names.draw(lambda width: name_lines(layout, place, names, width))


class ImagesView(Container):
    """Pictures, with the names of their classes where there are several, and the soft label of the framed one.

    Where the pictures leave much room, the framed one is there once more, large; in a narrow view the label is below.
    While it is not on the screen it keeps no pictures.
    """

    @dataclass
    class Clicked(Message):
        """Somebody clicked on an image: its class and its number there."""

        row: int
        image: int

    @dataclass
    class Shown(Message):
        """Other images are in sight."""

        rendered: RenderedImages

    DEFAULT_CSS = """
    ImagesView {
        height: 1fr;
        layout: horizontal;
        & > Horizontal { width: auto; height: 1fr; }
        & .note { width: 100%; height: 1fr; content-align: center middle; color: $text-muted; }
        & > .beside { width: 1fr; height: 1fr; padding-left: 2; }
        & .label { max-width: 64; height: 1fr; }
        &.-below { layout: vertical; }
        &.-below > Horizontal, &.-bare > Horizontal { width: 1fr; }
        &.-below > .beside { height: 1; padding-left: 0; }
        &.-below .label { max-width: 100%; }
    }
    """

    NOTHING: ClassVar[str] = "no preview yet"

    def __init__(self) -> None:
        super().__init__()
        self._request: RenderRequest | None = None
        self._renderer = ImageRenderer()
        self._seen, self._working = False, False
        self._job: RenderJob | None = None
        self._shown: RenderedImages | None = None
        self._bands, self._note = [Band() for _ in range(MOST_BANDS)], Static(self.NOTHING, classes="note")
        self._large, self._label = PictureFrame(), LinesView(classes="label -fixed")

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield from self._bands
            yield self._note
        with Vertical(classes="beside"):
            yield self._large
            yield self._label

    def on_mount(self) -> None:
        self._clear()
        self.app.theme_changed_signal.subscribe(self, lambda _: self._update())

    def on_unmount(self) -> None:
        self.app.theme_changed_signal.unsubscribe(self)

    def request(self, request: RenderRequest | None) -> None:
        """Shows this as soon as it is made; what is under way is finished first, what came in between is left out."""
        self._request = request
        self._update()

    def on_show(self) -> None:
        self._seen = True
        self._update()

    def on_hide(self) -> None:
        # Lets pictures and pixels go.
        self._seen = False
        self._update()

    def on_resize(self) -> None:
        self._update()

    def on_click(self, event: events.Click) -> None:
        for place, band in enumerate(self._bands):
            x, y = event.screen_offset - band.frame.region.offset
            if self._shown and band.display and (image := self._shown.layout.image_at(x, y, place)):
                self.post_message(self.Clicked(*image))

    def _update(self) -> None:
        job = self._job_for(self._request) if self._request and self._seen and self.size.area else None
        if job == self._job:
            return
        self._job = job
        if job is None:
            self._clear()
        elif not self._working:
            # Set here and not in the task, which starts later: two tasks must not use one renderer.
            self._working = True
            self._work()

    def _job_for(self, request: RenderRequest) -> RenderJob:
        across, down = self.size
        names = 0
        if request.selection.shows == "all":
            longest = max(cell_len(clean(name)) for name in request.names_of(request.preview.rows))
            names = min(NAME_CELLS, longest + 1, across // 3)
        below = area_of(request.renderer, max(across, 1), max(down - 1, 1))
        beside = area_of(request.renderer, max(across - LABEL_CELLS, 1), max(down, 1))
        # The label gives way where more classes are in sight without it.
        is_below = across < SMALLEST_WIDE or down < SMALLEST_HIGH
        is_below = is_below or len(request.lay_out(below, names).rows) > len(request.lay_out(beside, names).rows)
        self.set_class(is_below, "-below")
        area = below if is_below else beside
        ground, accent = self.background_colors[1].rgb, Color.parse(self.app.theme_variables["accent"]).rgb
        job = RenderJob(request, area, names, ground, accent)
        return job if is_below else replace(job, large=self._room_for_large(job))

    def _room_for_large(self, job: RenderJob) -> CellArea | None:
        """Where the framed image can be shown large beside the others, above its label."""
        layout = job.request.lay_out(job.area, job.name_cells)
        across = self.size.width - layout.bands * (job.name_cells + layout.tiles.cells[0]) - LABEL_GAP
        room = replace(job.area, across=max(1, across), down=max(1, self.size.height - LABEL_ROWS))
        alone = replace(job.request, selection=replace(job.request.selection, shows="one")).lay_out(room, 0).tiles
        return room if alone.side >= MUCH_LARGER * layout.tiles.side else None

    @work
    async def _work(self) -> None:
        try:
            while self._job and (self._shown is None or self._shown.job != self._job):
                rendered = await asyncio.to_thread(self._renderer.build, self._job)
                if self._job:
                    self._put(rendered)
        finally:
            self._working = False
            if self._job is None:
                self._renderer.forget()

    def _clear(self) -> None:
        self._shown = None
        self._show_bands(None)
        if not self._working:
            self._renderer.forget()
        self._large.clear()
        self._label.display = False
        self._say(self.NOTHING)

    def _show_bands(self, rendered: RenderedImages | None) -> None:
        for place, band in enumerate(self._bands):
            band.display = rendered is not None and place < len(rendered.pictures)
            if rendered is not None and band.display:
                band.put(rendered, place)
            else:
                band.frame.clear()

    def _say(self, note: str) -> None:
        self._note.display = bool(note)
        self.set_class(bool(note), "-bare")
        if note:
            self._note.update(Content(note))

    def _put(self, rendered: RenderedImages) -> None:
        self._shown = rendered
        self._show_bands(rendered)
        if rendered.large is None:
            self._large.clear()
        else:
            self._large.put(rendered.job.request.renderer, *rendered.large)
        self._say("" if rendered.pictures else rendered.pixels_fault or OFF)
        self._label.display = True
        self._label.draw(lambda width: self._beside(rendered, width))
        self.post_message(self.Shown(rendered))

    def _beside(self, rendered: RenderedImages, width: int) -> list[Content]:
        """The label of the framed image, or what is wrong with it."""
        request, label, height = rendered.job.request, rendered.label, self._label.size.height
        if fault := rendered.label_fault:
            return wrapped(fault, width, WARNING) if height > 1 else [Content.styled(fault, WARNING)]
        names = request.names_of(len(label))
        if height < SMALLEST_BARS:
            return [label_words(request.title, label, names, width)]
        title = Content.styled(request.title, MUTED)
        return [title, *label_lines(label, names, request.groups, request.selection.row, width, height - 1)]
