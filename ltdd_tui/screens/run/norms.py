"""Norms panel: the norm of the classifier's weights for each class, as upright columns."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from ltdd_tui.runs.figures import ClassifierNorms, NormSeries, norms_by_class
from ltdd_tui.runs.state import RunView
from ltdd_tui.screens.panel import LinesPanel
from ltdd_tui.widgets.bars import FULL, cells, resampled
from ltdd_tui.widgets.lines import EMPTY, MUTED, STRONG, group_style, spread, wrapped

WAITING = "known once the first expert is trained"


def norm_lines(norms: ClassifierNorms, width: int, height: int) -> list[Content]:
    """Each classifier has a line of words and columns below it; what rows are left over make the columns taller."""
    count = len(norms.series)
    if not count:
        return wrapped(WAITING, width, MUTED)
    each = max(1, (height - count) // count)
    spare = height - count - each * count
    lines: list[Content] = []
    for series in norms.series:
        lean = EMPTY
        if series.lean is not None:
            lean = Content.assemble(("head/tail ", MUTED), (f"{series.lean:.1f}", STRONG))
        lines += [spread(Content(series.label), lean, width), *_columns(series, norms, width, each)]
    shown = min(len(norms.groups), width)
    ends = spread(Content.styled("head", MUTED), Content.styled("tail", MUTED), shown * _stride(shown, width))
    return [*lines, ends] if spare > 0 else lines


def _columns(series: NormSeries, norms: ClassifierNorms, width: int, height: int) -> list[Content]:
    values = resampled(series.relative, width)
    stride = _stride(len(values), width)
    # Where several classes share a column, it has the color of the first of them.
    groups = [norms.groups[place * len(norms.groups) // len(values)] for place in range(len(values))]
    return [_row(row, groups, stride) for row in cells(values, norms.highest, height)]


def _row(row: str, groups: Sequence[str], stride: int) -> Content:
    gap = 1 if stride > 2 else 0
    parts: list[tuple[str, str]] = []
    for sign, group in zip(row, groups, strict=True):
        fill = sign == FULL and group_style(group) != ""
        parts += [((" " if fill else sign) * (stride - gap), group_style(group, fill)), (" " * gap, "")]
    return Content.assemble(*parts)


def _stride(count: int, width: int) -> int:
    """Cells from one column to the next: the same for all, so that no class looks more than another."""
    return max(1, width // max(1, count))


class NormsPanel(LinesPanel):
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
        state = view.state
        if self.changed(state.data, state.evaluations, state.experts_done):
            norms = norms_by_class(state)
            self.lines.draw(lambda width: norm_lines(norms, width, self.lines.size.height))
