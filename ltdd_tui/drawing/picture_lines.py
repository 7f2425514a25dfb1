"""What stands beside pictures: the soft label of one as bars or in words, and the names of classes."""

from __future__ import annotations

from collections.abc import Sequence

from ltdd_tui import tail
from ltdd_tui.drawing.lines import Line, Span, clean, cut, fit, width_of
from ltdd_tui.drawing.mosaic import Plan

NAME_CELLS, PERCENT_CELLS, SHORTEST_BAR = 11, 5, 3
SMALLEST = 0.005


def label_lines(
    label: Sequence[float], names: Sequence[str], groups: Sequence[str], own: int, width: int, lines: int
) -> list[Line]:
    """A bar for each of the likeliest classes, in the color of its group, and what is left for all others.

    `own` is the class that the image stands for.
    """
    shown = _shown(label, lines)
    name = min(NAME_CELLS, max(width - PERCENT_CELLS - SHORTEST_BAR - 1, 1))
    cells = max(width - name - 1 - PERCENT_CELLS, 0)

    def line(text: str, share: float, name_role: str, bar_role: str) -> Line:
        percent = Span(fit(f"{share:.0%}", PERCENT_CELLS, right=True))
        return Span(fit(text, name) + " ", name_role), Span(bar(share, cells), bar_role), percent

    rows = [
        line(names[place], label[place], "strong" if place == own else "", groups[place] if groups else "accent")
        for place in shown
    ]
    if len(shown) < len(label):
        rest = max(1.0 - sum(label[place] for place in shown), 0.0)
        rows.append(line(f"{len(label) - len(shown)} others", rest, "muted", "muted"))
    return rows


def label_words(title: str, label: Sequence[float], names: Sequence[str], width: int) -> Line:
    """The likeliest classes in one line, as many as fit."""
    line: Line = (Span(title, "muted"),)
    for place in _likeliest(label):
        longer = (*line, Span(f"  {clean(names[place])} {label[place]:.0%}"))
        if width_of(longer) > width or label[place] < SMALLEST:
            break
        line = longer
    return cut(line, width)


def bar(share: float, width: int) -> str:
    """A bar of `width` cells, to an eighth of a cell; a share above zero is seen."""
    return tail.bar(share, 1.0, width).ljust(width)


def name_lines(plan: Plan, names: Sequence[str], width: int) -> list[Line]:
    """The names of the classes in sight, each beside the middle of its images."""
    pitch = plan.tiles.pitch_down
    lines: list[Line] = []
    for row in plan.rows:
        name = Span(fit(names[row], width), "accent" if row == plan.place.row else "muted")
        lines += [(), *[()] * (pitch - 1)]
        lines[-pitch + (pitch - 1) // 2] = (name,)
    return lines


def _shown(label: Sequence[float], lines: int) -> list[int]:
    worth = [place for place in _likeliest(label) if label[place] >= SMALLEST]
    return worth if len(worth) == len(label) <= lines else worth[: max(lines - 1, 0)]


def _likeliest(label: Sequence[float]) -> list[int]:
    """The classes, the likeliest first; of equal ones the first."""
    return sorted(range(len(label)), key=lambda place: -label[place])
