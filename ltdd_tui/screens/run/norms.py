"""The classifier's weights by class: the balance picture."""

from __future__ import annotations

from collections.abc import Sequence

from ltdd_tui.runs.figures import ClassifierNorms, NormSeries, norms_by_class
from ltdd_tui.runs.state import RunView
from ltdd_tui.screens.run.panel import RowsPanel
from ltdd_tui.widgets.bars import FULL, cells, resampled
from ltdd_tui.widgets.lines import COLORS, EMPTY, FILL, Line, Span, spread, wrapped

# The balance picture as upright columns, one a class, in the colors of many, medium and few.


WAITING = "known once the first expert is trained"


def norm_lines(found: ClassifierNorms, width: int, height: int) -> list[Line]:
    """Each classifier has a line of words and columns below it; what rows are left over make the columns taller."""
    count = len(found.series)
    if not count:
        return wrapped(WAITING, width, "muted")
    each = max(1, (height - count) // count)
    spare = height - count - each * count
    lines: list[Line] = []
    for series in found.series:
        lines.append(_words(series, width))
        lines += _columns(series, found, width, each)
    shown = min(len(found.groups), width)
    used = shown * _stride(shown, width)
    return [*lines, spread((Span("head", "muted"),), (Span("tail", "muted"),), used)] if spare > 0 else lines


def _words(series: NormSeries, width: int) -> Line:
    lean = EMPTY if series.lean is None else (Span("head/tail ", "muted"), Span(f"{series.lean:.1f}", "strong"))
    return spread((Span(series.label),), lean, width)


def _columns(series: NormSeries, found: ClassifierNorms, width: int, height: int) -> list[Line]:
    values = resampled(series.relative, width)
    stride = _stride(len(values), width)
    # Where several classes share a column, it has the color of the first of them.
    roles = [found.groups[place * len(found.groups) // len(values)] for place in range(len(values))]
    return [_row(row, roles, stride) for row in cells(values, found.highest, height)]


def _row(row: str, roles: Sequence[str], stride: int) -> Line:
    gap = 1 if stride > 2 else 0
    line: list[Span] = []
    for sign, role in zip(row, roles, strict=True):
        full = sign == FULL and role in COLORS
        line.append(Span((" " if full else sign) * (stride - gap), role + FILL if full else role))
        line += [Span(" ")] * gap
    return tuple(line)


def _stride(count: int, width: int) -> int:
    """Cells from one column to the next: the same for all, so that no class looks more than another."""
    return max(1, width // max(1, count))


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

    def show(self, view: RunView) -> None:
        """Draws the norms."""
        state = view.state
        if self.changed(state.data, state.evaluations, state.experts_done):
            found = norms_by_class(state)
            self.rows.draw(lambda width: norm_lines(found, width, self.rows.size.height))
