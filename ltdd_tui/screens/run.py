"""One run, live or finished."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import Footer, Header, Static

from engine.run.folder import RunFolder


class RunScreen(Screen[None]):
    """One run, live or finished."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self._folder = folder

    def compose(self) -> ComposeResult:
        """Title, content, keys."""
        yield Header()
        yield Static("Run")
        yield Footer()
