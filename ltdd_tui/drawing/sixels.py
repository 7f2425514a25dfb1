"""A picture as Sixel graphics, for terminals that know them."""

from __future__ import annotations

import io
import re

from PIL import Image
from rich.console import Console
from rich.segment import Segment

SIXELS_BEGIN = "\x1bP"
COLOR_DEFINED = re.compile(r"(#\d+);2;\d+;\d+;\d+")


def sixels(picture: Image.Image) -> str:
    """The control sequence that draws a picture whose sides are whole cells, at the cursor; slow, so for a thread."""
    # Asks the terminal when it is first imported, which the app did before it took over the screen.
    from textual_image.renderable import SixelImage

    console = Console(file=io.StringIO())
    parts = SixelImage(picture).__rich_console__(console, console.options)
    drawn = next(part.text for part in parts if isinstance(part, Segment) and part.text.startswith(SIXELS_BEGIN))
    # The library takes a color for chosen by defining it, xterm 379 does not: the first lines would have other colors.
    return COLOR_DEFINED.sub(r"\g<0>\1", drawn)
