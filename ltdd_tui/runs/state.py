"""All that is known about a run, folded from its events one by one: `RunState.apply(item)`.

Threads: one owner (the thread that reads the run) applies events to its RunState. Everybody else is handed a
`snapshot()`, which never changes. Taking one is cheap: it shares the containers, and the owner copies a container
before it writes to one that a snapshot holds. So a container that is the same object as before has not changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from engine.run import events as e
from engine.run.errors import Fault
from engine.run.fields import LabelRegime
from engine.run.folder import RunFolder, read_sealed_json
from engine.run.manifest import Manifest
from engine.run.metrics import readable_metrics
from engine.run.settings import RunSettings
from ltdd_tui.runs.confusion import Confusion
from ltdd_tui.runs.history import LossHistory, ReadingHistory
from ltdd_tui.runs.notes import Notes
from ltdd_tui.runs.stages import Stages, planned_stages

Status = Literal["waiting", "queued", "running", "stopped", "failed", "crashed", "done"]
EvaluationKey = tuple[str, int | None, str, int, str]
ExpertKey = tuple[e.ExpertKind, int]
DISTILL = "distill"
VALIDATION = "validation"
"""What accuracies are called that are measured on train images set apart, and not on test images."""
EXPERT_STAGES: dict[e.ExpertKind, str] = {
    "representation": "experts",
    "classifier": "classifier_experts",
    "teacher": "teacher",
}


@dataclass
class RunState:
    """What a screen or a table draws. Times are seconds since 1970, accuracies percent, iterations count from 1.

    `evaluations` are keyed by (subject, iteration, architecture, repeats, labels), `previews` by iteration,
    `expert_epochs` and `experts_done` by (kind, number), and so is `training`, the share of its epochs that an
    expert under way has done; `checkpoint` is the last iteration that survives a crash. `left_off` is how the last
    worker of a finished run ended that evaluated it again and did not finish that. `queued_behind` are the runs
    that its worker waits for. `choices` are those by validation images, in their order; `recoveries` the returns of
    matching after it diverged.
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
    teacher: e.TeacherReady | e.LabelsAdjusted | None = None
    steps: LossHistory = field(default_factory=LossHistory)
    checkpoint: int = 0
    previews: dict[int, e.Preview] = field(default_factory=dict)
    evaluations: dict[EvaluationKey, e.Evaluated] = field(default_factory=dict)
    reading: e.DeviceReading | None = None
    readings: ReadingHistory = field(default_factory=ReadingHistory)
    warnings: list[e.Warned] = field(default_factory=list)
    lacks_lines: bool = False  # some could not be read
    failures: tuple[e.RunBroke, ...] = ()
    choices: tuple[e.Chosen, ...] = ()
    recoveries: tuple[e.Recovered, ...] = ()
    verdict: e.Verdict | None = None
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

    @property
    def validates(self) -> bool:
        """Whether checks are made on validation images: train images that were set apart."""
        return bool(self.data and any(self.data.validation_counts))

    def has_stage(self, *names: str) -> bool:
        """Whether the run goes through one of these stages; so it is taken to as long as its plan is not known."""
        return self.started is None or any(name in self.stages.by_name for name in names)

    def done_experts(self, kind: e.ExpertKind) -> list[e.ExpertDone]:
        """The finished experts of a kind, in the order in which they finished."""
        return [done for (own, _), done in self.experts_done.items() if own == kind]

    @property
    def regimes(self) -> list[str]:
        """The label regimes that the run evaluates in or was evaluated in later: its own first one, then the others."""
        own = self.started.labels if self.started else []
        # What was trained on all images is in none.
        evaluated = (event.labels for event in self.evaluations.values() if event.labels)
        return first_and_others([*own, *evaluated]) or ["stored"]

    @property
    def first_regime_told(self) -> str:
        """` (online)` behind what is of the first label regime, where there is another than `stored`."""
        return "" if self.regimes == ["stored"] else f" ({self.regimes[0]})"

    def evaluated(self, subject: str, labels: str | None = None) -> list[e.Evaluated]:
        """The evaluations of one subject (random, initialization, check, final or best), by iteration.

        `labels`: the label regime, by default the run's first one. Of several of one set on one architecture the one
        over the most networks stays, as in metrics.json.
        """
        labels = labels or self.regimes[0]
        most: dict[tuple[int | None, str], e.Evaluated] = {}
        for event in self.evaluations.values():
            known = most.get((event.iteration, event.arch))
            if (event.subject, event.labels) == (subject, labels) and (known is None or event.repeats > known.repeats):
                most[event.iteration, event.arch] = event
        return sorted(most.values(), key=lambda event: event.iteration or 0)

    def snapshot(self) -> RunState:
        """This state as it is now; what is applied to either of the two later, the other does not see."""
        self.steps.settle()
        self._owned.clear()
        return replace(self)

    def apply(self, item: e.Stamped | e.Warned) -> None:
        """Takes in one item of a feed."""
        if isinstance(item, e.Warned):
            self.lacks_lines = True
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
                self._train(event, seconds)
            case e.StageProgress():
                done = float(event.done)
                self._own("stages")
                stage = self.stages.named(event.stage)
                stage.total, stage.whole_units = event.total, done
                stage.progress(seconds)
            case e.Evaluated():
                self._own("evaluations")
                self.evaluations[event.subject, event.iteration, event.arch, event.repeats, event.labels] = event
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
            case e.TeacherReady() | e.LabelsAdjusted():
                self.teacher = event
            case e.Checkpointed():
                self.checkpoint = event.iteration
            case e.DeviceReading():
                self._own("readings")
                self.readings.append(event)
                self.reading = event
            case e.Warned():
                self._warn(event)
            case e.Chosen():
                # A worker that goes on chooses again what was chosen before.
                self.choices = (*(own for own in self.choices if own.of != event.of or event.of == "rates"), event)
            case e.Recovered():
                self._warn(recovered_warning(event))
                self.recoveries = (*self.recoveries, event)
                self._go_back(event.back_to)
            case e.Verdict():
                self.verdict = event
            case e.DataReady():
                self.data = event
            case e.StageStarted():
                self._own("stages")
                # Distilling alone goes on from within; what other stages have finished they tell one by one.
                self.stages.begin(event, seconds, float(self.checkpoint) if event.stage == DISTILL else 0.0)
            case e.StageDone():
                self._own("stages")
                self.stages.end(event, later=self.status == "done")
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

    def _train(self, event: e.ExpertEpoch, seconds: float) -> None:
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

    def _resume(self, event: e.RunStarted, seconds: float) -> None:
        """Goes back to the last checkpoint: what lies past it comes again."""
        at = self.checkpoint
        self.status, self.started, self.failures, self.finished = "running", event, (), None
        self._own("stages")
        # An expert that was being trained begins anew.
        self.training = {}
        self.stages.interrupt(self.last_seconds or seconds)
        self.stages.plan(planned_stages(event))
        if (distill := self.stages.by_name.get(DISTILL)) and distill.status == "interrupted":
            distill.done = float(at)
        self._go_back(at)

    def _go_back(self, at: int) -> None:
        """Leaves out what lies past iteration `at`."""
        self.steps = self.steps.until(at)
        self.previews = {key: preview for key, preview in self.previews.items() if key <= at}
        self.choices, self.verdict = tuple(own for own in self.choices if own.iteration <= at), None
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


