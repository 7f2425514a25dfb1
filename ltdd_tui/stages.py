"""The stages of a run as they go by: how far, since when, and how long still at the pace of late."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from engine.run.events import StageDone, StageStarted
from ltdd_tui.replaced import replaced

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
