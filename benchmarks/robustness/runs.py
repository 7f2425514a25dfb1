"""Kills and write faults: what interrupts a run, and whether it then ends in the bytes of an undisturbed one."""

from __future__ import annotations

import errno
import json
import random
import re
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.robustness.processes import (
    COUNT_ONLY,
    EXTENTS,
    FAULTS,
    Answer,
    Fault,
    Forks,
    ended,
    kill_group,
    worker,
)
from engine.run.folder import RunFolder
from engine.run.presets import dump
from engine.run.settings import RunSettings

METHODS = ("ltdd", "ltdd-plus", "datm", "mtt", "dm", "idm", "rldd", "herding")
"""One of each kind: with classifier experts, with a teacher, by hard labels, by features, by statistics, chosen."""
SAME, REFUSED, ABSENT, READ = "same bytes", "refused by name", "as if absent", "read"
NOTICED, NO_EFFECT = "noticed", "without effect"
GOOD = {SAME, REFUSED, ABSENT, READ, NOTICED, NO_EFFECT}
FIGURES = ("final", "best", "random", "initialization", "experts", "regimes", "architectures", "bounds", "selections")
STAGE = re.compile(r'"type":"stage_started","stage":"(\w+)"')
LAST_MOMENT_SECONDS = 0.02


@dataclass(frozen=True)
class Outcome:
    """How one case ended: `case` says what was done, `detail` what shows that it is wrong."""

    outcome: str
    case: str
    detail: str = ""


def settings(method: str, **changes: Any) -> RunSettings:
    """A run of about a second with every kind of file: digits, networks of width 4."""
    return RunSettings.model_validate(
        {
            "dataset": {"name": "digits", "imbalance_factor": 20.0, "whitening": "corrected"},
            "ipc": 2,
            "method": method,
            "experts": {"width": 4, "depth": 2, "num_experts": 2, "epochs": 3, "batch_size": 64},
            "classifier_experts": {"epochs": 2},
            "teacher": {"networks": 2, "epochs": 3},
            "matching": {
                "iterations": 12,
                "syn_steps": 2,
                "syn_steps_cls": 2,
                "max_start_epoch": 1,
                "batch_syn": 8,
                "image_lr": 1.0,
                "checkpoint_every": 3,
                "preview_every": 5,
            },
            "evaluate": {"every": 4, "repeats": 2, "epochs": 4},
        }
        | changes
    )


def run_in(home: Path, of: RunSettings) -> RunFolder:
    """A run that no worker has taken up yet."""
    folder = RunFolder(home / "runs" / "run")
    folder.root.mkdir(parents=True)
    folder.config.write_text(dump(of))
    return folder


def arguments(folder: RunFolder) -> list[str]:
    """Of the worker that begins the run or goes on with it."""
    return ["run", str(folder.root), "--device", "cpu"]


def differences(folder: RunFolder, reference: RunFolder) -> str:
    """What of the result is another one, empty where nothing is."""
    if folder.distilled.read_bytes() != reference.distilled.read_bytes():
        return "distilled.safetensors"
    own, theirs = (json.loads(one.metrics.read_text()) for one in (folder, reference))
    differ = [name for name in FIGURES if _without_seconds(own.get(name)) != _without_seconds(theirs.get(name))]
    return ", ".join(f"metrics.json: {name}" for name in differ)


def _without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_seconds(own) for key, own in value.items() if "seconds" not in key}
    return value


def judged(answer: Answer, folder: RunFolder, reference: RunFolder, case: str) -> Outcome:
    """The outcome of a worker that was to end the run."""
    if answer.breakage:
        return Outcome(answer.breakage, case, answer.err[-2000:])
    if answer.refused:
        return Outcome(REFUSED, case, answer.err[-500:])
    if answer.code:
        return Outcome("failed without a reason", case, answer.err[-500:])
    other = differences(folder, reference)
    return Outcome("another result", case, other) if other else Outcome(SAME, case)


@dataclass(frozen=True)
class Reference:
    """An undisturbed run: how long it took, how many bytes of events it has, how often it wrote."""

    folder: RunFolder
    seconds: float
    event_bytes: int
    write_calls: int


