"""The classifier's weights by class: the balance picture."""

from __future__ import annotations

from ltdd_tui.balance import balance
from ltdd_tui.drawing.norm_lines import norm_lines
from ltdd_tui.live import View
from ltdd_tui.panels.panel import RowsPanel
from ltdd_tui.state import NO_EXPERTS


class NormsPanel(RowsPanel):
    """The norms of the classifier's rows, of the experts and of networks that saw the synthetic set."""

    NAME = "norms"
    NUMBER = "3"
    TITLE = "Classifier weight norms"
    HELP = """\
A classifier has one row of weights a class. Trained on a long tail, rows of the head grow large and those of the tail
stay small, so the head is predicted too often. Columns are classes from **head** (left) to **tail** (right); their
height is the row's norm over the mean of all rows; colors are the groups many, medium and few.

- **representation experts**: trained plainly on the long tail, they lean to the head
- **classifier experts**: their classifier was trained anew on balanced batches
- **synthetic set**: a fresh network that saw our synthetic images alone

Flat is balanced. `head/tail` is the mean of the first third of the classes over that of the last third: 1.0 at best.
"""

    def show(self, view: View) -> None:
        """Draws the norms."""
        state = view.state
        done = (state.experts.get(kind, NO_EXPERTS).done for kind in ("classifier", "representation"))
        if self.changed(state.data, state.evaluations, *done):
            found = balance(state)
            self.rows.draw(lambda width: norm_lines(found, width, self.rows.size.height))
