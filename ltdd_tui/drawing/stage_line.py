"""The stages of a run in one line: done, under way, to come."""

from __future__ import annotations

from ltdd_tui.drawing.lines import EMPTY, Line, Span, cut, joined, width_of
from ltdd_tui.stages import Stage
from ltdd_tui.state import RunState
from ltdd_tui.wording import duration, stage_name

ARROW = " › "
BAR_CELLS = (24, 14, 8)
DONE, BROKEN = "✓", "■"


def stage_line(state: RunState, now: float, width: int) -> Line:
    """The longest of several forms that fits: with times and totals, with names alone, then the present stage alone."""
    stages = list(state.stages.by_name.values())
    if not stages:
        return (Span("no stage yet", "muted"),)
    forms = [
        *(joined([_words(stage, now, cells, full=True) for stage in stages], ARROW) for cells in BAR_CELLS),
        joined([_words(stage, now, BAR_CELLS[-1], full=False) for stage in stages], ARROW),
        *(_short(stages, now, cells) for cells in BAR_CELLS),
    ]
    return next((form for form in forms if width_of(form) <= width), cut(forms[-1], width))


def _words(stage: Stage, now: float, cells: int, full: bool) -> Line:
    name = stage_name(stage.name)
    if stage.status == "done":
        return (
            (Span(f"{DONE} {name}", "good"), Span(f" {duration(stage.seconds)}", "muted"))
            if full
            else (Span(name, "good"),)
        )
    if stage.status == "pending":
        return (Span(name, "muted"),)
    return _under_way(stage, cells)


def _under_way(stage: Stage, cells: int) -> Line:
    still = stage.status == "interrupted"
    share = min(1.0, stage.done / stage.total) if stage.total else 0.0
    filled = round(share * cells)
    return (
        Span(f"{BROKEN} " if still else "", "warning"),
        Span(stage_name(stage.name).upper(), "warning" if still else "accent"),
        Span(f" {count(stage.done)}/{count(stage.total)} "),
        Span("━" * filled, "warning" if still else "accent"),
        Span("─" * (cells - filled), "track"),
        Span(f" {100 * share:.0f}%"),
    )


def _short(stages: list[Stage], now: float, cells: int) -> Line:
    """A sign for each stage that is over, the one under way, and the name of the next."""
    over = sum(stage.status == "done" for stage in stages)
    present: Line = next((_under_way(s, cells) for s in stages if s.status in {"running", "interrupted"}), EMPTY)
    coming = [stage_name(stage.name) for stage in stages if stage.status == "pending"]
    more = f" +{len(coming) - 1}" if coming[1:] else ""
    rest: Line = (Span(f"then {coming[0]}{more}", "muted"),) if coming else EMPTY
    done: Line = (Span(DONE * over, "good"), Span(f" {over} of {len(stages)} stages", "muted")) if over else EMPTY
    return joined((done, present, rest), ARROW)


def count(units: float) -> str:
    """`6,420`, or `2.5` where a unit is long."""
    return f"{units:,.0f}" if units == int(units) else f"{units:,.1f}"
