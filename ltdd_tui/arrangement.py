"""Which panels of a run a person wants to see: hidden, brought to the front, maximized, or the present tab. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ltdd_tui.preferences import Layout
from ltdd_tui.state import RunState
from ltdd_tui.tiling import NEEDS, Tile, Tiling, are_tabs, tile


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
    def of(layout: Layout) -> Arrangement:
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
    return () if state.points else ("norms", "log", "experts")
