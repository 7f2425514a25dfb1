"""A picture as text: each cell shows two pixels, one above the other."""

from __future__ import annotations

from itertools import groupby

from PIL import Image
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

UPPER_HALF = "▀"


def half_cells(picture: Image.Image) -> list[Strip]:
    """The lines of an RGB picture of even height; the styles are not kept, as almost every cell has its own."""
    width, height = picture.size
    pixels = picture.tobytes()
    rows = [pixels[at : at + 3 * width] for at in range(0, 3 * width * height, 3 * width)]
    return [_line(upper, lower) for upper, lower in zip(rows[::2], rows[1::2], strict=True)]


def _line(upper: bytes, lower: bytes) -> Strip:
    pairs = [(upper[at : at + 3], lower[at : at + 3]) for at in range(0, len(upper), 3)]
    return Strip([_run(above, below, len(list(run))) for (above, below), run in groupby(pairs)], len(pairs))


def _run(above: bytes, below: bytes, cells: int) -> Segment:
    if above == below:
        return Segment(" " * cells, Style(bgcolor=Color.from_rgb(*above)))
    return Segment(UPPER_HALF * cells, Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
