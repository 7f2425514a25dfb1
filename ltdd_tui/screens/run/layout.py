"""Where each panel of a run lies: columns of tiles, of which every one has room enough to be read. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple

from textual import events
from textual.containers import Container
from textual.content import Content
from textual.geometry import NULL_OFFSET, NULL_SPACING, Region, Size
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.message import Message
from textual.style import Style
from textual.widget import Widget

from ltdd_tui.preferences import PanelLayout
from ltdd_tui.runs.state import RunState
from ltdd_tui.screens.run.accuracy import AccuracyPanel
from ltdd_tui.screens.run.details import DetailsPanel
from ltdd_tui.screens.run.experts import ExpertsPanel
from ltdd_tui.screens.run.images.panel import ImagesPanel
from ltdd_tui.screens.run.log import ConsolePanel, LogPanel
from ltdd_tui.screens.run.losses import LossesPanel
from ltdd_tui.screens.run.norms import NormsPanel
from ltdd_tui.screens.run.panel import Panel
from ltdd_tui.widgets.lines import ACCENT, MUTED, LinesView

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


# Which panels of a run a person wants to see: hidden, brought to the front, maximized, or the present tab. Pure.


@dataclass(frozen=True)
class Arrangement:
    """The last panel that was asked for comes first in `raised`: where there is not room for all, others give way.

    After those come `suggested`, which the program finds worth seeing now. `active` is the tab where there is room for
    one panel only.
    """

    hidden: frozenset[str] = frozenset()
    raised: tuple[str, ...] = ()
    active: str = "accuracy"
    maximized: str | None = None
    suggested: tuple[str, ...] = ()

    @staticmethod
    def of(layout: PanelLayout) -> Arrangement:
        """As it was left in an earlier session; panels of another version are forgotten."""
        raised = tuple(name for name in layout.raised_panels if name in NEEDS)
        return Arrangement(frozenset(layout.hidden_panels) & NEEDS.keys(), raised)

    def remembered(self) -> dict[str, list[str]]:
        """What of a layout it is."""
        return {"hidden_panels": sorted(self.hidden), "raised_panels": list(self.raised)}

    def tiling(self, width: int, height: int) -> Tiling:
        """Where every panel lies that is shown."""
        single = self.maximized or (self.active if are_tabs(width, height) else None)
        if single:
            return Tiling({single: Tile(0, 0, width, height)})
        names = dict.fromkeys((*self.raised, *self.suggested, *NEEDS))
        return tile([name for name in names if name not in self.hidden], width, height)

    def toggled(self, name: str, width: int, height: int) -> Arrangement:
        """Hides a panel that is seen, and shows one that is not; of tabs, or over a maximized one, it shows it."""
        if self.maximized:
            return replace(self, active=name, maximized=name)
        if are_tabs(width, height):
            return replace(self, active=name)
        rest = tuple(one for one in self.raised if one != name)
        if name in self.tiling(width, height).tiles:
            return replace(self, hidden=self.hidden | {name}, raised=rest)
        return replace(self, hidden=self.hidden - {name}, raised=(name, *rest), active=name)

    def maximizing(self, name: str | None) -> Arrangement:
        """One panel over the whole space, or with None all of them again."""
        return replace(self, maximized=name, active=name or self.active)


def suggested(state: RunState) -> tuple[str, ...]:
    """Until there is a matching loss, its panel gives way to the experts."""
    return () if state.steps.latest else ("norms", "log", "experts")


# All panels of a run, in the order of their numbers.


PANELS: tuple[type[Panel], ...] = (
    AccuracyPanel,
    LossesPanel,
    NormsPanel,
    ImagesPanel,
    LogPanel,
    ExpertsPanel,
    ConsolePanel,
    DetailsPanel,
)


# The line that names all panels with their keys: which are seen, which are not; a click does what the key does.


class PanelStrip(LinesView):
    """One line over the panels."""

    DEFAULT_CSS = "PanelStrip { height: 1; padding: 0 1; }"

    class Picked(Message):
        """A panel's name was clicked."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, panels: Sequence[type[Panel]]) -> None:
        super().__init__()
        self._panels = panels
        self._seen: Collection[str] = ()

    def show(self, seen: Collection[str]) -> None:
        """Marks the panels that are seen."""
        self._seen = tuple(seen)
        self.draw(lambda width: [self._line(width)])

    def on_click(self, event: events.Click) -> None:
        if name := event.style.meta.get("panel"):
            self.post_message(self.Picked(name))

    def _line(self, width: int) -> Content:
        """Every panel's name where they fit, else only of those that are seen."""
        every = [panel.NAME for panel in self._panels]
        forms = [self._named(every, gap) for gap in (3, 2, 1)]
        return next((form for form in forms if form.cell_length <= width), self._named(self._seen, 2))

    def _named(self, named: Collection[str], gap: int) -> Content:
        entries = []
        for panel in self._panels:
            text = f"{panel.NUMBER} {panel.NAME}" if panel.NAME in named else panel.NUMBER
            entry = Content.styled(text, ACCENT if panel.NAME in self._seen else MUTED)
            entries.append(entry.stylize(Style.from_meta({"panel": panel.NAME})))
        return Content(" " * gap).join(entries)


