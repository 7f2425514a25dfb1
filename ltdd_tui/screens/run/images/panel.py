"""The synthetic images at an iteration: one class, all classes or one image large, with its soft label."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message

from engine.run.events import DataReady, Preview
from ltdd_tui.formatting import clean
from ltdd_tui.preferences import ImageMode, Preferences
from ltdd_tui.runs.state import RunView
from ltdd_tui.screens.run.images.renderer import Place, RenderRequest, usable
from ltdd_tui.screens.run.images.terminal_graphics import next_mode, renderer_of
from ltdd_tui.screens.run.images.view import ImagesView
from ltdd_tui.screens.run.panel import Panel

NOTHING = "no preview yet"
CLASS, ITERATION = Binding.Group("Class", compact=True), Binding.Group("Iteration", compact=True)


class ImagesPanel(Panel):
    """The synthetic images with their soft labels; keys say what is looked at."""

    NAME = "images"
    NUMBER = "4"
    TITLE = "Synthetic images"
    HELP: ClassVar[str] = """\
## Synthetic images

What the run has made of the images so far: those of one class, of all classes (a line each), or one image large.
Beside them the soft label of the framed image, its likeliest classes first; the class that the image stands for has a
color of its own. The newest saved iteration is followed unless an older one was asked for.

| key | |
|---|---|
| `[` `]`, up, down, wheel | class |
| left, right, or a click | image |
| `,` `.` | older, newer iteration |
| `e`, enter | one class, all classes, one image |
| `i` | how pictures are drawn: auto, kitty, sixel, halfcell, off; where `auto` shows boxes, take `halfcell` |
"""

    class Preferred(Message):
        """Somebody wants images drawn in this way."""

        def __init__(self, mode: ImageMode) -> None:
            super().__init__()
            self.mode = mode

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left_square_bracket,up", "move(-1, 0)", "Class before", group=CLASS, id="images.previous_class"),
        Binding("right_square_bracket,down", "move(1, 0)", "Next class", group=CLASS, id="images.next_class"),
        Binding("left", "move(0, -1)", "Image before", show=False, id="images.previous"),
        Binding("right", "move(0, 1)", "Next image", show=False, id="images.next"),
        Binding("comma", "step(-1)", "Older iteration", group=ITERATION, id="images.older"),
        Binding("full_stop", "step(1)", "Newer iteration", group=ITERATION, id="images.newer"),
        Binding("e,enter", "cycle", "View", tooltip="One class, all classes, one image", id="images.cycle"),
        Binding("i", "cycle_renderer", "How images are drawn", show=False, id="images.renderer"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._place = Place()
        self._view: RunView | None = None
        self._mode: ImageMode = "auto"
        self._images_view = ImagesView(NOTHING)

    def compose(self) -> ComposeResult:
        """The pictures and their labels, drawn as preferred."""
        self._images_view = ImagesView(NOTHING)
        self.draw_as(getattr(self.app, "preferences", Preferences()).images)
        yield self._images_view

    def draw_as(self, mode: ImageMode) -> None:
        """Draws pictures in this way from now on."""
        self._mode = mode
        self._look_at(self._place)

    def show(self, view: RunView) -> None:
        """Draws what is looked at of `view`."""
        self._view = view
        if self.changed(view.state.previews, view.state.data):
            self._look_at(self._place)

    def on_images_view_clicked(self, event: ImagesView.Clicked) -> None:
        """Selects the image under the mouse."""
        self._look_at(replace(self._place, row=event.row, image=event.image))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The next class."""
        event.stop()
        self.action_move(1, 0)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The class before."""
        event.stop()
        self.action_move(-1, 0)

    def action_move(self, rows: int, images: int) -> None:
        """Selects an image as many classes and images on."""
        if preview := self._preview():
            self._look_at(self._place.within(preview).moved(rows, images, preview))

    def action_step(self, steps: int) -> None:
        """Goes to an older or newer iteration."""
        self._look_at(self._place.stepped(steps, self._saved()))

    def action_cycle(self) -> None:
        """Shows one class, all classes or one image."""
        self._look_at(self._place.next_mode())

    def action_cycle_renderer(self) -> None:
        """Draws pictures another way, and says which."""
        self.draw_as(next_mode(self._mode))
        self.post_message(self.Preferred(self._mode))
        drawn_as = renderer_of(self._mode, self.app)
        self.notify(f"images: {self._mode}" + (f" ({drawn_as})" if drawn_as != self._mode else ""), timeout=3)

    def _look_at(self, place: Place) -> None:
        self._place = place
        preview = self._preview()
        if preview is None or self._view is None:
            self._images_view.request(None)
            self.entitle(Content(f"{self.NUMBER} {self.TITLE}"), Content())
            return
        data = self._view.state.data
        names = tuple(data.class_names) if data else ()
        groups = tuple(data.groups) if data and len(data.groups) == len(names) else ()
        place = replace(place.within(preview), iteration=None)
        renderer = renderer_of(self._mode, self.app)
        request = RenderRequest(self._view.folder.root, preview, place, names, groups, renderer)
        self._images_view.request(request)
        self._entitle(request, data)

    def _entitle(self, request: RenderRequest, data: DataReady | None) -> None:
        """Says what is seen, and whether it is the newest."""
        place, preview, saved = request.place, request.preview, self._saved()
        what = "all classes" if place.shows == "all" else clean(request.names_of(preview.rows)[place.row])
        if place.shows != "all" and data and place.row < len(data.class_counts):
            what += f" ({data.class_counts[place.row]:,} real images)"
        behind = len(saved) - 1 - saved.index(preview.iteration)
        age = (f"{behind} before newest", "$accent") if behind else "newest"
        where = f"image {place.image + 1}/{preview.columns}, iteration {preview.iteration:,}, "
        self.entitle(Content(f"{self.NUMBER} {self.TITLE}: {what}"), Content.assemble(where, age))

    def _saved(self) -> list[int]:
        return usable(self._view.state.previews) if self._view else []

    def _preview(self) -> Preview | None:
        at = self._place.at(self._saved())
        return self._view.state.previews[at] if self._view and at is not None else None
