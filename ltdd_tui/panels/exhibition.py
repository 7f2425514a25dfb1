"""Shows synthetic images as they are wished for: files are read and pictures made in a thread, one at a time."""

from __future__ import annotations

import asyncio

from textual import events, work
from textual.app import ComposeResult
from textual.color import Color
from textual.containers import Container, Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from ltdd_tui.drawing.lines import Line, Span, cut, wrapped
from ltdd_tui.drawing.picture_lines import label_lines, label_words, name_lines
from ltdd_tui.exhibit import Exhibit, Order, Studio, Wish
from ltdd_tui.panels.picture import PictureFrame
from ltdd_tui.panels.rows import Rows
from ltdd_tui.pictures import room

LABEL_CELLS, NAME_CELLS = 24, 12
SMALLEST_WIDE, SMALLEST_HIGH, SMALLEST_BARS = 56, 9, 3
OFF = "images are off (i shows them)"


class Exhibition(Container):
    """Pictures, with the names of their classes where there are several, and the soft label of the framed one.

    In a narrow one the label is below. While it is not on the screen it keeps no pictures.
    """

    class Clicked(Message):
        """Somebody clicked on an image: its class and its number there."""

        def __init__(self, row: int, image: int) -> None:
            super().__init__()
            self.row, self.image = row, image

    DEFAULT_CSS = """
    Exhibition {
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

    def __init__(self, empty: str) -> None:
        super().__init__()
        self._empty = empty
        self._wish: Wish | None = None
        self._studio = Studio()
        self._seen, self._working = False, False
        self._ordered: Order | None = None
        self._shown: Exhibit | None = None
        self._names, self._note = Rows(classes="names -fixed"), Static(empty, classes="note")
        self._frame, self._label = PictureFrame(), Rows(classes="label -fixed")

    def compose(self) -> ComposeResult:
        """Names, picture or note, label."""
        with Horizontal():
            yield self._names
            yield self._frame
            yield self._note
        yield self._label

    def on_mount(self) -> None:
        """Draws in the colors of the theme, whenever it changes."""
        self._clear()
        self.watch(self.app, "theme", self._order, init=False)

    def wish(self, wish: Wish | None) -> None:
        """Shows this as soon as it is made; what is under way is finished first, what came in between is left out."""
        self._wish = wish
        self._order()

    def on_show(self) -> None:
        """Makes again what was let go."""
        self._seen = True
        self._order()

    def on_hide(self) -> None:
        """Lets pictures and pixels go."""
        self._seen = False
        self._order()

    def on_resize(self) -> None:
        """Makes it for the new size."""
        self.set_class(self.size.width < SMALLEST_WIDE or self.size.height < SMALLEST_HIGH, "-below")
        self._order()

    def on_click(self, event: events.Click) -> None:
        """Says which image was meant."""
        x, y = event.screen_offset - self._frame.region.offset
        if self._shown and (found := self._shown.plan.image_at(x, y)):
            self.post_message(self.Clicked(*found))

    def _order(self) -> None:
        order = self._order_for(self._wish) if self._wish and self._seen and self.size.area else None
        if order == self._ordered:
            return
        self._ordered = order
        if order is None:
            self._clear()
        elif not self._working:
            # Here and not in the task, which starts later: two at once would build in one place.
            self._working = True
            self._work()

    def _order_for(self, wish: Wish) -> Order:
        across, down = self.size
        if self.has_class("-below"):
            down -= 1
        else:
            across -= LABEL_CELLS
        across -= NAME_CELLS if wish.place.shows == "all" else 0
        cells = room(wish.renderer, max(across, 1), max(down, 1))
        accent = Color.parse(self.app.theme_variables["accent"])
        return Order(wish, cells, self.background_colors[1].rgb, accent.rgb)

    @work
    async def _work(self) -> None:
        try:
            while self._ordered and (self._shown is None or self._shown.order != self._ordered):
                exhibit = await asyncio.to_thread(self._studio.build, self._ordered)
                if self._ordered:
                    self._put(exhibit)
        finally:
            self._working = False
            if self._ordered is None:
                self._studio.forget()

    def _clear(self) -> None:
        self._shown = None
        self._frame.clear()
        if not self._working:
            self._studio.forget()
        self._names.display = self._label.display = False
        self._say(self._empty)

    def _say(self, note: str) -> None:
        self._note.display = bool(note)
        self.set_class(bool(note), "-bare")
        if note:
            self._note.update(Content(note))

    def _put(self, exhibit: Exhibit) -> None:
        self._shown = exhibit
        wish, picture = exhibit.order.wish, exhibit.picture
        if picture is None:
            self._frame.clear()
        else:
            self._frame.put(wish.renderer, picture, exhibit.across, exhibit.down)
        self._say("" if picture else exhibit.pixels_fault or OFF)
        self._names.display = bool(picture) and wish.place.shows == "all"
        self._names.draw(lambda width: name_lines(exhibit.plan, wish.names_of(wish.preview.rows), width))
        self._label.display = True
        self._label.draw(lambda width: self._beside(exhibit, width))

    def _beside(self, exhibit: Exhibit, width: int) -> list[Line]:
        """The label of the framed image, or what is wrong with it."""
        wish, label, height = exhibit.order.wish, exhibit.label, self._label.size.height
        if fault := exhibit.label_fault:
            return wrapped(fault, width, "warning") if height > 1 else [cut((Span(fault, "warning"),), width)]
        names = wish.names_of(len(label))
        if height < SMALLEST_BARS:
            return [label_words(wish.title, label, names, width)]
        title = (Span(wish.title, "muted"),)
        return [title, *label_lines(label, names, wish.groups, wish.place.row, width, height - 1)]
