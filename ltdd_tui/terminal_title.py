"""The title of the terminal's window, which is seen when the terminal itself is not."""

from __future__ import annotations

from textual.app import App

from ltdd_tui.drawing.lines import clean


def set_terminal_title(app: App[object], title: str) -> None:
    """Writes the title the way xterm taught every terminal; one that does not know it ignores it."""
    if app._driver is not None and not app.is_headless:
        app._driver.write(f"\x1b]2;{clean(title)}\x07")
