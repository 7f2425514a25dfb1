"""The synthetic images at an iteration: one class, all classes or one image large."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from ltdd_tui.live import View
from ltdd_tui.panels.panel import Panel


class ImagesPanel(Panel):
    """The synthetic images with their soft labels."""

    NAME = "images"
    NUMBER = "4"
    TITLE = "Synthetic images"

    def compose(self) -> ComposeResult:
        """Pictures beside the label of the selected one."""
        yield Static("no preview yet")

    def show(self, view: View) -> None:
        """Draws the pictures of `view`."""
