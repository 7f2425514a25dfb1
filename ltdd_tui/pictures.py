"""How pictures get onto a terminal: by its own graphics (kitty, sixel), as half-cells, or not at all."""

from __future__ import annotations

import os
import sys
from typing import Literal, get_args

from textual.app import App

from ltdd_tui.preferences import ImageMode
from ltdd_tui.tiles import Room

Renderer = Literal["kitty", "sixel", "halfcell", "off"]

BETWEEN = ("TMUX", "STY", "SSH_CONNECTION", "SSH_TTY")
_LIBRARY = "textual_image.widget"
_FALLBACK_CELL = (10, 20)


def renderer_of(mode: ImageMode, app: App[object]) -> Renderer:
    """The renderer for a preference: half-cells where nothing else can be shown, as in a browser or a test."""
    if mode == "off":
        return "off"
    if app.is_web or app.is_headless or _LIBRARY not in sys.modules:
        # The library asks the terminal as it is imported, which is too late once the screen is taken over.
        return "halfcell"
    return _detected() if mode == "auto" else mode


def next_mode(mode: ImageMode) -> ImageMode:
    """The preference after this one, and around."""
    modes: tuple[ImageMode, ...] = get_args(ImageMode)
    return modes[(modes.index(mode) + 1) % len(modes)]


def room(renderer: Renderer, across: int, down: int) -> Room:
    """Cells to draw on, with the pixels that the renderer has in each."""
    if renderer in ("kitty", "sixel"):
        return Room(across, down, *_cell_size())
    return Room(across, down)


def _detected() -> Renderer:
    """What the terminal answered, unless something lies between.

    Through tmux and screen the answer cannot be trusted, and over ssh pictures of pixels would hold up the keys.
    """
    from textual_image import renderable

    if any(map(os.environ.get, BETWEEN)):
        return "halfcell"
    found: dict[type, Renderer] = {renderable.TGPImage: "kitty", renderable.SixelImage: "sixel"}
    return found.get(renderable.Image, "halfcell")


def _cell_size() -> tuple[int, int]:
    """A cell's width and height in pixels, as the library scales to them."""
    try:
        from textual_image._terminal import get_cell_size
    except ImportError:
        return _FALLBACK_CELL
    size = get_cell_size()
    return size.width, size.height
