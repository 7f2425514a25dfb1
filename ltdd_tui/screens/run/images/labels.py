"""What stands beside synthetic images: the soft label of one as bars or in words, and the names of classes."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from ltdd_tui.formatting import clean
from ltdd_tui.screens.run.images.renderer import TileLayout
from ltdd_tui.widgets.bars import bar
from ltdd_tui.widgets.lines import ACCENT, EMPTY, MUTED, STRONG, fit, group_style

LABEL_NAME_CELLS, PERCENT_CELLS, SHORTEST_BAR = 11, 5, 3
SMALLEST = 0.005


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


def name_lines(layout: TileLayout, band: int, names: Sequence[str], width: int) -> list[Content]:
    """The names of the classes of a band, each beside the middle of its images."""
    pitch = layout.tiles.pitch_down
    lines: list[Content] = []
    for row in layout.rows_of(band):
        block = [EMPTY] * pitch
        block[(pitch - 1) // 2] = Content.styled(
            fit(names[row], width), ACCENT if row == layout.selection.row else MUTED
        )
        lines += block
    return lines


def _likeliest(label: Sequence[float]) -> list[int]:
    """The classes, the likeliest first; of equal ones the first."""
    return sorted(range(len(label)), key=lambda place: -label[place])
