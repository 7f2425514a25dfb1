"""The verdict on a finished run, and what it chose by validation images, in words."""

from __future__ import annotations

from engine.run.metrics import diverged_text
from ltdd_tui.formatting import short_verdict
from ltdd_tui.runs.state import RunState, recovered_warning


def verdict_lines(state: RunState) -> tuple[str, list[str]] | None:
    """The advice of a finished run in a few words; then in a sentence, with its numbers, and what was kept and why."""
    if state.status != "done" or state.verdict is None or not state.verdict.sentence:
        return None
    advice, *numbers = state.verdict.sentence.split("; ")
    tests = state.data.test_images if state.data else 0
    measured = [f"measured on {tests:,} test images" + ", which no choice has seen" * state.validates] * (tests > 0)
    flagged = [event for event in state.evaluations.values() if event.diverged and event.subject != "check"]
    diverged = [f"{event.subject}{diverged_text(event)}: that accuracy is none of the images" for event in flagged]
    return short_verdict(state.verdict.use), [advice, *numbers, *diverged, *kept_lines(state), *measured]


def kept_lines(state: RunState) -> list[str]:
    """Which start and which set the run took by validation images, and why; and where its rates were halved."""
    last = {choice.of: choice for choice in state.choices}
    told = {"start": "started from", "stop": "matching stopped early", "set": "kept"}
    chosen = [f"{words} {last[of].chosen}: {last[of].why}" for of, words in told.items() if of in last]
    return [*chosen, *(recovered_warning(event).message for event in state.recoveries)]


def comparison(state: RunState) -> list[tuple[str, ...]]:
    """The table behind the verdict, titles first; empty without one. Lines of another program may differ in length."""
    rows = state.verdict.rows if state.verdict else []
    columns = min(map(len, rows), default=0)
    return [tuple(row[:columns]) for row in rows] if columns else []
