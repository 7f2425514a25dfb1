"""Where each panel of a run lies: in columns of tiles, each with room enough to be read, or alone behind a tab."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import NamedTuple

from textual import events
from textual.containers import Container
from textual.content import Content
from textual.geometry import NULL_OFFSET, NULL_SPACING, Region, Size
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.message import Message
from textual.style import Style
from textual.widget import Widget

from ltdd_tui.preferences import ImageMode, PanelLayout
from ltdd_tui.runs.state import RunState
from ltdd_tui.screens.panel import Panel
from ltdd_tui.screens.run.accuracy import AccuracyPanel
from ltdd_tui.screens.run.confusion import ConfusionPanel
from ltdd_tui.screens.run.details import DetailsPanel
from ltdd_tui.screens.run.experts import ExpertsPanel
from ltdd_tui.screens.run.images.panel import ImagesPanel
from ltdd_tui.screens.run.log import ConsolePanel, LogPanel
from ltdd_tui.screens.run.losses import LossesPanel
from ltdd_tui.screens.run.norms import NormsPanel
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
    "losses": Need(14, 4, 1, 1),
    "norms": Need(9, 2, 1, 1),
    "images": Need(8, 3, 0, 0),
    "log": Need(9, 2, 1, 2),
    "experts": Need(10, 3, 1, 1),
    "console": Need(8, 1, 1, 2),
    "details": Need(16, 3, 1, 2),
    "confusion": Need(14, 4, 0, 0),
}
ON_REQUEST = frozenset({"confusion"})
"""Panels that have a place only once they were asked for."""
WIDTHS = {1: (1,), 2: (58, 42), 3: (43, 30, 27)}


def are_tabs(width: int, height: int) -> bool:
    """Whether there is room for one panel only, so that they are leafed through."""
    return width < TWO_COLUMNS_FROM or height < LOWEST


def tile(wanted: Sequence[str], width: int, height: int) -> dict[str, Region]:
    """The places of panels in cells; those that come first in `wanted` have one where there is not room for all."""
    if not wanted:
        return {}
    columns = [_with_room(column, height) for column in _columns(wanted, width)]
    tiles: dict[str, Region] = {}
    x = 0
    for names, across in zip(columns, _shares(WIDTHS[len(columns)], width), strict=True):
        y = 0
        for name, down in zip(names, _heights(names, height), strict=True):
            tiles[name] = Region(x, y, across, down)
            y += down
        x += across
    return tiles


def _columns(wanted: Sequence[str], width: int) -> list[list[str]]:
    """The names column by column, each still in the order of importance; none is empty."""
    count = 3 if width >= THREE_COLUMNS_FROM else 2
    columns: list[list[str]] = [[] for _ in range(count)]
    for name in wanted:
        columns[NEEDS[name].of_three if count == 3 else NEEDS[name].of_two].append(name)
    columns = [column for column in columns if column]
    # Where a column is empty, the fullest one shares its panels.
    while len(columns) < count and (fullest := max(columns, key=len)) and len(fullest) > 1:
        place, upper = columns.index(fullest), _in_order(fullest)[: (len(fullest) + 1) // 2]
        columns[place : place + 1] = [[n for n in fullest if n in upper], [n for n in fullest if n not in upper]]
    return columns


def _with_room(names: list[str], height: int) -> list[str]:
    """As many of them as `height` rows can hold, the first always, from top to bottom."""
    kept: list[str] = []
    for name in names:
        if not kept or sum(NEEDS[one].rows for one in (*kept, name)) <= height:
            kept.append(name)
    return _in_order(kept)


def _in_order(names: list[str]) -> list[str]:
    return [name for name in NEEDS if name in names]


def _heights(names: list[str], height: int) -> list[int]:
    """The rows of each: what it needs, and its share of the rest."""
    rest = height - sum(NEEDS[name].rows for name in names)
    if rest < 0:
        return [height]
    extra = _shares(tuple(NEEDS[name].share for name in names), rest)
    return [NEEDS[name].rows + more for name, more in zip(names, extra, strict=True)]


def _shares(weights: tuple[int, ...], total: int) -> list[int]:
    """`total` in whole cells by weight, nothing lost."""
    bounds = [round(total * sum_before / sum(weights)) for sum_before in accumulate(weights, initial=0)]
    return [end - begin for begin, end in pairwise(bounds)]


@dataclass(frozen=True)
class Arrangement:
    """Which panels a person wants to see.

    The last panel that was asked for comes first in `raised`: where there is not room for all, others give way. After
    those come `suggested`, which the program finds worth seeing now. `active` is the tab where there is room for one
    panel only.
    """

    hidden: frozenset[str] = frozenset()
    raised: tuple[str, ...] = ()
    active: str = "accuracy"
    suggested: tuple[str, ...] = ()

    @staticmethod
    def of(layout: PanelLayout) -> Arrangement:
        """As it was left in an earlier session; panels of another version are forgotten."""
        raised = tuple(name for name in layout.raised_panels if name in NEEDS)
        return Arrangement(frozenset(layout.hidden_panels) & NEEDS.keys(), raised)

    def remembered(self) -> dict[str, list[str]]:
        """What of a layout it is."""
        return {"hidden_panels": sorted(self.hidden), "raised_panels": list(self.raised)}

    def tiles(self, width: int, height: int) -> dict[str, Region]:
        """Where every panel lies that is shown."""
        if are_tabs(width, height):
            return {self.active: Region(0, 0, width, height)}
        by_default = (name for name in NEEDS if name not in ON_REQUEST)
        names = dict.fromkeys((*self.raised, *self.suggested, *by_default))
        return tile([name for name in names if name not in self.hidden], width, height)

    def toggled(self, name: str, width: int, height: int) -> Arrangement:
        """Hides a panel that is seen, and shows one that is not; of tabs it shows that one."""
        if are_tabs(width, height):
            return replace(self, active=name)
        rest = tuple(one for one in self.raised if one != name)
        if name in self.tiles(width, height):
            return replace(self, hidden=self.hidden | {name}, raised=rest)
        return replace(self, hidden=self.hidden - {name}, raised=(name, *rest), active=name)


def suggested(state: RunState) -> tuple[str, ...]:
    """Until there is a matching loss, its panel gives way to the experts."""
    return () if state.steps.latest else ("norms", "log", "experts")


# In the order of their numbers.
PANELS: tuple[type[Panel], ...] = (
    AccuracyPanel,
    LossesPanel,
    NormsPanel,
    ImagesPanel,
    LogPanel,
    ExpertsPanel,
    ConsolePanel,
    DetailsPanel,
    ConfusionPanel,
)


class PanelStrip(LinesView):
    """One line with the names and keys of all panels: which are seen, which are not. A click does what the key does."""

    @dataclass
    class Picked(Message):
        """A panel's name was clicked."""

        name: str

    def __init__(self) -> None:
        super().__init__()
        self._seen: Collection[str] = ()

    def show(self, seen: Collection[str]) -> None:
        """Marks the panels that are seen."""
        self._seen = tuple(seen)
        self.draw(lambda width: [self._line(width)])

    def on_click(self, event: events.Click) -> None:
        if name := event.style.meta.get("panel"):
            self.post_message(self.Picked(name))

    def _line(self, width: int) -> Content:
        """Every panel's name where they fit, else without those on request, else only of those that are seen."""
        forms = [self._named(list(NEEDS), gap) for gap in (3, 2, 1)]
        forms.append(self._named({*NEEDS} - ON_REQUEST | {*self._seen}, 1))
        return next((form for form in forms if form.cell_length <= width), self._named(self._seen, 2))

    def _named(self, named: Collection[str], gap: int) -> Content:
        entries = []
        for panel in PANELS:
            text = f"{panel.NUMBER} {panel.NAME}" if panel.NAME in named else panel.NUMBER
            entry = Content.styled(text, ACCENT if panel.NAME in self._seen else MUTED)
            entries.append(entry.stylize(Style.from_meta({"panel": panel.NAME})))
        return Content(" " * gap).join(entries)


