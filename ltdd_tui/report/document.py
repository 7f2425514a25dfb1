"""A document of headings, sentences, tables and pictures, and its two forms: one HTML file, and Markdown with files.

The HTML has all it needs inside: no script, no font, no picture of elsewhere. It follows the reader's light or dark
scheme; so do the SVG pictures, whose ink is `currentColor`. Beside Markdown they are files on white, which any viewer
shows alike.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

from ltdd_tui.formatting import clean
from ltdd_tui.runs.tables import Cell, Table, is_figure

INK, PAPER = "#1f2328", "#ffffff"


class Strong(str):
    """The text of a cell that stands out, such as the best of a column."""


@dataclass(frozen=True)
class Heading:
    """A heading of the second level, or a lower one."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Picture:
    """A picture with its caption, as an SVG or as the bytes of a PNG or JPEG; `name` is its file's, without ending."""

    name: str
    caption: str
    image: str | bytes

    @property
    def ending(self) -> str:
        return "svg" if isinstance(self.image, str) else "png" if self.image.startswith(b"\x89PNG") else "jpeg"


@dataclass(frozen=True)
class Pictures:
    """Pictures side by side, as many as have room."""

    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Listing:
    """Commands, a line each."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Folded:
    """A long table, which HTML shows when its title is clicked, and Markdown below it."""

    title: str
    table: Table


Block = Heading | str | Table | Pictures | Listing | Folded
"""A part of a document; a plain text is a paragraph."""


@dataclass(frozen=True)
class Document:
    """The title, and what stands below it."""

    title: str
    blocks: Sequence[Block]

    def as_html(self) -> str:
        """One file that needs no other."""
        body = "\n".join(map(_html, self.blocks))
        title = escape(clean(self.title))
        return (
            f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n{GENERATOR}\n'
            f'<link rel="icon" href="data:,">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n'
            f"<body>\n<main>\n<h1>{title}</h1>\n{body}\n</main>\n</body>\n</html>\n"
        )

    def as_markdown(self, pictures: str) -> str:
        """GitHub's Markdown; its pictures are files in the folder `pictures` beside it."""
        return "\n".join([f"# {_marked(self.title)}\n", *(_markdown(block, pictures) for block in self.blocks)])

    def files(self) -> dict[str, bytes]:
        """The content of each picture's file by its name."""
        shown = [one for block in self.blocks if isinstance(block, Pictures) for one in block.pictures]
        return {f"{one.name}.{one.ending}": _on_white(one.image) for one in shown}


def _on_white(image: str | bytes) -> bytes:
    if isinstance(image, bytes):
        return image
    return image.replace("<svg ", f'<svg style="background:{PAPER}" ', 1).replace("currentColor", INK).encode()


def _right(table: Table) -> list[bool]:
    """For each column whether it is set to the right: it holds figures alone, be they signed."""
    columns = ([row[place] for row in table.rows if row[place]] for place in range(len(table.titles)))
    return [
        bool(column) and all(is_figure(cell.lstrip("+-<") if isinstance(cell, str) else cell) for cell in column)
        for column in columns
    ]


