"""Experts panel: how far each expert is trained, and its accuracy on the classes of head and tail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual.content import Content

from engine.run.metrics import GROUPS
from ltdd_tui.formatting import percent
from ltdd_tui.runs.figures import ExpertRow, ExpertSplit, expert_splits, number
from ltdd_tui.runs.state import EXPERT_STAGES, RunView
from ltdd_tui.screens.panel import LinesPanel
from ltdd_tui.widgets.bars import cells, resampled
from ltdd_tui.widgets.lines import ACCENT, EMPTY, MUTED, STRONG, LazyLines, Lines, fit, group_style, wrapped

TITLES = {"all": MUTED, "many": group_style("many"), "med.": group_style("medium"), "few": group_style("few")}
FIGURE_CELLS, NAME_CELLS, SHORTEST_NAME = 6, 14, 8
WAITING, NO_EXPERTS = "no expert has been trained yet", "this method has no experts"
CACHED = "cached"


def expert_lines(splits: Sequence[ExpertSplit], width: int, without: str = WAITING) -> Lines:
    """Each kind of expert with its split of head against tail, then a line for each expert of the kind.

    `without`: what is told where there is none.
    """
    if not splits:
        return wrapped(without, width, MUTED)
    columns = _Columns(splits, width)
    titles = [(fit(text, columns.figure, right=True), style) for text, style in TITLES.items()]
    head = Content.assemble(" " * columns.name, (fit("done", columns.done, right=True), MUTED), *titles)
    entries: list[Content | ExpertRow] = [head]
    for split in splits:
        done = fit(f"{split.done}/{split.total}", columns.done, right=True)
        figures = _figures(split.accuracy, split.groups, columns, STRONG)
        entries.append(Content.assemble(fit(split.kind, columns.name), done, figures))
    for split in splits:
        entries += [EMPTY, Content.styled(split.title, MUTED), *split.rows]
    return LazyLines(entries, lambda row: _row_line(row, columns))


class _Columns:
    """The cells of the name, of how much is done, and of each figure; room left over makes them wider."""

    def __init__(self, splits: Sequence[ExpertSplit], width: int) -> None:
        counts = [f"{split.done}/{split.total}" for split in splits]
        counts += [f"{row.epoch}/{row.epochs}" for split in splits for row in split.rows[-1:]]
        self.done = max(map(len, counts)) + 2
        spare = width - NAME_CELLS - self.done - FIGURE_CELLS * len(TITLES)
        self.figure = FIGURE_CELLS + (1 if spare >= len(TITLES) else 0)
        self.name = max(SHORTEST_NAME, width - self.done - self.figure * len(TITLES))


def _row_line(row: ExpertRow, columns: _Columns) -> Content:
    label = fit(f"#{row.number}", 5)
    loss = "" if row.loss is None else fit(f"{row.loss:.3f}", 6, right=True)
    room = max(0, columns.name - len(label) - len(loss))
    trend = CACHED if row.cached else _trend(row, room - 1)
    return Content.assemble(
        (label, MUTED),
        (fit(trend, room), MUTED if row.cached else ACCENT),
        loss,
        (fit(f"{row.epoch}/{row.epochs}" if row.epochs else "", columns.done, right=True), MUTED),
        _figures(row.accuracy, row.groups or {}, columns),
    )


def _figures(accuracy: float | None, groups: Mapping[str, float | None], columns: _Columns, style: str = "") -> Content:
    if accuracy is None and not groups:
        return EMPTY
    figures = [accuracy, *(groups.get(group) for group in GROUPS)]
    return Content.styled("".join(fit(percent(value), columns.figure, right=True) for value in figures), style)


def _trend(row: ExpertRow, width: int) -> str:
    """The training losses as one row of columns, as much of it as there are epochs done."""
    losses = [number(epoch.loss) for epoch in row.history]
    known = [loss for loss in losses if loss is not None]
    if not known or width < 4:
        return ""
    share = min(1.0, len(losses) / row.epochs) if row.epochs else 1.0
    return cells(resampled(losses, max(1, round(width * share))), max(known), 1)[0]


class ExpertsPanel(LinesPanel):
    """Each kind of expert with its accuracy by group, and each single one with its training."""

    NAME = "experts"
    NUMBER = "6"
    TITLE = "Experts"
    HELP = """\
Experts are networks trained on all long-tailed images; the synthetic set is made so that training on it moves a network
as training on those images moved them.

- **representation** experts are trained plainly: good at *many*, poor at *few*
- **classifier** experts keep that network and train its classifier anew, balanced: better at *few*
- a **teacher**, where there is one, labels images; its networks are trained to favor no class

The table above gives their mean test accuracy in percent, of all classes and by group. Below is one line an expert: the
course of its training loss, the loss now, its epoch, and its accuracy once it is done.
"""

    def show(self, view: RunView) -> None:
        state = view.state
        without = WAITING if state.has_stage(*EXPERT_STAGES.values()) else NO_EXPERTS
        if self.changed(state.data, state.expert_epochs, state.experts_done, without):
            splits = expert_splits(state)
            self.lines.draw(lambda width: expert_lines(splits, width, without))
