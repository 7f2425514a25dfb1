"""Every run below the runs folder."""

from __future__ import annotations

from pathlib import Path

from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import Footer, Header, Static


class RunsScreen(Screen[None]):
    """Every run below the runs folder."""

    def __init__(self, runs_dir: Path) -> None:
        super().__init__()
        self._runs_dir = runs_dir

    def compose(self) -> ComposeResult:
        """Title, content, keys."""
        yield Header()
        yield Static("Runs")
        yield Footer()
