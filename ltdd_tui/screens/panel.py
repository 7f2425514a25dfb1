"""Base classes of the panels: a bordered box that is given the view of a run and draws its part of it."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content

from ltdd_tui.runs.state import RunView
from ltdd_tui.widgets.lines import LinesView


class Panel(Vertical, can_focus=True):
    """A bordered box with a title; `NUMBER` is the key that shows and hides it, `NAME` how layouts call it.

    `HELP` says in markdown what it shows and how to read it. `SHOWS_TIME` is whether it changes by itself while a
    run works.
    """

    NAME: ClassVar[str]
    NUMBER: ClassVar[str]
    TITLE: ClassVar[str]
    HELP: ClassVar[str] = ""
    SHOWS_TIME: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__(id=self.NAME, classes="panel")
        self.border_title = f"{self.NUMBER} {self.TITLE}"
        self._drawn: tuple[object, ...] = ()

    def entitle(self, title: Content, subtitle: Content) -> None:
        """Sets what the border says, where it differs: a border that is set draws all that it holds anew."""
        if title.markup != self.border_title:
            self.border_title = title
        if subtitle.markup != (self.border_subtitle or ""):
            self.border_subtitle = subtitle

    def show(self, view: RunView) -> None:
        """Draws its part of `view`; called a few times a second, so what did not change is not drawn anew."""
        raise NotImplementedError

    def changed(self, *parts: object) -> bool:
        """Whether the parts of a view that it draws are others than at the last call; compared by identity."""
        same = len(parts) == len(self._drawn) and all(
            new is old or (isinstance(new, int | str) and new == old)
            for new, old in zip(parts, self._drawn, strict=True)
        )
        self._drawn = parts
        return not same


class LinesPanel(Panel):
    """A panel whose content is lines that scroll, by the keys of lists too; `FOLLOWS` keeps the last one in sight."""

    FOLLOWS: ClassVar[bool] = False

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "scroll_lines(1)", "Down", show=False, id="panel.down"),
        Binding("up,k", "scroll_lines(-1)", "Up", show=False, id="panel.up"),
        Binding("pagedown,ctrl+d", "scroll_pages(1)", "Page down", show=False, id="panel.page_down"),
        Binding("pageup,ctrl+u", "scroll_pages(-1)", "Page up", show=False, id="panel.page_up"),
        Binding("home,g", "scroll_to_end(False)", "Top", show=False, id="panel.top"),
        Binding("end,G", "scroll_to_end(True)", "Bottom", show=False, id="panel.bottom"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.lines = LinesView(follows=self.FOLLOWS, classes="content")

    def compose(self) -> ComposeResult:
        yield self.lines

    def action_scroll_lines(self, count: int) -> None:
        self.lines.scroll_relative(y=count, animate=False)

    def action_scroll_pages(self, count: int) -> None:
        # One line of what is in sight stays there, for the eye to find its place.
        self.lines.scroll_relative(y=count * max(1, self.lines.size.height - 1), animate=False)

    def action_scroll_to_end(self, bottom: bool) -> None:
        self.lines.scroll_to(y=self.lines.max_scroll_y if bottom else 0, animate=False)