class Interrupted:
    """Runs of several methods that are killed, or cannot write; each case is made from its number and the seed."""

    def __init__(self, forks: Forks, work: Path, seed: int, methods: Sequence[str]) -> None:
        self._forks, self._work, self._seed = forks, work, seed
        self._references = {method: self._reference(method) for method in methods}

    def _reference(self, method: str) -> Reference:
        home = self._work / f"reference-{method}"
        shutil.rmtree(home, ignore_errors=True)
        folder = run_in(home, settings(method))
        began = time.monotonic()
        answer = self._forks.run(worker, arguments(folder), home, home / "output", COUNT_ONLY)
        seconds = time.monotonic() - began
        if answer.code:
            raise SystemExit(f"error: the undisturbed run of {method} failed\n{answer.err}")
        calls = int((home / "write_calls").read_text())
        return Reference(folder, seconds, folder.events.stat().st_size, calls)

    @contextmanager
    def _case(self, part: str, number: int) -> Iterator[tuple[random.Random, str, Reference, Path, RunFolder]]:
        rng = random.Random(f"{part} {self._seed} {number}")
        method = list(self._references)[number % len(self._references)]
        home = self._work / f"{part}-{number}"
        shutil.rmtree(home, ignore_errors=True)
        yield rng, method, self._references[method], home, run_in(home, settings(method))
        shutil.rmtree(home)

    def kill(self, number: int) -> Outcome:
        """A run that is killed once or twice, at random moments, and resumed."""
        with self._case("kills", number) as (rng, method, reference, home, folder):
            case = method
            for _ in range(rng.choice((1, 1, 2))):
                process = self._forks.start(worker, arguments(folder), home, home / "output")
                if rng.random() < 0.5:
                    size = rng.random() * reference.event_bytes
                    while process.exitcode is None and not _has_bytes(folder, size):
                        time.sleep(0.001)
                    time.sleep(rng.random() * LAST_MOMENT_SECONDS)
                else:
                    time.sleep(rng.random() * reference.seconds)
                sent = rng.choice((signal.SIGKILL, signal.SIGTERM))
                kill_group(process, sent)
                answer = ended(process, home / "output")
                case += f", {sent.name} in {_stage(folder)}"
                if answer.breakage not in (None, "killed by SIGKILL", "killed by SIGTERM"):
                    return Outcome(answer.breakage, case, answer.err[-2000:])
            return self._resumed(home, folder, reference, case)

    def fault(self, number: int) -> Outcome:
        """A run whose n-th call that writes fails, then resumed where that stopped it."""
        with self._case("faults", number) as (rng, method, reference, home, folder):
            error, extent = rng.choice([*FAULTS]), rng.choice(EXTENTS)
            fault = Fault(rng.randint(1, reference.write_calls), error, extent)
            case = f"{method}: call {fault.call} of {reference.write_calls}, {error} {extent}"
            answer = self._forks.run(worker, arguments(folder), home, home / "output", fault)
            if answer.code == 0:
                return judged(answer, folder, reference.folder, case)
            was_killed = extent == "killed" and answer.breakage == "killed by SIGKILL"
            if answer.breakage and not was_killed:
                return Outcome(answer.breakage, f"{case}, in {_stage(folder)}", answer.err[-2000:])
            if not was_killed and not answer.refused:
                return Outcome("failed without a reason", f"{case}, in {_stage(folder)}", answer.err[-2000:])
            return self._resumed(home, folder, reference, f"{case}, in {_stage(folder)}, resumed")

    def _resumed(self, home: Path, folder: RunFolder, reference: Reference, case: str) -> Outcome:
        """How the run goes on where nothing disturbs it: here a refusal is a failure."""
        answer = self._forks.run(worker, arguments(folder), home, home / "output")
        outcome = judged(answer, folder, reference.folder, case)
        return Outcome("refused to go on", case, outcome.detail) if outcome.outcome == REFUSED else outcome


def _has_bytes(folder: RunFolder, size: float) -> bool:
    try:
        return folder.events.stat().st_size >= size
    except OSError as error:
        return error.errno != errno.ENOENT


def _stage(folder: RunFolder) -> str:
    stages = STAGE.findall(folder.events.read_text(errors="replace")) if folder.events.exists() else []
    return stages[-1] if stages else "no stage"
