"""Panes side by side where there is room, one at a time behind tabs where there is not."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.color import Color
from textual.containers import Horizontal, Vertical
from textual.events import DescendantFocus
from textual.widget import Widget
from textual.widgets import Footer, Static, Tab, Tabs
from textual.widgets._footer import FooterKey

from ltdd_tui.formatting import clean

# As strong as the frames of the other screens' panels in style.tcss.
PLAIN_FRAME = 0.22


@dataclass(frozen=True)
class Pane:
    """A widget whose id names it, what its tab says, and where the focus goes when one enters it."""

    widget: Widget
    title: str
    first: str


class Panes(Vertical):
    """The pane that has, or last had, the focus is the one that is seen in a narrow window.

    What changes with the focus is set by hand: a class would have all that is within a pane styled anew.
    """

    TITLE: ClassVar[str] = "Panes"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f6", "step(1)", "Next pane", show=False, id="panes.next"),
        Binding("shift+f6", "step(-1)", "Previous pane", show=False, id="panes.previous"),
    ]
    DEFAULT_CSS = """
    Panes { height: 1fr; }
    Panes > Horizontal { height: 1fr; }
    Panes > Tabs { display: none; height: 2; }
    Panes > Horizontal > * { border: round $foreground 22%; padding: 0 1; }
    Panes > Horizontal > * { border-title-color: $text-muted; border-subtitle-color: $text-muted; }
    """

    def __init__(self, *panes: Pane) -> None:
        super().__init__()
        self._panes = {pane.widget.id or "": pane for pane in panes}
        self._seen, self._framed = next(iter(self._panes)), ""
        self._one = False

    def compose(self) -> ComposeResult:
        yield Tabs(*(Tab(pane.title, id=f"tab-{name}") for name, pane in self._panes.items()))
        with Horizontal():
            for pane in self._panes.values():
                yield pane.widget

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self._frame(self._framed))

    def on_unmount(self) -> None:
        self.app.theme_changed_signal.unsubscribe(self)

    def one_at_a_time(self, narrow: bool) -> None:
        """Shows all panes, or one and the tabs."""
        self._one = narrow
        self.query_one(Tabs).display = narrow
        self._show()

    def see(self, name: str) -> None:
        """Shows a pane where only one has room."""
        if self._one and name != self._seen:
            # A widget that is hidden with the focus gives it up later, and would take it from the next one.
            self.screen.set_focus(None)
        self._seen = name
        self._show()
        tabs = self.query_one(Tabs)
        with tabs.prevent(Tabs.TabActivated):
            tabs.active = f"tab-{name}"

    def enter(self, name: str) -> None:
        """Shows a pane and puts the focus into it."""
        self.see(name)
        # At once, so that the next key is its own; where it lies is known only when the pane has been laid out.
        self.screen.set_focus(self.query(self._panes[name].first).first(), scroll_visible=False)
        self.call_after_refresh(self._scroll_to_focus)

    def _scroll_to_focus(self) -> None:
        # Keys that were typed ahead may have put it elsewhere meanwhile.
        if self.screen.focused is not None:
            self.screen.focused.scroll_visible(animate=False)

    def action_step(self, by: int) -> None:
        names = list(self._panes)
        self.enter(names[(names.index(self._seen) + by) % len(names)])

    @on(Tabs.TabActivated)
    def _tab(self, event: Tabs.TabActivated) -> None:
        event.stop()
        self.see((event.tab.id or "").removeprefix("tab-"))

    @on(DescendantFocus)
    def _follow(self, event: DescendantFocus) -> None:
        within = next((above.id for above in event.widget.ancestors if above.id in self._panes), None)
        if within is not None and within != self._framed:
            self._frame(within)
        if within is not None and within != self._seen:
            self.see(within)

    def _frame(self, name: str) -> None:
        """Frames the pane that has the focus."""
        self._framed = name
        primary, text = (Color.parse(self.app.theme_variables[key]) for key in ("primary", "foreground"))
        for other, pane in self._panes.items():
            styles = pane.widget.styles
            styles.border = ("round", primary if other == name else text.with_alpha(PLAIN_FRAME))
            for end in ("border_title", "border_subtitle"):
                if other == name:
                    styles.set_rule(f"auto_{end}_color", False)
                    styles.set_rule(f"{end}_color", primary)
                else:
                    styles.clear_rule(f"auto_{end}_color")
                    styles.clear_rule(f"{end}_color")

    def _show(self) -> None:
        for name, pane in self._panes.items():
            pane.widget.display = not self._one or name == self._seen


class TitleBar(Horizontal):
    """The first line of a screen: its title, a text beside it, and a place such as a folder at the right end."""

    DEFAULT_CSS = """
    TitleBar {
        height: 1; background: $panel; padding: 0 1;
        & > Static { width: auto; height: 1; }
        & > .title { text-style: bold; color: $text-primary; margin-right: 2; }
        & > .text { width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
        & > .place { color: $text-muted; max-width: 50%; text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = Static(title, classes="title", markup=False)
        self._text = Static(classes="text", markup=False)
        self._place = Static(classes="place", markup=False)

    def compose(self) -> ComposeResult:
        yield from (self._title, self._text, self._place)

    def tell(self, text: str, place: str = "") -> None:
        """Changes the two texts beside the title."""
        self._text.update(clean(text))
        self._place.update(clean(place))


class KeyFooter(Footer):
    """The last line of a screen: the keys that work now, each whole, as many as fit; the first ones are used most.

    Textual's own cuts off what does not fit, which is the program's keys: the ones for help and for going back.
    """

    ALWAYS: ClassVar[Collection[str]] = ("back", "leave", "help")
    """Actions whose keys keep their place in the narrowest terminal."""

    def __init__(self) -> None:
        super().__init__(compact=True, show_command_palette=False)
        self._hidden: Collection[str] = ()

    def hide(self, actions: Collection[str]) -> None:
        """Leaves out the keys of these actions: they would be refused now."""
        if actions != self._hidden:
            self._hidden = actions
            self.refresh(recompose=True)

    def on_resize(self) -> None:
        self.refresh(recompose=True)

    def compose(self) -> ComposeResult:
        if not self._bindings_ready:
            return
        bindings = [active for active in self.screen.active_bindings.values() if active.binding.show and active.enabled]
        # Keys of one group, such as + and - for a zoom, share one entry.
        entries: dict[str, list[ActiveBinding]] = {}
        for active in bindings:
            if active.binding.action not in self._hidden:
                group = active.binding.group
                entries.setdefault(group.description if group else active.binding.action, []).append(active)
        keys = {name: self._key(of_entry) for name, of_entry in entries.items()}
        widths = {name: cell_len(f"{key.key_display} {key.description} ") for name, key in keys.items()}
        room = self.app.size.width - sum(widths[name] for name in self.ALWAYS if name in widths)
        for name, key in keys.items():
            # The last one needs no space behind it.
            if name in self.ALWAYS:
                yield key
            elif room >= widths[name] - 1:
                room -= widths[name]
                yield key

    def _key(self, of_entry: list[ActiveBinding]) -> FooterKey:
        first = of_entry[0].binding
        # Of several keys that do the same, the first is enough.
        by_action = {active.binding.action: active.binding for active in reversed(of_entry)}
        keys = reversed([self.app.get_key_display(binding) for binding in by_action.values()])
        description = first.group.description if first.group else first.description
        # Not bound to Footer.compact, as Textual's own are: the footer would keep every key that it ever showed.
        return FooterKey(first.key, "".join(keys), description, first.action, tooltip=first.tooltip)
