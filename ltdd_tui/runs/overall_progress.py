"""How far a whole run is and how long it still takes: its stages, weighted by the seconds that they should take.

The worker tells these seconds when it begins (`RunStarted.estimated_seconds`). Weights stay as they are from then on,
so that the share never falls; what stages really took corrects only the time that is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ltdd_tui.runs.stages import Stage
from ltdd_tui.runs.state import DISTILL, EXPERT_STAGES, RunState

# Of a run that has no estimate: about what the stages of the default settings take of a hundred seconds (ours).
TYPICAL_SECONDS = {
    "data": 1.0,
    "experts": 40.0,
    "classifier_experts": 8.0,
    "teacher": 20.0,
    "initialize": 1.0,
    "baselines": 4.0,
    DISTILL: 40.0,
    "evaluate": 6.0,
}
# A machine that is this much slower or faster than it was estimated to be is not believed to be more so.
MOST_CORRECTION = 5.0
# That share of the whole estimate counts as kept: a second in which all went slowly says little of hours.
KEPT_SHARE = 0.05


@dataclass(frozen=True)
class OverallProgress:
    """`stage` is under way; `share` of the whole work is done, 0 to 1; `seconds_left` is None where it is not known."""

    stage: Stage
    share: float
    seconds_left: float | None


def overall_progress(state: RunState, now: float) -> OverallProgress | None:
    """The progress at `now` (seconds since 1970); None while no stage is under way.

    A finished run that is evaluated again has the progress of that evaluation.
    """
    stage = state.stages.current
    if stage is None:
        return None
    if state.status == "done":
        return OverallProgress(stage, stage.share, stage.seconds_left(now))
    estimated = state.started.estimated_seconds if state.started else {}
    return OverallProgress(stage, _share(state, estimated or TYPICAL_SECONDS), _seconds_left(state, estimated, now))


def _share(state: RunState, weights: Mapping[str, float | None]) -> float:
    """The furthest place that any stage has reached; a resumed run goes through its first stages once more."""
    furthest = before = 0.0
    for name, stage in state.stages.by_name.items():
        weight = weights.get(name) or 0.0
        if stage.status != "pending" or stage.reached:
            furthest = max(furthest, before + weight * stage.reached)
        before += weight
    return furthest / before if before else 0.0


def _seconds_left(state: RunState, estimated: Mapping[str, float | None], now: float) -> float | None:
    """The stage under way at its pace, and the estimates of those to come, as far as the machine kept to them so far.

    Where a stage has no pace yet its estimate stands for it; None without any estimates.
    """
    if not estimated or state.status != "running":
        return None
    stages = state.stages.by_name.values()
    # Checks are made while it distills, which its own seconds do not count; a disk's pace is not that of training; and
    # experts that were found in the cache took no time.
    from_cache = {EXPERT_STAGES[kind] for (kind, _), expert in state.experts_done.items() if expert.cached}
    left_out = {DISTILL, "data"} | from_cache
    estimated_ones = [stage for stage in stages if estimated.get(stage.name) and stage.name not in left_out]
    over = [stage for stage in estimated_ones if stage.status == "done"]
    kept = KEPT_SHARE * sum(seconds or 0.0 for seconds in estimated.values())
    measured = kept + sum(stage.seconds for stage in over)
    expected = kept + sum(estimated.get(stage.name) or 0.0 for stage in over)
    correction = min(MOST_CORRECTION, max(1 / MOST_CORRECTION, measured / expected)) if expected else 1.0
    left = 0.0
    for stage in stages:
        if stage.status != "done":
            by_estimate = correction * (estimated.get(stage.name) or 0.0) * (1 - stage.share)
            by_pace = stage.seconds_left(now)
            left += by_estimate if by_pace is None else by_pace
    return left
