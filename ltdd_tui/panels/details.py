"""The run itself: its device, what made it, where it lies, and what each stage took."""

from __future__ import annotations

import time

from ltdd_tui.drawing.detail_lines import detail_lines
from ltdd_tui.live import View
from ltdd_tui.panels.panel import RowsPanel


class DetailsPanel(RowsPanel):
    """Device, settings, folder and stage times."""

    NAME = "details"
    NUMBER = "8"
    TITLE = "Device and run"
    SHOWS_TIME = True
    HELP = """\
The device and the most memory the worker has used on it, the settings' hash (equal hashes: the same experiment), the
seed, what published work reports for this cell, the folder of the run, and the time each stage has worked; `y` copies
the folder's path.
"""

    def show(self, view: View) -> None:
        """Draws the facts; while a stage works, its seconds change by themselves."""
        now = time.time() if view.state.status == "running" else 0.0
        if self.changed(view.state, view.settings, view.manifest, int(now)):
            self.rows.draw(lambda width: detail_lines(view, now, width))
