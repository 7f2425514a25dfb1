"""What every stage gets beside its own inputs: settings, folder, device, events, stop requests, clock and seeds."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from engine.distributed import ALONE, Gang
from engine.run.events import Emit, StageDone, StageProgress, StageStarted, Warned
from engine.run.folder import RunFolder, read_typed, write_json
from engine.run.metrics import SECONDS_OF_EACH
from engine.run.settings import RunSettings


def stages_of(settings: RunSettings) -> list[str]:
    """The stages of a run in the order of pipeline.run, which begins them; screens show those still to come by it."""
    stages = {
        "data": True,
        "experts": settings.trains_experts,
        "classifier_experts": settings.trains_classifier_experts,
        "teacher": settings.needs_teacher,
        "initialize": True,
        "validation": bool(settings.validation.share and settings.traits.distills),
        "baselines": True,
        "distill": settings.traits.distills,
        "evaluate": True,
        "bounds": bool(settings.bounds.losses),
        "export": True,
    }
    return [stage for stage, takes_place in stages.items() if takes_place]


SECONDS = "seconds.json"


class Clock:
    """Seconds of work by stage, kept in checkpoint/seconds.json so that they add up over interruptions.

    Without a folder they are kept nowhere: what a finished run is asked for later is no part of its own time.
    """

    def __init__(self, folder: RunFolder | None) -> None:
        self._folder = folder
        self.seconds: dict[str, float] = (folder and read_typed(folder.checkpoint / SECONDS, SECONDS_OF_EACH)) or {}
        self._running: list[str] = []
        self._since = time.monotonic()

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Adds the block's time to this stage only (an enclosing stage is paused), even if the block raises."""
        self.keep()
        self._running.append(stage)
        try:
            yield
        finally:
            self.keep()
            self._running.pop()

    def keep(self) -> None:
        """Counts the time up to now and writes it down, so that a kill loses only the time after it."""
        now = time.monotonic()
        if self._running:
            stage = self._running[-1]
            self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._since
            if self._folder and self._folder.root.is_dir():  # a run that was deleted meanwhile is not created again
                # Not synced: it is written many times, and if a failure of the power damages it, times are lost.
                write_json(self._folder.checkpoint / SECONDS, self.seconds, sync=False, sealed=True)
        self._since = now


@dataclass
class Progress:
    """Progress of a stage of `total` units: called after each one, it emits how many are done, and may raise Stopped.

    A unit that takes long tells of its parts.
    """

    context: Context
    stage: str
    total: int
    done: int = 0

    def __call__(self) -> None:
        self.done += 1
        self.under_way(0)
        self.context.check_stop()

    def under_way(self, units: float) -> None:
        """Emits that so many units, or a share of one, are done of those under way; never stops."""
        self.context.clock.keep()
        self.context.emit(StageProgress(self.stage, self.done + units, self.total))


@dataclass(frozen=True)
class Context:
    """One run of the worker: passed to every stage.

    Stages call `check_stop` where stopping loses nothing; it raises Stopped after a stop request.
    """

    settings: RunSettings
    folder: RunFolder
    device: torch.device
    emit: Emit
    check_stop: Callable[[], None]
    clock: Clock
    gang: Gang = ALONE

    @contextlib.contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Progress]:
        """Times a stage and emits its begin and end; yields what is to be called after each of `total` units."""
        self.emit(StageStarted(name, total, unit))
        self.check_stop()
        with self.clock.timed(name):
            yield Progress(self, name, total)
        self.emit(StageDone(name, self.clock.seconds[name]))


# --- Seeds ------------------------------------------------------------------------------------------------------------
#
# A run has one seed; every use of randomness derives a generator of its own from it by name. So nothing depends on what
# ran before: a stage that is taken from the cache, resumed or skipped changes no other stage's draws.


def derived_seed(seed: int, *names: str | int) -> int:
    """The 63-bit seed of one use, such as derived_seed(0, "matching", 17): the first bytes of a SHA-256."""
    text = "/".join(str(name) for name in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> torch.Generator:
    """A generator for one use; on the CPU, so that every device gets the same draws."""
    return torch.Generator().manual_seed(derived_seed(seed, *names))


def warning_of_damage(path: Path, error: Exception, instead: str) -> Warned:
    """The event for a damaged file that a run goes on without; `instead` says how."""
    hint = "`ltdd-tui verify RUN` and `ltdd-tui cache verify` look for more; where it comes again, check the disk"
    return Warned(f"damaged, {instead}: {path}: {error}", hint)
