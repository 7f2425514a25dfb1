"""The slider over a run's iterations as a line: where it stands, and where pictures and checks were kept."""

from __future__ import annotations

from collections.abc import Sequence

from ltdd_tui.drawing.lines import Line, Span, fit
from ltdd_tui.drawing.stage_line import count

KNOB = "●"
BEHIND, AHEAD = ("━", "┻"), ("─", "┴")
LABEL_CELLS, SHORTEST = 10, 6


def scrub_line(at: int | None, last: int, frames: Sequence[int], width: int, playing: bool, end: str) -> Line:
    """The slider at iteration `at` of `last`, None is the `end`; `frames` are the iterations with a mark."""
    if not last:
        return (Span(fit("replay", LABEL_CELLS), "muted"), Span("no iteration yet", "muted"))
    begin, track = track_of(last, width)
    role = "muted" if at is None else "warning"
    knob = _cell(at, last, track)
    kept = {_cell(frame, last, track) for frame in frames}
    where = end if at is None else f"{count(at)} of {count(last)}"
    return (
        Span(fit("▶ playing" if playing else "replay", begin), "warning" if playing else role),
        Span("".join(BEHIND[cell in kept] for cell in range(knob)), role),
        Span(KNOB, role),
        Span("".join(AHEAD[cell in kept] for cell in range(knob + 1, track)), "track"),
        Span(fit(where, width - begin - track, right=True), "good" if at is None else role),
    )


def track_of(last: int, width: int) -> tuple[int, int]:
    """The first cell of the track, and how many it has."""
    room = len(f"{count(last)} of {count(last)}") + 1
    return LABEL_CELLS, max(SHORTEST, width - LABEL_CELLS - room)


def iteration_at(x: int, last: int, width: int) -> int | None:
    """The iteration below the cell `x` of the line; None at the right end, which is live."""
    begin, track = track_of(last, width)
    at = round(min(1.0, max(0.0, (x - begin) / (track - 1))) * last)
    return None if at >= last else at


def _cell(at: int | None, last: int, track: int) -> int:
    return track - 1 if at is None or at >= last else round(at / last * (track - 1))
