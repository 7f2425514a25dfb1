"""The form for a new run, and what it will cost."""

from __future__ import annotations

from pathlib import Path

from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import Footer, Header, Static


class LaunchScreen(Screen[None]):
    """The form for a new run, and what it will cost."""

    def __init__(self, runs_dir: Path, device: str) -> None:
        super().__init__()
        self._runs_dir = runs_dir
        self._device = device

    def compose(self) -> ComposeResult:
        """Title, content, keys."""
        yield Header()
        yield Static("Launch")
        yield Footer()
