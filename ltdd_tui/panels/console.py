"""The console: what the worker printed."""

from __future__ import annotations

from ltdd_tui.drawing.lines import Line, wrapped
from ltdd_tui.live import View
from ltdd_tui.panels.panel import RowsPanel

NOTHING = "the worker has printed nothing, as it should be"


class ConsolePanel(RowsPanel):
    """The end of console.log."""

    NAME = "console"
    NUMBER = "7"
    TITLE = "Worker's console"
    HELP = """\
The end of `console.log`: what the worker, and the libraries it uses, printed. A healthy run prints little. After a
crash its last lines say most; the whole file lies in the run's folder.
"""
    FOLLOWS = True

    def show(self, view: View) -> None:
        """Draws what was printed."""
        if self.changed(view.console):
            printed = view.console
            self.rows.draw(lambda width: _rows(printed, width))


def _rows(printed: tuple[str, ...], width: int) -> list[Line]:
    if not printed:
        return wrapped(NOTHING, width, "muted")
    return [line for text in printed for line in wrapped(text, width)]
