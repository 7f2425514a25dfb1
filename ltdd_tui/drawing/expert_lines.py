"""The experts as a table: each kind with its split of head against tail, then one line an expert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ltdd_tui.drawing.columns import columns, resampled
from ltdd_tui.drawing.lines import EMPTY, Lazy, Line, Span, fit
from ltdd_tui.expert_figures import ExpertRow, ExpertSplit
from ltdd_tui.results import GROUPS
from ltdd_tui.sound import number
from ltdd_tui.wording import percent

HEADS = ("all", *GROUPS)
FIGURE_CELLS, DONE_CELLS, SHORTEST_NAME = 7, 8, 15
WAITING = "no expert has been trained yet"
CACHED = "from the cache"


def expert_lines(splits: Sequence[ExpertSplit], width: int) -> Sequence[Line]:
    """The table in `width` cells; the lines of single experts are made when they are looked at."""
    if not splits:
        return [(Span(WAITING, "muted"),)]
    name = max(SHORTEST_NAME, width - DONE_CELLS - FIGURE_CELLS * len(HEADS))
    entries: list[Line | ExpertRow] = [_head(name), *(_split_line(split, name) for split in splits)]
    for split in splits:
        entries += [EMPTY, (Span(f"{split.kind} experts", "muted"),), *split.rows]

    def make(place: int) -> Line:
        entry = entries[place]
        return _row_line(entry, name) if isinstance(entry, ExpertRow) else entry

    return Lazy(len(entries), make)


def _head(name: int) -> Line:
    figures = [Span(fit(text, FIGURE_CELLS, right=True), text if text in GROUPS else "muted") for text in HEADS]
    return (Span(" " * name), Span(fit("done", DONE_CELLS, right=True), "muted"), *figures)


def _split_line(split: ExpertSplit, name: int) -> Line:
    done = fit(f"{split.done}/{split.total}", DONE_CELLS, right=True)
    return (Span(fit(split.kind, name)), Span(done), *_figures(split.accuracy, split.groups, "strong"))


def _row_line(row: ExpertRow, name: int) -> Line:
    label, loss = fit(f"#{row.number}", 5), fit("" if row.loss is None else f"{row.loss:.3f}", 6, right=True)
    room = name - len(label) - len(loss) - 1
    trend = CACHED if row.cached else _trend(row, room)
    epoch = f"{row.epoch}/{row.epochs}" if row.epochs else ""
    return (
        Span(label, "muted"),
        Span(fit(trend, room), "muted" if row.cached else "accent"),
        Span(f"{loss} "),
        Span(fit(epoch, DONE_CELLS, right=True), "muted"),
        *_figures(row.accuracy, row.groups or {}),
    )


def _figures(accuracy: float | None, groups: Mapping[str, float | None], role: str = "") -> Line:
    if accuracy is None and not groups:
        return EMPTY
    figures = [accuracy, *(groups.get(group) for group in GROUPS)]
    return tuple(Span(fit(percent(value), FIGURE_CELLS, right=True), role) for value in figures)


def _trend(row: ExpertRow, width: int) -> str:
    """The training losses as one row of columns, as much of it as there are epochs done."""
    losses = [number(epoch.loss) for epoch in row.history]
    known = [loss for loss in losses if loss is not None]
    if not known or width < 4:
        return ""
    share = min(1.0, len(losses) / row.epochs) if row.epochs else 1.0
    return columns(resampled(losses, max(1, round(width * share))), max(known), 1)[0]
