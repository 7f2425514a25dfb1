"""Shows synthetic images beside their soft label: files are read and pictures rendered in a thread, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.control import Control
from rich.segment import ControlType, Segment
from rich.style import Style
from textual import events, work
from textual.app import ComposeResult
from textual.color import Color
from textual.containers import Container, Horizontal
from textual.content import Content
from textual.filter import ANSIToTruecolor, LineFilter
from textual.geometry import Region
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static

from ltdd_tui.formatting import clean
from ltdd_tui.screens.run.images.renderer import (
    Drawn,
    ImageRenderer,
    RenderedImages,
    RenderJob,
    RenderRequest,
    TileLayout,
)
from ltdd_tui.screens.run.images.terminal_graphics import Renderer, area_of
from ltdd_tui.widgets.bars import bar
from ltdd_tui.widgets.lines import ACCENT, EMPTY, MUTED, STRONG, WARNING, LinesView, fit, group_style, wrapped

LABEL_NAME_CELLS, PERCENT_CELLS, SHORTEST_BAR = 11, 5, 3
SMALLEST = 0.005
LABEL_CELLS, NAME_CELLS = 24, 12
SMALLEST_WIDE, SMALLEST_HIGH, SMALLEST_BARS = 56, 9, 3
NOTHING = "no preview yet"
OFF = "images are off (i shows them)"


# ------------------------------------------------------------------------------------------------------------------
# What stands beside the pictures: the soft label of one as bars or in words, and the names of classes
# ------------------------------------------------------------------------------------------------------------------


def label_lines(
    label: Sequence[float], names: Sequence[str], groups: Sequence[str], own: int, width: int, lines: int
) -> list[Content]:
    """A bar for each of the likeliest classes, in the color of its group, and what is left for all others.

    `own` is the class that the image stands for.
    """
    shown = [place for place in _likeliest(label) if label[place] >= SMALLEST]
    if len(shown) < len(label) or len(shown) > lines:
        shown = shown[: max(lines - 1, 0)]
    name = min(LABEL_NAME_CELLS, max(width - PERCENT_CELLS - SHORTEST_BAR - 1, 1))
    cells = max(width - name - 1 - PERCENT_CELLS, 0)

    def line(text: str, share: float, name_style: str, bar_style: str) -> Content:
        percent = fit(f"{share:.0%}", PERCENT_CELLS, right=True)
        return Content.assemble(
            (fit(text, name) + " ", name_style), (bar(share, 1.0, cells).ljust(cells), bar_style), percent
        )

    rows = []
    for place in shown:
        bar_style = group_style(groups[place]) if groups else ACCENT
        rows.append(line(names[place], label[place], STRONG if place == own else "", bar_style))
    if len(shown) < len(label):
        rest = max(1.0 - sum(label[place] for place in shown), 0.0)
        rows.append(line(f"{len(label) - len(shown)} others", rest, MUTED, MUTED))
    return rows


def label_words(title: str, label: Sequence[float], names: Sequence[str], width: int) -> Content:
    """The likeliest classes in one line, as many as fit."""
    line = Content.styled(title, MUTED)
    for place in _likeliest(label):
        longer = line.append(f"  {clean(names[place])} {label[place]:.0%}")
        if longer.cell_length > width or label[place] < SMALLEST:
            break
        line = longer
    return line.truncate(width, ellipsis=True)


def name_lines(layout: TileLayout, names: Sequence[str], width: int) -> list[Content]:
    """The names of the classes in sight, each beside the middle of its images."""
    pitch = layout.tiles.pitch_down
    lines: list[Content] = []
    for row in layout.rows:
        block = [EMPTY] * pitch
        block[(pitch - 1) // 2] = Content.styled(
            fit(names[row], width), ACCENT if row == layout.selection.row else MUTED
        )
        lines += block
    return lines


def _likeliest(label: Sequence[float]) -> list[int]:
    """The classes, the likeliest first; of equal ones the first."""
    return sorted(range(len(label)), key=lambda place: -label[place])


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


class ImagesView(Container):
    """Pictures, with the names of their classes where there are several, and the soft label of the framed one.

    In a narrow one the label is below. While it is not on the screen it keeps no pictures.
    """

    @dataclass
    class Clicked(Message):
        """Somebody clicked on an image: its class and its number there."""

        row: int
        image: int

    DEFAULT_CSS = """
    ImagesView {
        height: 1fr;
        layout: horizontal;
        & > Horizontal { width: auto; height: 1fr; }
        & .names { width: 12; height: 1fr; padding-right: 1; }
        & .note { width: 100%; height: 1fr; content-align: center middle; color: $text-muted; }
        & .label { width: 1fr; max-width: 50; height: 1fr; padding-left: 2; }
        &.-below { layout: vertical; }
        &.-below > Horizontal, &.-bare > Horizontal { width: 1fr; }
        &.-below .label { max-width: 100%; height: 1; padding-left: 0; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._request: RenderRequest | None = None
        self._renderer = ImageRenderer()
        self._seen, self._working = False, False
        self._job: RenderJob | None = None
        self._shown: RenderedImages | None = None
        self._names, self._note = LinesView(classes="names -fixed"), Static(NOTHING, classes="note")
        self._frame, self._label = PictureFrame(), LinesView(classes="label -fixed")

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield self._names
            yield self._frame
            yield self._note
        yield self._label

    def on_mount(self) -> None:
        self._clear()
        self.watch(self.app, "theme", self._update, init=False)

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
        self.set_class(self.size.width < SMALLEST_WIDE or self.size.height < SMALLEST_HIGH, "-below")
        self._update()

    def on_click(self, event: events.Click) -> None:
        x, y = event.screen_offset - self._frame.region.offset
        if self._shown and (image := self._shown.layout.image_at(x, y)):
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
        if self.has_class("-below"):
            down -= 1
        else:
            across -= LABEL_CELLS
        across -= NAME_CELLS if request.selection.shows == "all" else 0
        cells = area_of(request.renderer, max(across, 1), max(down, 1))
        accent = Color.parse(self.app.theme_variables["accent"])
        return RenderJob(request, cells, self.background_colors[1].rgb, accent.rgb)

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
        self._frame.clear()
        if not self._working:
            self._renderer.forget()
        self._names.display = self._label.display = False
        self._say(NOTHING)

    def _say(self, note: str) -> None:
        self._note.display = bool(note)
        self.set_class(bool(note), "-bare")
        if note:
            self._note.update(Content(note))

    def _put(self, rendered: RenderedImages) -> None:
        self._shown = rendered
        request, picture = rendered.job.request, rendered.picture
        if picture is None:
            self._frame.clear()
        else:
            self._frame.put(request.renderer, picture, *rendered.layout.tiles.cells)
        self._say("" if picture else rendered.pixels_fault or OFF)
        self._names.display = bool(picture) and request.selection.shows == "all"
        self._names.draw(lambda width: name_lines(rendered.layout, request.names_of(request.preview.rows), width))
        self._label.display = True
        self._label.draw(lambda width: self._beside(rendered, width))

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
