"""Where each panel of a run lies: columns of tiles, of which every one has room enough to be read. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

TWO_COLUMNS_FROM, THREE_COLUMNS_FROM = 100, 160
LOWEST = 20
"""Rows below which panels become tabs however wide the screen is."""


class Need(NamedTuple):
    """Rows that a panel needs to be read, its share of what is left, and its column of two and of three."""

    rows: int
    share: int
    of_two: int
    of_three: int


NEEDS = {
    "accuracy": Need(8, 2, 0, 0),
    "losses": Need(11, 3, 1, 1),
    "norms": Need(9, 2, 1, 1),
    "images": Need(8, 3, 0, 0),
    "log": Need(9, 2, 1, 2),
    "experts": Need(10, 3, 1, 1),
    "console": Need(8, 1, 1, 2),
    "details": Need(16, 3, 1, 2),
}
WIDTHS = {1: (1,), 2: (58, 42), 3: (43, 30, 27)}


class Tile(NamedTuple):
    """A panel's place in cells."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Tiling:
    """The tiles of the panels that are shown; `left_out` are those that were wanted and found no room."""

    tiles: dict[str, Tile] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def are_tabs(width: int, height: int) -> bool:
    """Whether there is room for one panel only, so that they are leafed through."""
    return width < TWO_COLUMNS_FROM or height < LOWEST


def tile(wanted: Sequence[str], width: int, height: int) -> Tiling:
    """Tiles for the panels of `wanted`, which come before others where there is not room for all."""
    columns = [_with_room(column, height) for column in _columns(wanted, width)]
    widths = _shares(WIDTHS[len(columns)] if columns else (), width)
    tiles: dict[str, Tile] = {}
    x = 0
    for names, across in zip(columns, widths, strict=True):
        rows = _rows(names, height)
        y = 0
        for name, down in zip(names, rows, strict=True):
            tiles[name] = Tile(x, y, across, down)
            y += down
        x += across
    return Tiling(tiles, tuple(name for name in wanted if name not in tiles))


def _columns(wanted: Sequence[str], width: int) -> list[list[str]]:
    """The names column by column, each still in the order of importance; none is empty."""
    count = 3 if width >= THREE_COLUMNS_FROM else 2
    found: list[list[str]] = [[] for _ in range(count)]
    for name in wanted:
        found[NEEDS[name].of_three if count == 3 else NEEDS[name].of_two].append(name)
    found = [column for column in found if column]
    # Where a column is empty, the fullest one shares its panels.
    while found and len(found) < count and (fullest := max(found, key=len)) and len(fullest) > 1:
        place, half = found.index(fullest), (len(fullest) + 1) // 2
        ordered = _in_order(fullest)
        found[place : place + 1] = [
            [n for n in fullest if n in ordered[:half]],
            [n for n in fullest if n in ordered[half:]],
        ]
    return found


def _with_room(names: list[str], height: int) -> list[str]:
    """As many of them as `height` rows can hold, the first always, from top to bottom."""
    kept: list[str] = []
    for name in names:
        if not kept or sum(NEEDS[one].rows for one in (*kept, name)) <= height:
            kept.append(name)
    return _in_order(kept)


def _in_order(names: list[str]) -> list[str]:
    return [name for name in NEEDS if name in names]


def _rows(names: list[str], height: int) -> list[int]:
    """The rows of each: what it needs, and its share of the rest."""
    rest = height - sum(NEEDS[name].rows for name in names)
    if rest < 0:
        return [height]
    extra = _shares(tuple(NEEDS[name].share for name in names), rest)
    return [NEEDS[name].rows + more for name, more in zip(names, extra, strict=True)]


def _shares(weights: tuple[int, ...], total: int) -> list[int]:
    """`total` in whole cells by weight, nothing lost."""
    bounds = [round(total * sum(weights[:place]) / sum(weights)) for place in range(len(weights) + 1)]
    return [end - begin for begin, end in zip(bounds, bounds[1:], strict=False)]
