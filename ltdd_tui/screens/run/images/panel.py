"""The synthetic images at an iteration: all classes, one class or one image large, with its soft label."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message

from engine.run.events import Preview
from ltdd_tui.formatting import clean
from ltdd_tui.preferences import ImageMode
from ltdd_tui.runs.state import RunView
from ltdd_tui.screens.panel import Panel
from ltdd_tui.screens.run.images.renderer import ImageSelection, RenderedImages, RenderRequest, valid_previews
from ltdd_tui.screens.run.images.terminal_graphics import Renderer, next_mode, renderer_of
from ltdd_tui.screens.run.images.view import ImagesView

CLASS, ITERATION = Binding.Group("Class", compact=True), Binding.Group("Iteration", compact=True)
SELECTION_BINDINGS = [
    Binding("left_square_bracket,up", "move(-1, 0)", "Class before", group=CLASS, id="images.previous_class"),
    Binding("right_square_bracket,down", "move(1, 0)", "Next class", group=CLASS, id="images.next_class"),
    Binding("left", "move(0, -1)", "Image before", show=False, id="images.previous"),
    Binding("right", "move(0, 1)", "Next image", show=False, id="images.next"),
]
"""Keys that move the framed image, here and in the comparison."""


def request_of(
    view: RunView, preview: Preview, selection: ImageSelection, renderer: Renderer, since: Preview | None = None
) -> RenderRequest:
    """What is to be drawn of a run's preview, with what the run says of its classes."""
    data = view.state.data
    names = tuple(data.class_names) if data else ()
    groups = tuple(data.groups) if data and len(data.groups) == len(names) else ()
    return RenderRequest(view.folder.root, preview, selection, names, groups, renderer, since)


