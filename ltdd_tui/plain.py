"""A run as lines, for pipes and `--plain`: one a stage, a tenth of a stage, an evaluation; never a flood."""

from __future__ import annotations

from engine.run import events as e
from engine.run.errors import Fault
from ltdd_tui.stages import Stage
from ltdd_tui.state import RunState
from ltdd_tui.wording import duration, mean_and_std, percent, stage_name

STEPS = 10
SHORTEST_GAP_SECONDS = 1.0
LONGEST_GAP_SECONDS = 60.0


def news(item: e.Stamped | e.Warned, state: RunState) -> str | None:
    """What an event says to a person, or None where it says nothing that its stage's progress does not."""
    event = item if isinstance(item, e.Warned) else item.event
    match event:
        case e.RunStarted():
            again = "goes on" if event.resumed else "starts"
            return f"{event.name} {again}: {event.method} on {event.dataset}, IPC {event.ipc}, on {event.device}"
        case e.DataReady():
            return _data_line(event)
        case e.StageDone():
            return f"{stage_name(event.stage)}: done in {duration(event.seconds)}"
        case e.Initialized(unrecognized_images=count) if count:
            return f"initialize: {count} images that no expert recognizes start with their class as label"
        case e.Evaluated():
            return _evaluated_line(event)
        case e.Warned():
            return f"warning: {event.message}" + (f"\nhint: {event.hint}" if event.hint else "")
        case e.RunBroke():
            return str(Fault(event.what, event.where, event.hint))
        case _:
            return None


def _data_line(data: e.DataReady) -> str:
    counts = data.class_counts
    most, least = max(counts, default=0), min(counts, default=0)
    return (
        f"data: {sum(counts)} images in {len(counts)} classes ({most} to {least} a class),"
        f" {data.test_images} test images"
    )


def _evaluated_line(event: e.Evaluated) -> str:
    at = "" if event.iteration is None else f" at {event.iteration}"
    groups = ", ".join(f"{name} {percent(value)}" for name, value in event.groups.items() if value is not None)
    return (
        f"evaluated {event.subject}{at} on {event.arch}:"
        f" {mean_and_std(event.accuracy_mean, event.accuracy_std, event.repeats)} % (n={event.repeats}; {groups})"
    )


def progress_line(stage: Stage, state: RunState, now: float) -> str:
    """How far a stage is, how long it still takes at the pace of late, and in distill how the losses are."""
    left = stage.seconds_left(now)
    line = f"{stage_name(stage.name)}: {stage.done:g}/{stage.total} {stage.unit}"
    if stage.name == "distill" and state.points:
        line += f", {losses(state.points[-1])}"
    return line if not left else f"{line}, about {duration(left)} left"


def losses(point: e.MatchingStep) -> str:
    """The matching losses that the method has."""
    both = (("rep", point.loss_rep), ("cls", point.loss_cls))
    return ", ".join(f"{name} {value:.3f}" for name, value in both if value is not None)


class Pacer:
    """Decides when a stage's progress deserves a line: at each tenth, a second or more apart, and once a minute."""

    def __init__(self) -> None:
        self._stage = ""
        self._step = 0
        self._said = 0.0

    def due(self, stage: Stage, now: float) -> bool:
        """Whether to say now how far `stage` is; `now` in seconds since 1970, by the events' own clock."""
        if stage.name != self._stage:
            self._stage, self._step, self._said = stage.name, 0, now
        step = int(STEPS * stage.done / stage.total) if stage.total else 0
        waited = now - self._said
        if waited < LONGEST_GAP_SECONDS and (step <= self._step or waited < SHORTEST_GAP_SECONDS):
            return False
        self._step, self._said = step, now
        return True
