"""All that is known about a run, folded from its events one by one: `apply(state, event) -> state`, pure.

`fold` replays what a feed gave; the result does not depend on how the events were cut into batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from engine.run import events as e
from engine.run.events import StageDone, StageStarted
from engine.run.folder import RunFolder
from engine.run.settings import RunSettings
from ltdd_tui.runs.loss_history import Series, Steps, Table, replaced

# The stages of a run as they go by: how far, since when, and how long still at the pace of late.


SAMPLES = 60
SAMPLE_SECONDS = 1.0


@dataclass(frozen=True)
class Stage:
    """One stage: `done` of `total` units. `since` is when it last began, `seconds` the work before that or in all.

    `samples` are (seconds since 1970, done), a second or more apart: the pace is measured over these.
    """

    name: str
    status: Literal["pending", "running", "interrupted", "done"] = "pending"
    done: float = 0.0
    total: int = 0
    unit: str = ""
    since: float | None = None
    seconds: float = 0.0
    samples: tuple[tuple[float, float], ...] = ()

    def elapsed(self, now: float) -> float:
        """Seconds of work in this stage until `now`, summed over interruptions."""
        return self.seconds + (max(0.0, now - self.since) if self.since is not None else 0.0)

    def pace(self, now: float) -> float | None:
        """Units a second over the samples kept, up to `now`: a stage that stands still gets slower and slower."""
        if len(self.samples) < 2:
            return None
        began, at = self.samples[0]
        passed = now - began
        return (self.done - at) / passed if passed > 0 and self.done > at else None

    def seconds_left(self, now: float) -> float | None:
        """Seconds until `total` is reached at that pace, or None before there is one."""
        pace = self.pace(now) if self.status == "running" else None
        return max(0.0, self.total - self.done) / pace if pace else None

    def progressed(self, done: float, total: int | None, seconds: float) -> Stage:
        """This stage with `done` units at `seconds`."""
        samples = self.samples
        if not samples or seconds - samples[-1][0] >= SAMPLE_SECONDS:
            samples = (*samples[-SAMPLES + 1 :], (seconds, done))
        changes = {"done": done, "total": self.total if total is None else total, "samples": samples}
        return replaced(self, changes)


@dataclass(frozen=True)
class Stages:
    """All stages in their order, and the name of the one that is under way."""

    by_name: dict[str, Stage] = field(default_factory=dict)
    running: str | None = None

    @staticmethod
    def planned(names: list[str]) -> Stages:
        """Stages that are still to come."""
        return Stages({name: Stage(name) for name in names})

    @property
    def current(self) -> Stage | None:
        """The stage under way, or None between stages."""
        return self.by_name.get(self.running) if self.running else None

    def with_plan(self, names: list[str]) -> Stages:
        """These stages, in the order of `names`, with those that are new among them."""
        planned = {name: self.by_name.get(name, Stage(name)) for name in names}
        return replace(self, by_name=planned | self.by_name)

    def begun(self, event: StageStarted, seconds: float, done: float = 0.0) -> Stages:
        """A stage begins, or goes on after an interruption, with `done` units behind it."""
        before = self.by_name.get(event.stage, Stage(event.stage))
        stage = replace(
            before,
            status="running",
            total=event.total,
            unit=event.unit,
            since=seconds,
            done=done,
            seconds=before.elapsed(seconds),
            samples=(),
        )
        return Stages(self.by_name | {event.stage: stage}, event.stage)

    def progressed(self, name: str, done: float, total: int | None, seconds: float) -> Stages:
        """A stage got on; one that was never announced is taken as it comes."""
        stage = self.by_name.get(name, Stage(name)).progressed(done, total, seconds)
        return Stages(self.by_name | {name: stage}, self.running)

    def ended(self, event: StageDone) -> Stages:
        """A stage is over; its seconds are the worker's own, which leave out what other stages took meanwhile."""
        before = self.by_name.get(event.stage, Stage(event.stage))
        stage = replace(
            before, status="done", since=None, seconds=float(event.seconds), done=float(before.total), samples=()
        )
        return Stages(self.by_name | {event.stage: stage}, None if self.running == event.stage else self.running)

    def set_back(self, name: str, done: float) -> Stages:
        """A stage that was interrupted goes on from `done`: what lay past it comes again."""
        stage = self.by_name.get(name)
        if stage is None or stage.status != "interrupted":
            return self
        return replace(self, by_name=self.by_name | {name: replace(stage, done=done)})

    def interrupted(self, seconds: float) -> Stages:
        """The worker went away at `seconds`: what was under way stands still, and its time is kept."""
        stage = self.current
        if stage is None:
            return self
        still = replace(stage, status="interrupted", since=None, seconds=stage.elapsed(seconds), samples=())
        return Stages(self.by_name | {stage.name: still})


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


@dataclass(frozen=True)
class LogEntry:
    """One entry of a run's log: when (seconds since 1970, None for a fault of the file itself) and what.

    `iteration` is how far the run was.
    """

    seconds: float | None
    text: str
    iteration: int = 0


@dataclass(frozen=True)
class RunView:
    """What panels draw: the run as it stands, or as it stood at iteration `at` while it is replayed.

    `settings` is None where config.yaml cannot be read. `version` grows with every change, so that a panel can tell.
    `alive` is whether a worker holds the run, `console` the last lines that it printed, `manifest` its manifest.json.
    """

    folder: RunFolder
    state: RunState
    settings: RunSettings | None
    log: Series[LogEntry]
    gone: bool
    version: int
    at: int | None = None
    alive: bool = False
    console: tuple[str, ...] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict)