class ImagesPanel(Panel):
    """The synthetic images of all classes, of one, or one large, each with its soft label."""

    NAME = "images"
    NUMBER = "4"
    TITLE = "Synthetic images"
    HELP: ClassVar[str] = """\
## Synthetic images

What the run has made of the images so far: those of all classes (a line each, a page at a time where there are many),
of one class, or one image large. With them the soft label of the framed image, its likeliest classes first; the class
that the image stands for is bold. The newest saved iteration is followed unless an older one was asked for.

`c` shows how the images have changed since the start instead: gray is no change, and differences are amplified by the
factor in the border.

| key | |
|---|---|
| `[` `]`, up, down, wheel | class |
| page up, page down | a page of classes |
| left, right, or a click | image |
| `,` `.` | older, newer iteration |
| `e`, enter | all classes, one class, one image |
| `c` | the images, or their change since the start |
| `i` | how pictures are drawn: auto, kitty, sixel, halfcell, off; where `auto` shows boxes, take `halfcell` |
"""

    @dataclass
    class Preferred(Message):
        """The way to draw images was changed, and is to be remembered."""

        mode: ImageMode

    BINDINGS: ClassVar[list[BindingType]] = [
        *SELECTION_BINDINGS,
        Binding("pageup", "page(-1)", "Page of classes before", show=False, id="images.previous_page"),
        Binding("pagedown", "page(1)", "Next page of classes", show=False, id="images.next_page"),
        Binding("comma", "step(-1)", "Older iteration", group=ITERATION, id="images.older"),
        Binding("full_stop", "step(1)", "Newer iteration", group=ITERATION, id="images.newer"),
        Binding("e,enter", "cycle", "View", tooltip="All classes, one class, one image", id="images.cycle"),
        Binding("c", "toggle_change", "Change", tooltip="Since the start, or the images", id="images.change"),
        Binding("i", "cycle_renderer", "How images are drawn", show=False, id="images.renderer"),
    ]

    def __init__(self, mode: ImageMode = "auto") -> None:
        super().__init__()
        self._selection = ImageSelection()
        self._view: RunView | None = None
        self._mode = mode
        self._shows_change = False
        self._images_view = ImagesView()
        self._rendered: RenderedImages | None = None

    def compose(self) -> ComposeResult:
        yield self._images_view

    def draw_as(self, mode: ImageMode) -> None:
        """Draws pictures in this way from now on."""
        self._mode = mode
        self._look_at(self._selection)

    def show(self, view: RunView) -> None:
        self._view = view
        if self.changed(view.state.previews, view.state.data):
            self._look_at(self._selection)

    def on_images_view_clicked(self, event: ImagesView.Clicked) -> None:
        self._look_at(replace(self._selection, row=event.row, image=event.image))

    def on_images_view_shown(self, event: ImagesView.Shown) -> None:
        self._rendered = event.rendered
        self._entitle(event.rendered.job.request)

    @on(events.MouseScrollDown)
    @on(events.MouseScrollUp)
    def _move_by_wheel(self, event: events.MouseScrollDown | events.MouseScrollUp) -> None:
        event.stop()
        self.action_move(1 if isinstance(event, events.MouseScrollDown) else -1, 0)

    def action_move(self, rows: int, images: int) -> None:
        if preview := self._preview():
            self._look_at(self._selection.within(preview).moved(rows, images, preview))

    def action_page(self, pages: int) -> None:
        """Moves by as many classes as are in sight."""
        if preview := self._preview():
            rows = len(self._rendered.layout.rows) if self._rendered else 1
            selection = self._selection.within(preview)
            self._look_at(replace(selection, row=min(max(selection.row + pages * rows, 0), preview.rows - 1)))

    def action_toggle_change(self) -> None:
        self._shows_change = not self._shows_change
        self._look_at(self._selection)

    def action_step(self, steps: int) -> None:
        self._look_at(self._selection.stepped(steps, self._saved()))

    def action_cycle(self) -> None:
        self._look_at(self._selection.next_mode())

    def action_cycle_renderer(self) -> None:
        self.draw_as(next_mode(self._mode))
        self.post_message(self.Preferred(self._mode))
        drawn_as = renderer_of(self._mode, self.app)
        self.notify(f"images: {self._mode}" + (f" ({drawn_as})" if drawn_as != self._mode else ""), timeout=3)

    def _look_at(self, selection: ImageSelection) -> None:
        self._selection = selection
        preview = self._preview()
        if preview is None or self._view is None:
            self._images_view.request(None)
            self.entitle(Content(f"{self.NUMBER} {self.TITLE}"), Content())
            return
        selection = replace(selection.within(preview), iteration=None)
        renderer = renderer_of(self._mode, self.app)
        request = request_of(self._view, preview, selection, renderer, self._since(preview))
        self._images_view.request(request)
        self._entitle(request)

    def _since(self, preview: Preview) -> Preview | None:
        """The first preview, where the change since then is to be shown and can be."""
        if not self._shows_change or self._view is None:
            return None
        first = self._view.state.previews[self._saved()[0]]
        same = all(getattr(first, side) == getattr(preview, side) for side in ("rows", "columns", "image_size"))
        return first if same else None

    def _entitle(self, request: RenderRequest) -> None:
        """Says what is seen, and whether it is the newest."""
        selection, preview, saved = request.selection, request.preview, self._saved()
        if preview.iteration not in saved:
            return
        rendered = self._rendered
        # What is in sight is known once it is drawn.
        layout = rendered.layout if rendered and rendered.job.request == request else None
        image = f"image {selection.image + 1}"
        if selection.shows == "all":
            rows = layout.rows if layout else range(preview.rows)
            what = f"all {preview.rows} classes"
            if len(rows) < preview.rows:
                what = f"classes {rows.start + 1}-{rows.stop} of {preview.rows}"
            if layout and layout.tiles.across < preview.columns:
                first = layout.tiles.first_column
                image = f"images {first + 1}-{first + layout.tiles.across}"
        else:
            what = clean(request.names_of(preview.rows)[selection.row])
            data = self._view.state.data if self._view else None
            if data and selection.row < len(data.class_counts):
                what += f" ({data.class_counts[selection.row]:,} real images)"
            what += f", class {selection.row + 1} of {preview.rows}"
        if request.since is not None:
            factor = f", x{rendered.factor}" if layout and rendered and rendered.factor else ""
            what += f", change since iteration {request.since.iteration:,}{factor}"
        behind = len(saved) - 1 - saved.index(preview.iteration)
        age = (f"{behind} before newest", "$accent") if behind else "newest"
        where = f"{image} of {preview.columns}, iteration {preview.iteration:,}, "
        self.entitle(Content(f"{self.NUMBER} {self.TITLE}: {what}"), Content.assemble(where, age))

    def _saved(self) -> list[int]:
        return valid_previews(self._view.state.previews) if self._view else []

    def _preview(self) -> Preview | None:
        at = self._selection.at(self._saved())
        return self._view.state.previews[at] if self._view and at is not None else None
