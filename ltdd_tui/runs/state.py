"""All that is known about a run, folded from its events one by one: `RunState.apply(item)`.

Threads: one owner (the thread that reads the run) applies events to its RunState. Everybody else is handed a
`snapshot()`, which never changes. Taking one is cheap: it shares the containers, and the owner copies a container
before it writes to one that a snapshot holds. So a container that is the same object as before has not changed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from engine.run import events as e
from engine.run.folder import RunFolder
from engine.run.methods import METHODS
from engine.run.settings import RunSettings
from ltdd_tui.runs.confusion import Confusion
from ltdd_tui.runs.history import LossHistory, ReadingHistory
from ltdd_tui.runs.notes import Notes

# ---------------------------------------------------------------------------------------------------------------------
# Stages: how far each is, since when, and how long it still takes at its recent pace

PACE_SAMPLES = 60
SAMPLE_SECONDS = 1.0


@dataclass
class Stage:
    """One stage: `done` of `total` units. `since` is when it last began, `seconds` the work before that or in all.

    `done` are `whole_units` and `part_units`, which is what is done of units under way. `reached` is the largest share
    that it ever had done, from 0 to 1; it stays when a crash loses some. `samples` are (seconds since 1970, done), a
    second or more apart: the pace is measured over these.
    """

    name: str
    status: Literal["pending", "running", "interrupted", "done"] = "pending"
    done: float = 0.0
    total: int = 0
    unit: str = ""
    since: float | None = None
    seconds: float = 0.0
    samples: tuple[tuple[float, float], ...] = ()
    reached: float = 0.0
    whole_units: float = 0.0
    part_units: float = 0.0

    @property
    def share(self) -> float:
        """How much of it is done, from 0 to 1."""
        return min(1.0, self.done / self.total) if self.total > 0 else 0.0

    def elapsed(self, now: float) -> float:
        """Seconds of work in this stage until `now`, summed over interruptions."""
        return self.seconds + (max(0.0, now - self.since) if self.since is not None else 0.0)

    def pace(self, now: float) -> float | None:
        """Units a second over the samples kept, up to `now`: a stage that stands still gets slower and slower."""
        if len(self.samples) < 2:
            return None
        first_seconds, first_done = self.samples[0]
        passed = now - first_seconds
        return (self.done - first_done) / passed if passed > 0 and self.done > first_done else None

    def seconds_left(self, now: float) -> float | None:
        """Seconds until `total` is reached at that pace, or None before there is one."""
        pace = self.pace(now) if self.status == "running" else None
        return max(0.0, self.total - self.done) / pace if pace else None

    def progress(self, seconds: float) -> None:
        """Takes note of what is done at `seconds`."""
        # Rounded, since a unit whose parts are added up is to be a whole one.
        self.done = self.whole_units + round(self.part_units, 6)
        self.reached = max(self.reached, self.share)
        if not self.samples or seconds - self.samples[-1][0] >= SAMPLE_SECONDS:
            self.samples = (*self.samples[-PACE_SAMPLES + 1 :], (seconds, self.done))


@dataclass
class Stages:
    """All stages in their order, and the name of the one that is under way."""

    by_name: dict[str, Stage] = field(default_factory=dict)
    running: str | None = None

    @property
    def current(self) -> Stage | None:
        """The stage under way, or None between stages."""
        return self.by_name.get(self.running) if self.running else None

    def copy(self) -> Stages:
        """Other stages of the same content."""
        return Stages({name: copy.copy(stage) for name, stage in self.by_name.items()}, self.running)

    def named(self, name: str) -> Stage:
        """The stage of that name; one that was never announced is taken as it comes."""
        if name not in self.by_name:
            self.by_name[name] = Stage(name)
        return self.by_name[name]

    def plan(self, names: Sequence[str]) -> None:
        """Puts the stages into the order of `names`, and adds those that are new."""
        self.by_name = {name: self.by_name.get(name, Stage(name)) for name in names} | self.by_name

    def begin(self, event: e.StageStarted, seconds: float, done: float) -> None:
        """A stage begins, or goes on after an interruption, with `done` units behind it."""
        stage, self.running = self.named(event.stage), event.stage
        stage.seconds = stage.elapsed(seconds)
        stage.status, stage.since, stage.samples = "running", seconds, ()
        stage.done, stage.total, stage.unit = done, event.total, event.unit
        stage.whole_units = stage.part_units = 0.0

    def end(self, event: e.StageDone) -> None:
        """A stage is over; its seconds are the worker's own, which leave out what other stages took meanwhile."""
        seconds, stage = float(event.seconds), self.named(event.stage)
        stage.status, stage.since, stage.samples = "done", None, ()
        stage.seconds, stage.done, stage.reached = seconds, float(stage.total), 1.0
        if self.running == event.stage:
            self.running = None

    def interrupt(self, seconds: float) -> None:
        """The worker ended at `seconds`: the stage under way is interrupted, and its time is kept."""
        if stage := self.current:
            stage.seconds = stage.elapsed(seconds)
            stage.status, stage.since, stage.samples = "interrupted", None, ()
        self.running = None


