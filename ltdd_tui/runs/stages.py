"""Stages of a run: how far each is, since when, and how long it still takes at its recent pace."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from engine.run import events as e
from engine.run.methods import METHODS

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

    def end(self, event: e.StageDone, later: bool = False) -> None:
        """A stage is over; its seconds are the worker's own, which leave out what other stages took meanwhile.

        later: a finished run was asked for it, which is no part of the run's time.
        """
        stage = self.named(event.stage)
        seconds = stage.seconds if later else float(event.seconds)
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
    # A run of another version may have a method that this one does not know.
    method = {str(name): traits for name, traits in METHODS.items()}.get(started.method)
    # Older runs named all stages there were, also those that their method does without; and none had a teacher, for
    # which a method may train experts all the same.
    if "teacher" in started.stages or method is None:
        return started.stages
    needs = {
        "experts": method.matches_trajectories,
        "classifier_experts": method.matches_trajectories and method.decoupled,
        "distill": method.distills,
    }
    return [name for name in started.stages if needs.get(name, True)]
