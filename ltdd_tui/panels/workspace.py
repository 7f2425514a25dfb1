"""The space in which the panels of a run lie: tiles side by side, or one at a time where there is little room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual.containers import Container
from textual.geometry import NULL_OFFSET, NULL_SPACING, Region, Size
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.message import Message
from textual.widget import Widget

from ltdd_tui.arrangement import Arrangement
from ltdd_tui.panels.panel import Panel
from ltdd_tui.tiling import are_tabs


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