def planned_stages(started: e.RunStarted) -> list[str]:
    """The stages that the run goes through, in order."""
    # Older runs named all stages there were, also those that their method does without; and none had a teacher, for
    # which a method may train experts all the same.
    if "teacher" in started.stages:
        return started.stages
    # A run of another version may have a method that this one does not know.
    skipped = {str(name): traits.skipped_stages for name, traits in METHODS.items()}.get(started.method, frozenset())
    return [name for name in started.stages if name not in skipped]


# ---------------------------------------------------------------------------------------------------------------------
# The state of a run

Status = Literal["waiting", "queued", "running", "stopped", "failed", "crashed", "done"]
EvaluationKey = tuple[str, int | None, str, int]
ExpertKey = tuple[e.ExpertKind, int]
DISTILL = "distill"
EXPERT_STAGES: dict[e.ExpertKind, str] = {
    "representation": "experts",
    "classifier": "classifier_experts",
    "teacher": "teacher",
}


@dataclass
class RunState:
    """What a screen or a table draws. Times are seconds since 1970, accuracies percent, iterations count from 1.

    `evaluations` are keyed by (subject, iteration, architecture, repeats), `previews` by iteration, `expert_epochs` and
    `experts_done` by (kind, number), and so is `training`, the share of its epochs that an expert under way has done;
    `checkpoint` is the last iteration that survives a crash. `left_off` is how the last worker of a finished run ended
    that evaluated it again and did not finish that. `queued_behind` are the runs that its worker waits for.
    """

    status: Status = "waiting"
    started: e.RunStarted | None = None
    first_seconds: float | None = None
    last_seconds: float | None = None
    data: e.DataReady | None = None
    stages: Stages = field(default_factory=Stages)
    expert_epochs: dict[ExpertKey, tuple[e.ExpertEpoch, ...]] = field(default_factory=dict)
    experts_done: dict[ExpertKey, e.ExpertDone] = field(default_factory=dict)
    training: dict[ExpertKey, float] = field(default_factory=dict)
    steps: LossHistory = field(default_factory=LossHistory)
    checkpoint: int = 0
    previews: dict[int, e.Preview] = field(default_factory=dict)
    evaluations: dict[EvaluationKey, e.Evaluated] = field(default_factory=dict)
    reading: e.DeviceReading | None = None
    readings: ReadingHistory = field(default_factory=ReadingHistory)
    warnings: list[e.Warned] = field(default_factory=list)
    failures: tuple[e.RunBroke, ...] = ()
    finished: e.RunFinished | None = None
    left_off: Status | None = None
    queued_behind: tuple[str, ...] = ()
    # The fields whose containers no snapshot holds. Empty at first: who built this state may hold its containers too.
    _owned: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    @property
    def iteration(self) -> int:
        """The last outer iteration, 0 before the first."""
        return self.steps.latest.iteration if self.steps.latest else 0

    @property
    def is_under_way(self) -> bool:
        """Whether, by its events, a worker has the run: in the queue, at work, or evaluating a finished one again."""
        return self.status in {"queued", "running"} or self.stages.current is not None

    def done_experts(self, kind: e.ExpertKind) -> list[e.ExpertDone]:
        """The finished experts of a kind, in the order in which they finished."""
        return [done for (own, _), done in self.experts_done.items() if own == kind]

    def evaluated(self, subject: str) -> list[e.Evaluated]:
        """The evaluations of one subject (random, initialization, check, final or best), by iteration.

        Of several of one set on one architecture the one over the most networks stays, as in metrics.json.
        """
        most: dict[tuple[int | None, str], e.Evaluated] = {}
        for event in self.evaluations.values():
            known = most.get((event.iteration, event.arch))
            if event.subject == subject and (known is None or event.repeats > known.repeats):
                most[event.iteration, event.arch] = event
        return sorted(most.values(), key=lambda event: event.iteration or 0)

    def snapshot(self) -> RunState:
        """This state as it is now; what is applied to either of the two later, the other does not see."""
        self.steps.merge()
        self._owned.clear()
        return replace(self)

    def apply(self, item: e.Stamped | e.Warned) -> None:
        """Takes in one item of a feed."""
        if isinstance(item, e.Warned):
            self._warn(item)
            return
        try:
            self._react(item.event, item.seconds)
        except (TypeError, ValueError, AttributeError, OverflowError):
            self._warn(e.Warned(f"event {item.seq} holds values of the wrong kind and was skipped"))
            return
        if self.first_seconds is None:
            self.first_seconds = item.seconds
        self.last_seconds = item.seconds

    def _react(self, event: e.Event, seconds: float) -> None:
        """Takes in one event, or raises before anything has changed; the most frequent ones stand first."""
        match event:
            case e.MatchingStep():
                self._own("steps", "stages")
                self.steps.append(event)
                stage = self.stages.named(DISTILL)
                stage.whole_units = float(event.iteration)
                stage.progress(seconds)
            case e.ExpertEpoch():
                share = event.epoch / max(1, event.epochs)
                self._own("expert_epochs", "training", "stages")
                key = (event.kind, event.expert)
                epochs = self.expert_epochs.get(key, ())
                # An expert that is trained again, after a crash, tells some of its epochs again.
                while epochs and epochs[-1].epoch >= event.epoch:
                    epochs = epochs[:-1]
                self.expert_epochs[key] = (*epochs, event)
                stage = self.stages.named(EXPERT_STAGES[event.kind])
                stage.part_units += share - self.training.get(key, 0.0)
                self.training[key] = share
                stage.progress(seconds)
            case e.StageProgress():
                done = float(event.done)
                self._own("stages")
                stage = self.stages.named(event.stage)
                stage.total, stage.whole_units = event.total, done
                stage.progress(seconds)
            case e.Evaluated():
                self._own("evaluations")
                self.evaluations[event.subject, event.iteration, event.arch, event.repeats] = event
            case e.Preview():
                self._own("previews")
                self.previews[event.iteration] = event
            case e.ExpertDone():
                self._own("experts_done", "training", "stages")
                key = (event.kind, event.expert)
                # A worker that goes on loads what an earlier one trained: that was not in the cache before the run.
                if not event.cached or key not in self.experts_done:
                    self.experts_done[key] = event
                self.stages.named(EXPERT_STAGES[event.kind]).part_units -= self.training.pop(key, 0.0)
            case e.Checkpointed():
                self.checkpoint = event.iteration
            case e.DeviceReading():
                self._own("readings")
                self.readings.append(event)
                self.reading = event
            case e.Warned():
                self._warn(event)
            case e.DataReady():
                self.data = event
            case e.StageStarted():
                self._own("stages")
                # Distilling alone goes on from within; what other stages have finished they tell one by one.
                self.stages.begin(event, seconds, float(self.checkpoint) if event.stage == DISTILL else 0.0)
            case e.StageDone():
                self._own("stages")
                self.stages.end(event)
            case e.Queued():
                self.queued_behind = tuple(event.behind)
                self.status = "queued"
            case e.RunStarted(resumed=False):
                # The run begins anew; what was wrong with its files stays told.
                vars(self).update(vars(RunState("running", event, seconds, warnings=self.warnings)))
                self.stages.plan(planned_stages(event))
            case e.RunStarted():
                self._resume(event, seconds)
            case e.RunFinished():
                self.finished = event
                self.end("done", seconds)
            case e.RunStopped():
                self.end("stopped", seconds)
            case e.RunBroke():
                self.failures = (*self.failures, event)
                self.end("failed", seconds)

    def _resume(self, event: e.RunStarted, seconds: float) -> None:
        """Goes back to the last checkpoint: what lies past it comes again."""
        at = self.checkpoint
        self.status, self.started, self.failures, self.finished = "running", event, (), None
        self._own("stages")
        # An expert that was being trained begins anew.
        self.training = {}
        self.stages.interrupt(self.last_seconds or seconds)
        self.stages.plan(planned_stages(event))
        distill = self.stages.by_name.get(DISTILL)
        if distill and distill.status == "interrupted":
            distill.done = float(at)
        self.steps = self.steps.until(at)
        self.previews = {key: preview for key, preview in self.previews.items() if key <= at}
        # The final figures, and metrics.json with them, are made anew.
        kept = [key for key in self.evaluations if (key[1] or 0) <= at and key[0] != "final"]
        self.evaluations = {key: self.evaluations[key] for key in kept}

    def end(self, status: Status, seconds: float) -> None:
        """The worker ended at `seconds`, or was found dead."""
        # A finished result stays finished: an evaluation that is asked for later, and fails, does not undo it.
        if self.status != "done":
            self.status = status
        elif status != "done":
            self.left_off = status
        self._own("stages")
        self.stages.interrupt(seconds)

    def _warn(self, warning: e.Warned) -> None:
        self._own("warnings")
        self.warnings.append(warning)

    def _own(self, *containers: str) -> None:
        """Copies the containers of these fields that a snapshot may hold, before something is written to them."""
        for name in containers:
            if name not in self._owned:
                self._owned.add(name)
                setattr(self, name, getattr(self, name).copy())


def fold(state: RunState, items: Iterable[e.Stamped | e.Warned]) -> RunState:
    """The state after all `items`; `state` itself stays as it is."""
    state = state.snapshot()
    for item in items:
        state.apply(item)
    return state


def crashed_if_worker_died(state: RunState, alive: bool) -> RunState:
    """If the events say that a worker is at work but none holds the run, it died at the time of the last event.

    A run that was done stays done: it was being evaluated, and that is interrupted. Ask for the worker first and read
    the events after that, or a run that ends in between looks like a crash; see `feed.events_size`.
    """
    if alive or not state.is_under_way:
        return state
    crashed = state.snapshot()
    crashed.end("crashed", state.last_seconds or 0.0)
    return crashed


# ---------------------------------------------------------------------------------------------------------------------
# What panels are given


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
    `alive` is whether a worker holds the run, `console` the last lines that it printed, `manifest` its manifest.json,
    `notes` a person's own words on it.
    """

    folder: RunFolder
    state: RunState
    settings: RunSettings | None
    log: Sequence[LogEntry]
    gone: bool
    version: int
    at: int | None = None
    alive: bool = False
    console: tuple[str, ...] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)
    confusion: Confusion | None = None