def first_and_others(regimes: Iterable[str]) -> list[str]:
    """The first label regime, then the others in their usual order, in which those of several runs are compared."""
    first, *others = dict.fromkeys(regimes) or [""]
    usual = get_args(LabelRegime)
    in_order = sorted(others, key=lambda labels: usual.index(labels) if labels in usual else len(usual))
    return [first, *in_order] if first else []


def fold(state: RunState, items: Iterable[e.Stamped | e.Warned]) -> RunState:
    """The state after all `items`; `state` itself stays as it is."""
    state = state.snapshot()
    for item in items:
        state.apply(item)
    return state


def recovered_warning(event: e.Recovered) -> e.Warned:
    """That matching diverged, what was seen, and from where it goes on with which rates."""
    where = f"from iteration {event.back_to} with all rates times {event.rates:g}"
    return e.Warned(
        f"matching diverged ({event.what}); it goes on {where}", "a new run with lower rates needs no return"
    )


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


def lost_result(folder: RunFolder) -> Fault | None:
    """Why a run that was done has no result any more, with the way out; None where it has one.

    Compares no checksums of images.
    """
    hint, path, what = f"`ltdd-tui resume {folder.cli_name}` writes it anew", folder.metrics, ""
    if readable_metrics(folder):
        path, what = folder.distilled, "" if folder.distilled.is_file() else "the file is missing"
    else:
        try:
            read_sealed_json(path)
            what = "the metrics hold no final figures"
        except FileNotFoundError:
            what = "the file is missing"
        except (OSError, ValueError) as error:
            what = f"the metrics cannot be read: {getattr(error, 'strerror', None) or error}"
    return Fault(what, str(path), hint) if what else None


def lost_events(state: RunState, folder: RunFolder) -> Fault | None:
    """That a run has a result, but no events that tell of it, with the way out."""
    if state.status != "waiting" or state.started or lost_result(folder):
        return None
    what = "it holds no start of the run" if folder.events.exists() else "the file is missing"
    return Fault(what, str(folder.events), f"`ltdd-tui resume {folder.cli_name}` writes it anew")


def agreeing_with_files(state: RunState, folder: RunFolder) -> tuple[RunState, Fault | None]:
    """The state of a run that no worker holds, as its files have it, and which of them is lost or damaged.

    Done by its events, but without a result, it is stopped: a new worker makes the result again. With a result, but
    without events, it is done.
    """
    lost = lost_result(folder) if state.status == "done" else lost_events(state, folder)
    if lost is None or not folder.root.is_dir():  # one that is gone has lost no single file
        return state, None
    agreeing = state.snapshot()
    agreeing.status = "stopped" if state.status == "done" else "done"
    return agreeing, lost


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
    `notes` a person's own words on it, `stored` what the result takes where it is kept, `damage` what is wrong with it.
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
    manifest: Manifest = field(default_factory=Manifest)
    notes: Notes = field(default_factory=Notes)
    confusion: Confusion | None = None
    stored: str = ""
    damage: Fault | None = None
