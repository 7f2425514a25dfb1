"""All that is known about a run, folded from its events one by one: `apply(state, event) -> state`, pure.

`fold` replays what a feed gave; the result does not depend on how the events were cut into batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from engine.run import events as e
from ltdd_tui.replaced import replaced
from ltdd_tui.series import Series
from ltdd_tui.stages import Stage, Stages
from ltdd_tui.steps import Steps
from ltdd_tui.table import Table

Status = Literal["waiting", "running", "stopped", "failed", "crashed", "done"]
EvaluationKey = tuple[str, int | None, str]
DISTILL = "distill"


@dataclass(frozen=True)
class Experts:
    """The experts of one kind: training losses by expert, epoch by epoch, and what is known of the finished ones."""

    losses: Table[int, Series[e.ExpertEpoch]] = field(default_factory=Table)
    done: Table[int, e.ExpertDone] = field(default_factory=Table)


NO_EXPERTS = Experts()


@dataclass(frozen=True)
class RunState:
    """What a screen or a table draws. Times are seconds since 1970, accuracies percent, iterations count from 1.

    `evaluations` are keyed by (subject, iteration, architecture), `previews` by iteration; `checkpoint` is the last
    iteration that survives a crash.
    """

    status: Status = "waiting"
    started: e.RunStarted | None = None
    first_seconds: float | None = None
    last_seconds: float | None = None
    data: e.DataReady | None = None
    stages: Stages = field(default_factory=Stages)
    experts: dict[e.ExpertKind, Experts] = field(default_factory=dict)
    initialized: e.Initialized | None = None
    steps: Steps = field(default_factory=Steps)
    checkpoint: int = 0
    previews: Table[int, e.Preview] = field(default_factory=Table)
    evaluations: Table[EvaluationKey, e.Evaluated] = field(default_factory=Table)
    reading: e.DeviceReading | None = None
    warnings: Series[e.Warned] = field(default_factory=Series)
    failures: tuple[e.RunBroke, ...] = ()
    finished: e.RunFinished | None = None

    @property
    def iteration(self) -> int:
        """The last outer iteration, 0 before the first."""
        return self.steps.last or 0

    @property
    def points(self) -> Series[e.MatchingStep]:
        """The matching losses by ascending iteration."""
        return self.steps.in_order()

    def seconds_left(self, now: float) -> float | None:
        """Seconds until the present stage ends at its recent pace, or None where that is not known yet."""
        stage = self.stages.current
        return stage.seconds_left(now) if stage and self.status == "running" else None


def fold(state: RunState, items: Iterable[e.Stamped | e.Warned]) -> RunState:
    """The state after all `items`."""
    for item in items:
        state = apply(state, item)
    return state


def apply(state: RunState, item: e.Stamped | e.Warned) -> RunState:
    """The state after one item of a feed; `state` itself stays as it is."""
    if isinstance(item, e.Warned):
        return replace(state, warnings=state.warnings.appended(item))
    try:
        changes = _REACTIONS[type(item.event)](state, item.event, item.seconds)
    except (TypeError, ValueError, AttributeError, OverflowError):
        misfit = e.Warned(f"event {item.seq} holds values of the wrong kind and was skipped")
        return replace(state, warnings=state.warnings.appended(misfit))
    if state.first_seconds is None:
        changes["first_seconds"] = item.seconds
    changes["last_seconds"] = item.seconds
    return replaced(state, changes)


def with_worker(state: RunState, alive: bool) -> RunState:
    """A run that says it is running while no worker holds it has crashed, when it last said something.

    Ask for the worker first and read the events after that, or a run that ends in between looks like a crash.
    """
    if state.status != "running" or alive:
        return state
    return replace(state, status="crashed", stages=state.stages.interrupted(state.last_seconds or 0.0))


Changes = dict[str, Any]


def _run_started(state: RunState, event: e.RunStarted, seconds: float) -> Changes:
    if not event.resumed:
        fresh = RunState(warnings=state.warnings)
        return vars(fresh) | {
            "status": "running",
            "started": event,
            "first_seconds": seconds,
            "stages": Stages.planned(event.stages),
        }
    at = state.checkpoint
    stages = state.stages.interrupted(state.last_seconds or seconds).with_plan(event.stages)
    return {
        "status": "running",
        "started": event,
        "failures": (),
        "finished": None,
        "stages": stages.set_back(DISTILL, float(at)),
        # What lies past the checkpoint comes again.
        "steps": state.steps.until(at),
        "previews": Table({key: preview for key, preview in state.previews.items() if key <= at}),
        "evaluations": Table({key: found for key, found in state.evaluations.items() if (key[1] or 0) <= at}),
    }


def _stage_started(state: RunState, event: e.StageStarted, seconds: float) -> Changes:
    # Distilling alone goes on from within; what other stages have finished they tell one by one.
    done = float(state.checkpoint) if event.stage == DISTILL else 0.0
    return {"stages": state.stages.begun(event, seconds, done)}


def _expert_epoch(state: RunState, event: e.ExpertEpoch, seconds: float) -> Changes:
    of_kind = state.experts.get(event.kind, NO_EXPERTS)
    losses = of_kind.losses.get(event.expert, Series())
    while losses and losses[-1].epoch >= event.epoch:
        losses = losses.first(len(losses) - 1)
    longer = of_kind.losses.with_item(event.expert, losses.appended(event))
    return {"experts": state.experts | {event.kind: replaced(of_kind, {"losses": longer})}}


def _expert_done(state: RunState, event: e.ExpertDone, seconds: float) -> Changes:
    of_kind = state.experts.get(event.kind, NO_EXPERTS)
    done = of_kind.done.with_item(event.expert, event)
    return {"experts": state.experts | {event.kind: replaced(of_kind, {"done": done})}}


def _matching_step(state: RunState, event: e.MatchingStep, seconds: float) -> Changes:
    stages = state.stages.progressed(DISTILL, event.iteration, None, seconds)
    return {"steps": state.steps.with_step(event), "stages": stages}


def _evaluated(state: RunState, event: e.Evaluated, seconds: float) -> Changes:
    return {"evaluations": state.evaluations.with_item((event.subject, event.iteration, event.arch), event)}


def _ended(state: RunState, status: Status, seconds: float, **changes: Any) -> Changes:
    """A finished result stays finished: what is asked of it later, and fails, does not undo it."""
    return changes | {
        "status": "done" if state.status == "done" else status,
        "stages": state.stages.interrupted(seconds),
    }


_REACTIONS: dict[type, Callable[[RunState, Any, float], Changes]] = {
    e.RunStarted: _run_started,
    e.DataReady: lambda state, event, seconds: {"data": event},
    e.StageStarted: _stage_started,
    e.StageProgress: lambda state, event, seconds: {
        "stages": state.stages.progressed(event.stage, float(event.done), event.total, seconds)
    },
    e.StageDone: lambda state, event, seconds: {"stages": state.stages.ended(event)},
    e.ExpertEpoch: _expert_epoch,
    e.ExpertDone: _expert_done,
    e.Initialized: lambda state, event, seconds: {"initialized": event},
    e.MatchingStep: _matching_step,
    e.Preview: lambda state, event, seconds: {"previews": state.previews.with_item(event.iteration, event)},
    e.Evaluated: _evaluated,
    e.Checkpointed: lambda state, event, seconds: {"checkpoint": event.iteration},
    e.DeviceReading: lambda state, event, seconds: {"reading": event},
    e.Warned: lambda state, event, seconds: {"warnings": state.warnings.appended(event)},
    e.RunFinished: lambda state, event, seconds: _ended(state, "done", seconds, finished=event),
    e.RunStopped: lambda state, event, seconds: _ended(state, "stopped", seconds),
    e.RunBroke: lambda state, event, seconds: _ended(state, "failed", seconds, failures=(*state.failures, event)),
}


def stage_named(state: RunState, name: str) -> Stage | None:
    """A stage of the run, or None where it has none of that name."""
    return state.stages.by_name.get(name)