# ---- HTML ----

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --paper: #ffffff; --quiet: #59636e; --line: #d1d9e0; --row: #f6f8fa }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --paper: #0d1117; --quiet: #9198a1; --line: #3d444d; --row: #151b23 }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
main { max-width: 1200px; margin: 0 auto; padding: 24px 16px 64px }
h1 { font-size: 26px; line-height: 1.25; overflow-wrap: anywhere }
h2 { margin: 40px 0 8px; padding-top: 12px; border-top: 1px solid var(--line); font-size: 20px }
h3 { margin: 24px 0 4px; font-size: 16px }
p { max-width: 80ch; margin: 8px 0 }
.scroll { overflow-x: auto; margin: 12px 0 }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums }
th, td { padding: 4px 10px; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap }
td.long { white-space: normal; min-width: 28ch; overflow-wrap: anywhere }
th { color: var(--quiet); font-weight: 600; vertical-align: bottom }
tbody tr:hover { background: var(--row) }
.right { text-align: right }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr)); gap: 20px }
figure { margin: 8px 0; min-width: 0 }
figcaption { color: var(--quiet); font-size: 13px; overflow-wrap: anywhere }
svg { display: block; width: 100%; max-width: 520px; height: auto }
svg text { font-family: system-ui, sans-serif }
img { display: block; max-width: 100%; width: 330px; image-rendering: pixelated }
pre { overflow-x: auto; padding: 10px 12px; background: var(--row); font-size: 13px }
summary { cursor: pointer; margin: 12px 0 }
@media print { body { background: none } h2 { break-after: avoid } figure { break-inside: avoid } }
"""
LONG_TEXT = 60
GENERATOR = '<meta name="generator" content="ltdd-tui">'
"""By which a report of ours is known, which the next one may replace."""


def _html(block: Block) -> str:
    match block:
        case Heading():
            return f"<h{block.level}>{escape(clean(block.text))}</h{block.level}>"
        case Table():
            return _html_table(block)
        case Pictures():
            return f'<div class="pictures">{"".join(map(_figure, block.pictures))}</div>'
        case Listing():
            return f"<pre>{escape(chr(10).join(map(clean, block.lines)))}</pre>"
        case Folded():
            return f"<details><summary>{escape(block.title)}</summary>{_html_table(block.table)}</details>"
        case str():
            return f"<p>{escape(clean(block))}</p>"


def _html_table(table: Table) -> str:
    right = _right(table)

    def cells(row: Sequence[Cell], tag: str) -> str:
        return "".join(_html_cell(cell, tag, right[place]) for place, cell in enumerate(row))

    head, rows = cells(table.titles, "th"), "".join(f"<tr>{cells(row, 'td')}</tr>\n" for row in table.rows)
    # A wide table is scrolled by itself, by keys too, and not the page.
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>'
    )


def _html_cell(cell: Cell, tag: str, right: bool) -> str:
    text = "" if cell is None else escape(clean(str(cell)))
    kind = ' class="right"' if right else ' class="long"' if len(text) > LONG_TEXT else ""
    return f"<{tag}{kind}>{f'<strong>{text}</strong>' if isinstance(cell, Strong) else text}</{tag}>"


def _figure(picture: Picture) -> str:
    caption = escape(clean(picture.caption))
    if isinstance(picture.image, str):
        shown = picture.image.replace("<svg ", f'<svg role="img" aria-label="{caption}" ', 1)
    else:
        data = base64.b64encode(picture.image).decode()
        shown = f'<img alt="{caption}" src="data:image/{picture.ending};base64,{data}">'
    return f"<figure>{shown}<figcaption>{caption}</figcaption></figure>"


# ---- Markdown ----

# What would be markup in running text; a name of a run may hold any of it.
MARKUP = re.compile(r"([\\`*_\[\]<>|#])")


def _marked(text: str) -> str:
    return MARKUP.sub(r"\\\1", clean(text))


def _markdown(block: Block, pictures: str) -> str:
    match block:
        case Heading():
            return f"{'#' * block.level} {_marked(block.text)}\n"
        case Table():
            marked = (tuple(f"**{cell}**" if isinstance(cell, Strong) else cell for cell in row) for row in block.rows)
            lines = replace(block, rows=tuple(marked)).as_markdown().splitlines()
            lines[1] = f"| {' | '.join('---:' if right else '---' for right in _right(block))} |"
            return "\n".join(lines) + "\n"
        case Pictures():
            shown = (f"![{_marked(one.caption)}]({pictures}/{one.name}.{one.ending})" for one in block.pictures)
            return "".join(
                f"{line}\n*{_marked(one.caption)}*\n\n" for line, one in zip(shown, block.pictures, strict=True)
            )
        case Listing():
            return "```sh\n" + "\n".join(map(clean, block.lines)) + "\n```\n"
        case Folded():
            return f"{_marked(block.title)}:\n\n{_markdown(block.table, pictures)}"
        case str():
            return f"{_marked(block)}\n"
