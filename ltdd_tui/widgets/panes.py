"""Panes side by side where there is room, one at a time behind tabs where there is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.events import DescendantFocus
from textual.widget import Widget
from textual.widgets import Tab, Tabs


@dataclass(frozen=True)
class Pane:
    """A widget whose id names it, what its tab says, and where the focus goes when one enters it."""

    widget: Widget
    title: str
    first: str


class Panes(Vertical):
    """The pane that has, or last had, the focus is the one that is seen in a narrow window."""

    TITLE: ClassVar[str] = "Panes"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f6", "step(1)", "Next pane", show=False, id="panes.next"),
        Binding("shift+f6", "step(-1)", "Previous pane", show=False, id="panes.previous"),
    ]
    DEFAULT_CSS = """
    Panes { height: 1fr; }
    Panes > Horizontal { height: 1fr; }
    Panes > Tabs { display: none; height: 2; }
    Panes.-one {
        & > Tabs { display: block; }
        & > Horizontal > * { display: none; }
        & > Horizontal > .-seen { display: block; }
    }
    """

    def __init__(self, *panes: Pane) -> None:
        super().__init__()
        self._panes = {pane.widget.id or "": pane for pane in panes}
        self._seen = next(iter(self._panes))
        self._panes[self._seen].widget.add_class("-seen")

    def compose(self) -> ComposeResult:
        """The tabs, which a wide window hides, and the panes."""
        yield Tabs(*(Tab(pane.title, id=f"tab-{name}") for name, pane in self._panes.items()))
        with Horizontal():
            for pane in self._panes.values():
                yield pane.widget

    def one_at_a_time(self, narrow: bool) -> None:
        """Shows all panes, or one and the tabs."""
        self.set_class(narrow, "-one")

    def see(self, name: str) -> None:
        """Shows a pane where only one has room."""
        if self.has_class("-one") and name != self._seen:
            # A widget that is hidden with the focus gives it up later, and would take it from the next one.
            self.screen.set_focus(None)
        self._seen = name
        for other, pane in self._panes.items():
            pane.widget.set_class(other == name, "-seen")
        tabs = self.query_one(Tabs)
        with tabs.prevent(Tabs.TabActivated):
            tabs.active = f"tab-{name}"

    def enter(self, name: str) -> None:
        """Shows a pane and puts the focus into it."""
        self.see(name)
        first = self.query(self._panes[name].first).first()
        self.call_after_refresh(first.focus)

    def action_step(self, by: int) -> None:
        """Enters the next pane, or the one before."""
        names = list(self._panes)
        self.enter(names[(names.index(self._seen) + by) % len(names)])

    @on(Tabs.TabActivated)
    def _tab(self, event: Tabs.TabActivated) -> None:
        event.stop()
        self.see((event.tab.id or "").removeprefix("tab-"))

    @on(DescendantFocus)
    def _follow(self, event: DescendantFocus) -> None:
        for above in event.widget.ancestors:
            if isinstance(above, Widget) and above.id in self._panes and above.id != self._seen:
                self.see(above.id)
