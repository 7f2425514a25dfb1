"""A run as it stood at an earlier iteration: the same view that panels draw, with what came later left out. Pure."""

from __future__ import annotations

from dataclasses import replace

from ltdd_tui.runs.stages import Stage, Stages
from ltdd_tui.runs.state import DISTILL, RunState, RunView

# What is evaluated before the first iteration; the final set and the best one are known only at the end.
EVALUATED_BEFORE = frozenset({"random", "initialization"})


def as_of(view: RunView, at: int | None) -> RunView:
    """The view at iteration `at`; None is the live end, and so are the last iteration and what lies past it."""
    if at is None or at >= view.state.iteration:
        return view
    log = [entry for entry in view.log if entry.iteration <= at]
    return replace(view, state=state_at(view.state, at), log=log, at=at)


def state_at(state: RunState, at: int) -> RunState:
    """The state when iteration `at` had just been done and evaluated."""
    steps = state.steps.until(at)
    return replace(
        state,
        status="running",
        steps=steps,
        stages=_stages_at(state.stages, at, steps.total_seconds),
        checkpoint=min(state.checkpoint, at),
        previews={iteration: preview for iteration, preview in state.previews.items() if iteration <= at},
        evaluations={
            key: event
            for key, event in state.evaluations.items()
            if event.subject in EVALUATED_BEFORE or (event.subject == "check" and (event.iteration or 0) <= at)
        },
        failures=(),
        finished=None,
    )


def _stages_at(stages: Stages, at: int, seconds: float) -> Stages:
    """Distill under way, `seconds` long so far, and what follows it still to come."""
    past = Stages(dict(stages.by_name))
    for name, stage in stages.by_name.items():
        if past.running:
            past.by_name[name] = Stage(name)
        elif name == DISTILL:
            past.by_name[name] = replace(
                stage, status="running", done=float(at), since=None, seconds=seconds, samples=()
            )
            past.running = DISTILL
    return past


def frames(state: RunState) -> list[int]:
    """The iterations with something to look at: a preview, a check, or a return after matching diverged."""
    checks = [event.iteration for event in state.evaluated("check") if event.iteration is not None]
    return sorted({0, *state.previews, *checks, *(event.back_to for event in state.recoveries)})