# The space in which the panels of a run lie: tiles side by side, or one at a time where there is little room.


class Tiles(Layout):
    """Puts every panel where an arrangement wants it."""

    name = "tiles"

    def __init__(self) -> None:
        self.arrangement = Arrangement()

    def arrange(self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True) -> ArrangeResult:
        """Places the panels that have a tile."""
        tiles = self.arrangement.tiling(size.width, size.height).tiles
        return [
            WidgetPlacement(Region(*tiles[child.id]), NULL_OFFSET, NULL_SPACING, child)
            for child in children
            if child.id in tiles
        ]


class Workspace(Container):
    """All panels of a run, of which those with a tile are displayed."""

    DEFAULT_CSS: ClassVar[str] = """
    Workspace { height: 1fr; min-height: 0; overflow: hidden; }
    """

    class Rearranged(Message):
        """Other panels are seen, or the same ones elsewhere."""

    def __init__(self, panels: Sequence[Panel], arrangement: Arrangement) -> None:
        super().__init__(*panels)
        self.panels = {panel.NAME: panel for panel in panels}
        self._tiles = Tiles()
        self._tiles.arrangement = arrangement

    @property
    def layout(self) -> Layout:
        """The tiles."""
        return self._tiles

    @property
    def arrangement(self) -> Arrangement:
        """What is shown."""
        return self._tiles.arrangement

    @property
    def tabs(self) -> bool:
        """Whether there is room for one panel only."""
        return are_tabs(*self.size)

    @property
    def seen(self) -> list[Panel]:
        """The panels that have a tile, in the order of their numbers."""
        tiles = self.arrangement.tiling(*self.size).tiles
        return [panel for name, panel in self.panels.items() if name in tiles]

    def arrange_as(self, arrangement: Arrangement) -> None:
        """Shows other panels."""
        self._tiles.arrangement = arrangement
        self._display()
        self.refresh(layout=True)

    def suggest(self, names: tuple[str, ...]) -> None:
        """Lets these panels come before others that nobody asked for."""
        if self.arrangement.suggested != names:
            self.arrange_as(replace(self.arrangement, suggested=names))

    def on_resize(self) -> None:
        """Shows what there is room for now."""
        self._display()

    def _display(self) -> None:
        seen = self.seen
        for panel in self.panels.values():
            panel.display = panel in seen
        focused = self.screen.focused
        if focused is None or not any(panel in focused.ancestors_with_self for panel in seen):
            self._focus_instead(focused, seen)
        self.post_message(self.Rearranged())

    def _focus_instead(self, focused: Widget | None, seen: Sequence[Panel]) -> None:
        """The focus never stays on a panel that is not seen; on the slider or elsewhere it stays."""
        if seen and (focused is None or self in focused.ancestors):
            seen[0].focus(scroll_visible=False)
