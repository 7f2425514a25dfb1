"""The log: what happened, and when."""

from __future__ import annotations

from textual.content import Content

from ltdd_tui.drawing.log_lines import log_lines
from ltdd_tui.live import View
from ltdd_tui.panels.panel import RowsPanel

WARNING = "$text-warning"


class LogPanel(RowsPanel):
    """One entry for each thing a person may want to know, the newest at the bottom."""

    NAME = "log"
    NUMBER = "5"
    TITLE = "Log"
    HELP = """\
What happened, with the time of day: stages that ended, checks and their accuracy, warnings with what to do about them,
errors. The newest entry is at the bottom and stays in sight unless you scroll up. The same entry said several times in
a row is shown once, with how often.
"""
    FOLLOWS = True

    def show(self, view: View) -> None:
        """Draws what has been said."""
        if self.changed(view.log):
            log, count = view.log, len(view.state.warnings)
            words = f"{count} warning{'s' if count > 1 else ''}" if count else ""
            self.border_subtitle = Content.styled(words, WARNING)
            self.rows.draw(lambda width: log_lines(log, width))
