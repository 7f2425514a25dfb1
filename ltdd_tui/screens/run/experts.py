"""The experts: how far they are, and what they know of head and tail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.run.metrics import GROUPS
from ltdd_tui.formatting import percent
from ltdd_tui.runs.figures import ExpertRow, ExpertSplit, expert_splits, number
from ltdd_tui.runs.state import RunView
from ltdd_tui.screens.run.panel import RowsPanel
from ltdd_tui.widgets.bars import cells, resampled
from ltdd_tui.widgets.lines import EMPTY, Lazy, Line, Span, fit, wrapped

# The experts as a table: each kind with its split of head against tail, then one line an expert.


HEADS = {"all": "muted", "many": "many", "med.": "medium", "few": "few"}
FIGURE_CELLS, NAME_CELLS, SHORTEST_NAME = 6, 14, 8
WAITING = "no expert has been trained yet"
CACHED = "from the cache"


def expert_lines(splits: Sequence[ExpertSplit], width: int) -> Sequence[Line]:
    """The table in `width` cells; the lines of single experts are made when they are looked at."""
    if not splits:
        return wrapped(WAITING, width, "muted")
    columns = _Columns(splits, width)
    entries: list[Line | ExpertRow] = [_head(columns), *(_split_line(split, columns) for split in splits)]
    for split in splits:
        entries += [EMPTY, (Span(f"{split.kind} experts", "muted"),), *split.rows]

    def make(place: int) -> Line:
        entry = entries[place]
        return _row_line(entry, columns) if isinstance(entry, ExpertRow) else entry

    return Lazy(len(entries), make)


class _Columns:
    """The cells of the name, of how much is done, and of each figure; room left over makes them wider."""

    def __init__(self, splits: Sequence[ExpertSplit], width: int) -> None:
        counts = [f"{split.done}/{split.total}" for split in splits]
        counts += [f"{row.epoch}/{row.epochs}" for split in splits for row in split.rows[-1:]]
        self.done = max(map(len, counts)) + 2
        spare = width - NAME_CELLS - self.done - FIGURE_CELLS * len(HEADS)
        self.figure = FIGURE_CELLS + (1 if spare >= len(HEADS) else 0)
        self.name = max(SHORTEST_NAME, width - self.done - self.figure * len(HEADS))


def _head(columns: _Columns) -> Line:
    figures = [Span(fit(text, columns.figure, right=True), role) for text, role in HEADS.items()]
    return (Span(" " * columns.name), Span(fit("done", columns.done, right=True), "muted"), *figures)


def _split_line(split: ExpertSplit, columns: _Columns) -> Line:
    done = fit(f"{split.done}/{split.total}", columns.done, right=True)
    figures = _figures(split.accuracy, split.groups, columns, "strong")
    return (Span(fit(split.kind, columns.name)), Span(done), *figures)


def _row_line(row: ExpertRow, columns: _Columns) -> Line:
    label, loss = fit(f"#{row.number}", 5), fit("" if row.loss is None else f"{row.loss:.3f}", 6, right=True)
    room = max(0, columns.name - len(label) - len(loss))
    trend = CACHED if row.cached else _trend(row, room - 1)
    return (
        Span(label, "muted"),
        Span(fit(trend, room), "muted" if row.cached else "accent"),
        Span(loss),
        Span(fit(f"{row.epoch}/{row.epochs}" if row.epochs else "", columns.done, right=True), "muted"),
        *_figures(row.accuracy, row.groups or {}, columns),
    )


def _figures(accuracy: float | None, groups: Mapping[str, float | None], columns: _Columns, role: str = "") -> Line:
    if accuracy is None and not groups:
        return EMPTY
    figures = [accuracy, *(groups.get(group) for group in GROUPS)]
    return tuple(Span(fit(percent(value), columns.figure, right=True), role) for value in figures)


def _trend(row: ExpertRow, width: int) -> str:
    """The training losses as one row of columns, as much of it as there are epochs done."""
    losses = [number(epoch.loss) for epoch in row.history]
    known = [loss for loss in losses if loss is not None]
    if not known or width < 4:
        return ""
    share = min(1.0, len(losses) / row.epochs) if row.epochs else 1.0
    return cells(resampled(losses, max(1, round(width * share))), max(known), 1)[0]


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

    def show(self, view: RunView) -> None:
        """Draws the experts."""
        state = view.state
        if self.changed(state.data, state.expert_epochs, state.experts_done):
            splits = expert_splits(state)
            self.rows.draw(lambda width: expert_lines(splits, width))
