"""Help for what is on the screen: what it shows, every key that works there, and where keys are changed."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rich.table import Table
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen
from textual.widgets import Markdown, Static

from ltdd_tui.formatting import short_path
from ltdd_tui.keys import KeyGroup

CHANGE_KEYS = """[b]Your own keys[/b]

In [$text-accent]$path[/], by the ids at the right. Commas give several keys:

[$text-success]keys:
  runs.open: enter,l
  app.runs: ctrl+l[/]

The command palette ($palette) makes that file, changes the theme, and more."""


class HelpScreen(ModalScreen[None]):
    """A page of help; `texts` are in markdown."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,f1,question_mark", "close", "Close", id="help.close"),
        Binding("j", "scroll(1)", "Down", show=False, id="help.down"),
        Binding("k", "scroll(-1)", "Up", show=False, id="help.up"),
        Binding("g", "scroll(-100000)", "First", show=False, id="help.first"),
        Binding("G", "scroll(100000)", "Last", show=False, id="help.last"),
    ]
    DEFAULT_CSS = """
    HelpScreen {
        align: center middle;
        & > VerticalScroll {
            width: 100; max-width: 96%; height: 92%; padding: 0 2; background: $surface;
            border: round $primary; border-title-color: $text; border-subtitle-color: $text-muted;
            scrollbar-size-vertical: 1;
        }
        Markdown { padding: 0; margin: 1 0 0 0; background: transparent; }
        .keys { height: auto; margin-top: 1; }
    }
    """

    def __init__(self, texts: Sequence[str], groups: Sequence[KeyGroup], preferences: Path, palette: str) -> None:
        super().__init__()
        self._texts, self._groups = texts, groups
        self._preferences, self._palette = preferences, palette

    def compose(self) -> ComposeResult:
        with VerticalScroll() as page:
            page.border_title = "Help"
            page.border_subtitle = "escape closes"
            for text in self._texts:
                yield Markdown(inspect.cleandoc(text))
            for group in self._groups:
                yield Static(self._table(group), classes="keys")
            path = short_path(self._preferences)
            yield Static(Content.from_markup(CHANGE_KEYS, path=path, palette=self._palette), classes="keys")

    def _table(self, group: KeyGroup) -> Table:
        colors = self.app.theme_variables
        table = Table(box=None, pad_edge=False, expand=True, padding=(0, 2, 0, 0), show_header=False)
        table.title, table.title_justify, table.title_style = f"Keys {group.title}", "left", "bold"
        table.add_column(width=20, style=colors["text-accent"])
        table.add_column(ratio=1)
        table.add_column(style="dim", width=24)
        for row in group.rows:
            table.add_row(row.keys, row.what, row.id)
        return table

    def action_close(self) -> None:
        """Closes the help."""
        self.dismiss(None)

    def action_scroll(self, lines: int) -> None:
        """Scrolls by lines."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)


def help_texts(screen: Screen[object]) -> list[str]:
    """The HELP of the focused widget, its panel and the screen, in this order."""
    nodes: list[DOMNode] = [*(screen.focused.ancestors_with_self if screen.focused else [screen])]
    return list(dict.fromkeys(text for node in nodes if (text := getattr(node, "HELP", ""))))
