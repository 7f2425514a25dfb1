"""Draws a terminal screen as PNG. Block characters are drawn as rectangles: in most fonts, half-cells do not touch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from rich.color import Color as RichColor
from rich.style import Style
from rich.terminal_theme import DEFAULT_TERMINAL_THEME
from rich.text import Text

WIDTH, HEIGHT, MARGIN = 10, 19, 10
# DejaVu Sans Mono is 1233/2048 of its size wide.
FONT_SIZE = WIDTH * 2048 / 1233
FOREGROUND, BACKGROUND = (201, 209, 217), (13, 17, 23)
# The filled part of the cell in eighths: left, top, right, bottom.
BLOCKS = {
    "█": (0, 0, 8, 8),
    "▀": (0, 0, 8, 4),
    "▔": (0, 0, 8, 1),
    "▐": (4, 0, 8, 8),
    "▕": (7, 0, 8, 8),
    **{char: (0, 8 - eighths, 8, 8) for eighths, char in enumerate("▁▂▃▄▅▆▇", 1)},
    **{char: (0, 0, eighths, 8) for eighths, char in enumerate("▏▎▍▌▋▊▉", 1)},
}
Color = tuple[int, int, int]


def save_picture(ansi: str, path: Path) -> None:
    """Draws a screen, as `capture-pane -e` gives it, to `path`."""
    lines = ansi.rstrip("\n").split("\n")
    cells = [list(_cells(line)) for line in lines]
    columns = max(map(len, cells))
    size = (columns * WIDTH + 2 * MARGIN, len(cells) * HEIGHT + 2 * MARGIN)
    image = Image.new("RGB", size, cells[0][0][2] if cells[0] else BACKGROUND)
    draw = ImageDraw.Draw(image)
    fonts = {bold: _font(bold) for bold in (False, True)}
    for row, line in enumerate(cells):
        for column, (char, foreground, background, bold) in enumerate(line):
            place = (MARGIN + column * WIDTH, MARGIN + row * HEIGHT)
            _draw_cell(draw, place, char, foreground, background, fonts[bold])
    image.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def _draw_cell(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    char: str,
    foreground: Color,
    background: Color,
    font: ImageFont.FreeTypeFont,
) -> None:
    x, y = place
    draw.rectangle((x, y, x + WIDTH - 1, y + HEIGHT - 1), fill=background)
    if block := BLOCKS.get(char):
        left, top, right, bottom = (round(part * (WIDTH, HEIGHT)[axis % 2] / 8) for axis, part in enumerate(block))
        draw.rectangle((x + left, y + top, x + right - 1, y + bottom - 1), fill=foreground)
    elif "\u2800" <= char <= "\u28ff":
        _draw_dots(draw, place, ord(char) - 0x2800, foreground)
    elif char.strip():
        draw.text((x, y + HEIGHT * 0.79), char, fill=foreground, font=font, anchor="ls")


def _draw_dots(draw: ImageDraw.ImageDraw, place: tuple[int, int], bits: int, foreground: Color) -> None:
    """Draws a braille character, which many monospaced fonts lack: two columns of four dots in Unicode's order."""
    x, y = place
    for bit, (column, row) in enumerate(((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))):
        if bits >> bit & 1:
            left, top = x + WIDTH * (2 * column + 1) / 4, y + HEIGHT * (2 * row + 1) / 8
            draw.ellipse((left - 1.4, top - 1.4, left + 1.4, top + 1.4), fill=foreground)


def _cells(line: str) -> Iterator[tuple[str, Color, Color, bool]]:
    """Each cell's character, foreground, background and whether it is bold."""
    text = Text.from_ansi(line)
    styles = [Style.null()] * len(text.plain)
    for span in text.spans:
        for place in range(span.start, span.end):
            styles[place] += span.style if isinstance(span.style, Style) else Style.parse(span.style)
    for char, style in zip(text.plain, styles, strict=True):
        foreground, background = _color(style.color, FOREGROUND, True), _color(style.bgcolor, BACKGROUND, False)
        if style.reverse:
            foreground, background = background, foreground
        if style.dim:
            foreground = _between(foreground, background)
        yield char, foreground, background, bool(style.bold)


def _between(one: Color, other: Color) -> Color:
    red, green, blue = ((a + b) // 2 for a, b in zip(one, other, strict=True))
    return red, green, blue


def _color(color: RichColor | None, default: Color, is_foreground: bool) -> Color:
    if color is None or color.is_default:
        return default
    return tuple(color.get_truecolor(DEFAULT_TERMINAL_THEME, is_foreground))  # type: ignore[return-value]


def _font(bold: bool) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(f"DejaVuSansMono{'-Bold' if bold else ''}.ttf", FONT_SIZE)
