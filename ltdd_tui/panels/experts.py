"""The experts: how far they are, and what they know of head and tail."""

from __future__ import annotations

from ltdd_tui.drawing.expert_lines import expert_lines
from ltdd_tui.expert_figures import expert_splits
from ltdd_tui.live import View
from ltdd_tui.panels.panel import RowsPanel


class ExpertsPanel(RowsPanel):
    """Each kind of expert with its accuracy by group, and each single one with its training."""

    NAME = "experts"
    NUMBER = "6"
    TITLE = "Experts"
    HELP = """\
Experts are networks trained on all long-tailed images; the synthetic set is made so that training on it moves a network
as training on those images moved them.

- **representation** experts are trained plainly: good at *many*, poor at *few*
- **classifier** experts keep that network and train its classifier anew, balanced: better at *few*

The table above gives their mean test accuracy in percent, of all classes and by group. Below is one line an expert: the
course of its training loss, the loss now, its epoch, and its accuracy once it is done.
"""

    def show(self, view: View) -> None:
        """Draws the experts."""
        state = view.state
        if self.changed(state.data, state.experts):
            splits = expert_splits(state)
            self.rows.draw(lambda width: expert_lines(splits, width))
