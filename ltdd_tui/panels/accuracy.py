"""Accuracy by class: does the tail live?"""

from __future__ import annotations

from textual.app import ComposeResult

from engine.run.events import Evaluated
from ltdd_tui.drawing.class_lines import MOST_WITH_SCALE, class_lines, foot_lines
from ltdd_tui.live import View
from ltdd_tui.panels.panel import RowsPanel
from ltdd_tui.panels.rows import Rows
from ltdd_tui.standings import Standings, standings
from ltdd_tui.state import NO_EXPERTS
from ltdd_tui.wording import mean_and_std


class AccuracyPanel(RowsPanel):
    """Every class as a bar, the head at the top, the tail at the bottom."""

    NAME = "accuracy"
    NUMBER = "1"
    TITLE = "Accuracy by class"
    HELP = """\
Test accuracy of a fresh network that saw the synthetic images alone, class by class, from the class with most
training images (head) to the one with fewest (tail).

- the **bar** is the last check; its color is the class's group: many, medium or few images
- the number behind it is the accuracy in percent, then its change since the check before
- `r` is what as many **random** real images reach, `i` the set that distillation **started** from
- `│` is the bound: what the experts reach, which saw **all** long-tailed images

A tail that lives has bars far right of their `r` and `i`. Where two marks meet, the later of r, i, │ is shown.
"""
    DEFAULT_CSS = """
    AccuracyPanel .foot { height: 1; }
    AccuracyPanel .foot.-with-scale { height: 2; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._foot = Rows(classes="foot")

    def compose(self) -> ComposeResult:
        """The bars, and below them the groups."""
        yield self.rows
        yield self._foot

    def show(self, view: View) -> None:
        """Draws the standings."""
        state = view.state
        done = (state.experts.get(kind, NO_EXPERTS).done for kind in ("classifier", "representation"))
        if not self.changed(state.data, state.evaluations, *done):
            return
        found = standings(state)
        self.border_title = _title(found)
        self.border_subtitle = _legend(found)
        self._foot.set_class(len(found.classes) > MOST_WITH_SCALE, "-with-scale")
        self.rows.draw(lambda width: class_lines(found, width, self.rows.size.height))
        self._foot.draw(lambda width: foot_lines(found, width))


def _title(found: Standings) -> str:
    title = f"{AccuracyPanel.NUMBER} {AccuracyPanel.TITLE}"
    if found.last:
        title += f" ── last {_figure(found.last)}"
    if found.best:
        title += f"  best {_figure(found.best)}" + (f" @ {found.best.iteration}" if found.best.iteration else "")
    return title


def _figure(event: Evaluated) -> str:
    return mean_and_std(event.accuracy_mean, event.accuracy_std, event.repeats)


def _legend(found: Standings) -> str:
    return f"r random  i start  │ {found.bound_of or 'bound'}"
