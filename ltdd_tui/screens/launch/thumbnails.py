"""Rows of a person's own images, a row for each class, at the size at which networks see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from PIL import Image, ImageOps
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content

from engine.run.data_settings import Fit
from engine.run.events import Preview
from engine.run.image_headers import made_square, opened_image
from ltdd_tui.formatting import clean
from ltdd_tui.preferences import load_layout, load_preferences, with_remembered
from ltdd_tui.screens.run.images.panel import SELECTION_BINDINGS
from ltdd_tui.screens.run.images.renderer import (
    ImageRenderer,
    ImageSelection,
    ImageSource,
    RenderedImages,
    RenderJob,
    RenderRequest,
    Rgb,
    TileLayout,
)
from ltdd_tui.screens.run.images.terminal_graphics import renderer_of
from ltdd_tui.screens.run.images.view import ImagesView
from ltdd_tui.widgets.lines import MUTED, wrapped

IMAGES_A_CLASS = 8


@dataclass(frozen=True)
class ThumbnailRequest(RenderRequest):
    """What is to be shown: `files` of each class, made square by `fit` (crop, pad or stretch)."""

    files: tuple[tuple[Path, ...], ...] = ()
    fit: Fit = "crop"


def request_of(
    names: Sequence[str], files: Sequence[Sequence[Path]], side: int, fit: Fit, selection: ImageSelection
) -> ThumbnailRequest:
    """Images of `side` pixels of these classes."""
    preview = Preview(0, "", "", len(names), max(map(len, files)), side)
    return ThumbnailRequest(
        Path(), preview, selection.within(preview), tuple(names), (), "off", None, tuple(map(tuple, files)), fit
    )


@dataclass
class SmallImages:
    """The images of a request, each read when it is first in sight; `ground` stands for what is missing."""

    request: ThumbnailRequest
    ground: Rgb

    def __post_init__(self) -> None:
        self._read: dict[Path, Image.Image] = {}

    def image(self, row: int, column: int) -> Image.Image:
        """One image; bare ground where a class has no more, or where it cannot be read."""
        side, files = self.request.preview.image_size, self.request.files[row]
        if column >= len(files):
            return Image.new("RGB", (side, side), self.ground)
        if files[column] not in self._read:
            self._read[files[column]] = self._square(files[column], side)
        return self._read[files[column]]

    def _square(self, path: Path, side: int) -> Image.Image:
        try:
            with opened_image(path) as file:
                # Of a large JPEG, every few pixels are enough.
                file.draft("RGB", (2 * side, 2 * side))
                return made_square(ImageOps.exif_transpose(file).convert("RGB"), side, self.request.fit)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, MemoryError):
            return Image.new("RGB", (side, side), self.ground)


class ThumbnailRenderer(ImageRenderer):
    """Takes the images from their own files in place of a preview."""

    ground: Rgb = (0, 0, 0)

    def __init__(self) -> None:
        super().__init__()
        self._small: SmallImages | None = None

    def forget(self) -> None:
        super().forget()
        self._small = None

    def _source_of(self, request: RenderRequest, layout: TileLayout) -> ImageSource:
        assert isinstance(request, ThumbnailRequest)
        small = self._small
        if small is None or (small.request.files, small.request.preview, small.request.fit, small.ground) != (
            request.files,
            request.preview,
            request.fit,
            self.ground,
        ):
            self._small = small = SmallImages(request, self.ground)
        return small


class ThumbnailsView(ImagesView):
    """Says of the framed image which file it is, in place of a soft label."""

    NOTHING = "some images of each class, once all are looked at"

    def __init__(self) -> None:
        super().__init__()
        self._renderer: ThumbnailRenderer = ThumbnailRenderer()

    def _job_for(self, request: RenderRequest) -> RenderJob:
        job = super()._job_for(request)
        self._renderer.ground = job.ground
        return job

    def _beside(self, rendered: RenderedImages, width: int) -> list[Content]:
        request = rendered.job.request
        assert isinstance(request, ThumbnailRequest)
        files, image = request.files[request.selection.row], request.selection.image
        file = clean(files[image].name) if image < len(files) else "no further image"
        return wrapped(f"{clean(request.names[request.selection.row])}: {file}", width, MUTED)


class Thumbnails(Vertical, can_focus=True):
    """Some images of each class; or those of one class, or one of them large."""

    TITLE: ClassVar[str] = "Images"
    BINDINGS: ClassVar[list[BindingType]] = [
        *SELECTION_BINDINGS,
        Binding("e,enter", "cycle", "View", tooltip="All classes, one class, one image", id="images.cycle"),
    ]

    def __init__(self) -> None:
        super().__init__(id="thumbnails")
        self.border_title = self.TITLE
        self._request: ThumbnailRequest | None = None
        self._view = ThumbnailsView()

    def compose(self) -> ComposeResult:
        yield self._view

    def show(self, names: Sequence[str], files: Sequence[Sequence[Path]], side: int, fit: Fit) -> None:
        """Draws these files of each class with that side, made square by `fit`."""
        selection = self._request.selection if self._request else ImageSelection()
        self._look_at(request_of(names, files, side, fit, selection))
        self.border_subtitle = f"networks see {side} x {side} px, by {fit}"

    def _look_at(self, request: ThumbnailRequest) -> None:
        mode = with_remembered(load_preferences()[0], load_layout()[0]).images
        self._request = replace(request, renderer=renderer_of(mode, self.app))
        self._view.request(self._request)

    def action_move(self, rows: int, images: int) -> None:
        if self._request:
            self._select(self._request.selection.moved(rows, images, self._request.preview))

    def action_cycle(self) -> None:
        if self._request:
            self._select(self._request.selection.next_mode())

    @on(ImagesView.Clicked)
    def _clicked(self, event: ImagesView.Clicked) -> None:
        if self._request:
            self._select(replace(self._request.selection, row=event.row, image=event.image))

    @on(events.MouseScrollDown)
    @on(events.MouseScrollUp)
    def _move_by_wheel(self, event: events.MouseScrollDown | events.MouseScrollUp) -> None:
        event.stop()
        self.action_move(1 if isinstance(event, events.MouseScrollDown) else -1, 0)

    def _select(self, selection: ImageSelection) -> None:
        if self._request:
            self._look_at(replace(self._request, selection=selection))
