"""Two to six runs side by side."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import Footer, Header, Static

from engine.run.folder import RunFolder


class CompareScreen(Screen[None]):
    """Two to six runs side by side."""

    def __init__(self, folders: Sequence[RunFolder]) -> None:
        super().__init__()
        self._folders = folders

    def compose(self) -> ComposeResult:
        """Title, content, keys."""
        yield Header()
        yield Static("Compare")
        yield Footer()