class Tiles(Layout):
    """Puts every panel where an arrangement wants it.

    Textual's Grid cannot: which column a panel is in, and whether it is shown at all, depends on the room.
    """

    name = "tiles"

    def arrange(self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True) -> ArrangeResult:
        assert isinstance(parent, Workspace)
        tiles = parent.arrangement.tiles(*size)
        shown = [child for child in children if child.id in tiles]
        return [WidgetPlacement(tiles[child.id or ""], NULL_OFFSET, NULL_SPACING, child) for child in shown]


class Workspace(Container):
    """All panels of a run, of which those with a tile are displayed."""

    class Rearranged(Message):
        """Other panels are seen, or the same ones elsewhere."""

    def __init__(self, arrangement: Arrangement, image_mode: ImageMode) -> None:
        self.panels = {panel.NAME: ImagesPanel(image_mode) if panel is ImagesPanel else panel() for panel in PANELS}
        super().__init__(*self.panels.values())
        self.arrangement = arrangement
        self._tiles = Tiles()

    @property
    def layout(self) -> Layout:
        """The tiles, which a style sheet could not name."""
        return self._tiles

    @property
    def seen(self) -> list[Panel]:
        """The panels that are shown, in the order of their numbers."""
        maximized = self.screen.maximized
        tiles = self.arrangement.tiles(*self.size)
        return [panel for name, panel in self.panels.items() if (panel is maximized if maximized else name in tiles)]

    def arrange_as(self, arrangement: Arrangement) -> None:
        """Shows other panels."""
        self.arrangement = arrangement
        self.display_seen()
        self.refresh(layout=True)

    def suggest(self, names: tuple[str, ...]) -> None:
        """Lets these panels come before others that nobody asked for."""
        if self.arrangement.suggested != names:
            self.arrange_as(replace(self.arrangement, suggested=names))

    def on_resize(self) -> None:
        self.display_seen()

    def display_seen(self) -> None:
        """Displays the panels that there is room for, and moves the focus from one that is not seen any more."""
        seen = self.seen
        for panel in self.panels.values():
            panel.display = panel in seen
        focused = self.screen.focused
        # On the slider, or elsewhere outside, the focus stays.
        on_hidden_panel = focused is None or self in focused.ancestors
        if seen and on_hidden_panel and not any(panel in (focused or self).ancestors_with_self for panel in seen):
            seen[0].focus(scroll_visible=False)
        self.post_message(self.Rearranged())
